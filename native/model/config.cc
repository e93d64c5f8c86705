#include "model/config.h"

#include <cmath>

#include "error.h"

namespace clip {
namespace {

constexpr int kMaxWidth = 1 << 20, kMaxLayers = 1 << 10, kMaxTokens = 1 << 16, kMaxVocabulary = 1 << 26;
constexpr int kMaxImageSize = 1 << 14;

[[noreturn]] void fail(const std::string& field, std::string expected, std::string actual) {
  throw Error{.code = "ERR_CLIP_CONFIG",
              .message = "The model's configuration has " + field + " = " + actual + ", expected " + expected,
              .field = field,
              .expected = expected,
              .actual = actual};
}

void within(const std::string& field, int value, int high) {
  if (value < 1 || value > high) fail(field, "1 to " + std::to_string(high), std::to_string(value));
}

void finite(const std::string& field, float value) {
  if (!std::isfinite(value)) fail(field, "a finite number", std::to_string(value));
}

void checkTransformer(const std::string& tower, const TransformerConfig& c) {
  within(tower + ".width", c.width, kMaxWidth);
  within(tower + ".layers", c.layers, kMaxLayers);
  within(tower + ".mlp", c.mlp, kMaxWidth);
  within(tower + ".heads", c.heads, c.width);
  if (c.width % c.heads)
    fail(tower + ".heads", "a divisor of the width " + std::to_string(c.width), std::to_string(c.heads));
  finite(tower + ".layerNormEps", c.layerNormEps);
  if (c.layerNormEps < 0) fail(tower + ".layerNormEps", "0 or more", std::to_string(c.layerNormEps));
}

void checkResNet(const ResNetConfig& c) {
  within("image.width", c.width, 1 << 12);
  if (c.width % 2) fail("image.width", "an even number", std::to_string(c.width));
  for (const int n : c.layers) within("image.layers", n, kMaxLayers);
  within("image.heads", c.heads, c.features());
  if (c.features() % c.heads)
    fail("image.heads", "a divisor of the feature width " + std::to_string(c.features()),
         std::to_string(c.heads));
  within("image.imageSize", c.imageSize, 1 << 12);
  if (c.imageSize < 32 || c.lastSide() != c.grid())
    fail("image.imageSize",
         "a size that five halvings bring to " + std::to_string(c.grid()) + ", at least 32",
         std::to_string(c.imageSize));
}

void checkPreprocess(const PreprocessConfig& p, int imageSize) {
  if (p.size != imageSize)
    fail("preprocess.size", "the image tower's " + std::to_string(imageSize), std::to_string(p.size));
  for (int i = 0; i < 3; i++) {
    finite("preprocess.mean", p.mean[i]);
    finite("preprocess.std", p.std[i]);
    if (p.std[i] <= 0) fail("preprocess.std", "more than 0", std::to_string(p.std[i]));
  }
}

}  // namespace

void checkConfig(const ModelConfig& c) {
  if (c.files.empty() || c.files.size() != c.fileBytes.size())
    fail("files", "at least one, each with its size", std::to_string(c.files.size()));
  if (!c.hasImageTower() && !c.text) fail("towers", "image, text or both", "none");
  if (c.image && c.resNet) fail("towers", "one image tower", "two");
  const bool joint =
      c.resNet || c.tensors.contains("image.projection") || c.tensors.contains("text.projection");
  if (joint || c.embedDim != 0) within("embedDim", c.embedDim, kMaxWidth);
  finite("logitScale", c.logitScale);
  if (c.image) {
    checkTransformer("image", *c.image);
    within("image.imageSize", c.image->imageSize, kMaxImageSize);
    within("image.patchSize", c.image->patchSize, c.image->imageSize);
    const int grid = c.image->grid();
    if (grid > 255)
      fail("image.patchSize", "at most 255 patches to a side", std::to_string(c.image->patchSize));
  }
  if (c.resNet) checkResNet(*c.resNet);
  if (c.hasImageTower()) checkPreprocess(c.preprocess, c.imageSize());
  if (c.text) {
    checkTransformer("text", *c.text);
    within("text.contextLength", c.text->contextLength, kMaxTokens);
    within("text.vocabSize", c.text->vocabSize, kMaxVocabulary);
  }
}

}  // namespace clip
