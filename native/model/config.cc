#include "model/config.h"

#include <cmath>

#include "error.h"

namespace clip {
namespace {

// What a configuration may say. Products of two widths stay far inside int64, tokens inside int.
constexpr int kMaxWidth = 1 << 20, kMaxLayers = 1 << 10, kMaxTokens = 1 << 16, kMaxVocabulary = 1 << 24;
constexpr int kMaxImageSize = 1 << 14, kMaxResNetSize = 1 << 12;

[[noreturn]] void fail(const std::string& field, const std::string& expected, const std::string& actual,
                       const char* code = "ERR_CLIP_CONFIG") {
  throw Error{.code = code,
              .message = "Expected `" + field + "` to " + expected + ", got " + actual,
              .field = field,
              .expected = expected,
              .actual = actual};
}

void within(const std::string& field, int value, int low, int high) {
  if (value < low || value > high)
    fail(field, "be an integer from " + std::to_string(low) + " to " + std::to_string(high),
         std::to_string(value));
}

void finite(const std::string& field, float value) {
  if (!std::isfinite(value)) fail(field, "be a finite number", std::to_string(value));
}

void checkTransformer(const std::string& tower, const TransformerConfig& c) {
  within(tower + ".width", c.width, 1, kMaxWidth);
  within(tower + ".layers", c.layers, 1, kMaxLayers);
  within(tower + ".mlp", c.mlp, 1, kMaxWidth);
  within(tower + ".heads", c.heads, 1, c.width);
  if (c.width % c.heads)
    fail(tower + ".heads", "divide the width " + std::to_string(c.width), std::to_string(c.heads));
  // Written so that NaN fails.
  if (!(c.layerNormEps >= 0 && c.layerNormEps < 1))
    fail(tower + ".layerNormEps", "be at least 0 and less than 1", std::to_string(c.layerNormEps));
}

void checkResNet(const ResNetConfig& c) {
  within("spec.image.width", c.width, 2, 1 << 12);
  if (c.width % 2) fail("spec.image.width", "be an even number", std::to_string(c.width));
  for (const int n : c.layers) within("spec.image.layers", n, 1, kMaxLayers);
  within("spec.image.heads", c.heads, 1, c.features());
  if (c.features() % c.heads)
    fail("spec.image.heads", "divide the feature width " + std::to_string(c.features()),
         std::to_string(c.heads));
  within("spec.image.imageSize", c.imageSize, 32, kMaxResNetSize);
  if (c.lastSide() != c.grid())
    fail("spec.image.imageSize", "be a size that five halvings bring to " + std::to_string(c.grid()),
         std::to_string(c.imageSize));
}

}  // namespace

void checkPreprocess(const PreprocessConfig& p) {
  within("preprocess.size", p.size, 1, kMaxImageSize);
  for (int i = 0; i < 3; i++) {
    const std::string at = "[" + std::to_string(i) + "]";
    finite("preprocess.mean" + at, p.mean[i]);
    finite("preprocess.std" + at, p.std[i]);
    if (p.std[i] <= 0) fail("preprocess.std" + at, "be greater than 0", std::to_string(p.std[i]));
  }
}

void checkConfig(const ModelConfig& c) {
  if (c.files.empty() || c.files.size() != c.fileBytes.size())
    fail("spec.files", "be at least one, each with its size", std::to_string(c.files.size()));
  if (!c.hasImageTower() && !c.text) fail("spec", "have an image or a text tower", "neither");
  if (c.image && c.resNet) fail("spec", "have one image tower", "two");
  const bool joint =
      c.resNet || c.tensors.contains("image.projection") || c.tensors.contains("text.projection");
  within("spec.embedDim", c.embedDim, joint ? 1 : 0, kMaxWidth);
  finite("spec.logitScale", c.logitScale);
  if (c.image) {
    checkTransformer("spec.image", *c.image);
    within("spec.image.imageSize", c.image->imageSize, 1, kMaxImageSize);
    within("spec.image.patchSize", c.image->patchSize, 1, c.image->imageSize);
    if (c.image->grid() > 255)
      fail("spec.image.patchSize", "make at most 255 patches to a side", std::to_string(c.image->patchSize));
  }
  if (c.resNet) checkResNet(*c.resNet);
  if (c.hasImageTower()) {
    checkPreprocess(c.preprocess);
    if (c.preprocess.size != c.imageSize())
      fail("preprocess.size", "be the image tower's " + std::to_string(c.imageSize()),
           std::to_string(c.preprocess.size));
  }
  if (c.text) {
    checkTransformer("spec.text", *c.text);
    within("spec.text.contextLength", c.text->contextLength, 1, kMaxTokens);
    within("spec.text.vocabSize", c.text->vocabSize, 1, kMaxVocabulary);
  }
}

void checkTexts(const TextConfig& c, const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths) {
  constexpr const char* input = "ERR_CLIP_INPUT";
  const auto range = [](int low, int high) {
    return "be an integer from " + std::to_string(low) + " to " + std::to_string(high);
  };
  size_t total = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] < 1 || lengths[i] > c.contextLength)
      fail("lengths[" + std::to_string(i) + "]", range(1, c.contextLength), std::to_string(lengths[i]),
           input);
    total += static_cast<size_t>(lengths[i]);
  }
  if (total != ids.size())
    fail("ids", "have " + std::to_string(total) + " elements (the sum of lengths)",
         std::to_string(ids.size()), input);
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= c.vocabSize)
      fail("ids[" + std::to_string(i) + "]", range(0, c.vocabSize - 1), std::to_string(ids[i]), input);
}

}  // namespace clip
