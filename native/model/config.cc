#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace clip {
namespace {

// Limits of a configuration. With these, products of two widths stay far inside int64, and numbers of tokens
// inside int.
constexpr int kMaxWidth = 1 << 20, kMaxLayers = 1 << 10, kMaxTokens = 1 << 16, kMaxVocabulary = 1 << 24;
constexpr int kMaxImageSize = 1 << 14, kMaxResNetSize = 1 << 12;
// Sinusoids are not in the file, so its size does not limit them.
constexpr int kMaxSinusoids = 1 << 10;

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
  const std::string blocks = tower + ".blocks";
  within(blocks + ".width", c.blocks.width, 1, kMaxWidth);
  within(blocks + ".layers", c.blocks.layers, 1, kMaxLayers);
  within(blocks + ".mlp", c.blocks.mlp, 1, kMaxWidth);
  within(blocks + ".heads", c.blocks.heads, 1, c.blocks.width);
  if (c.blocks.width % c.blocks.heads)
    fail(blocks + ".heads", "divide the width " + std::to_string(c.blocks.width),
         std::to_string(c.blocks.heads));
  if (c.blocks.gate.has_value() != c.blocks.innerNorms)
    fail(blocks + ".innerNorms", c.blocks.gate ? "be true with a gate" : "be false without a gate",
         c.blocks.gate ? "false" : "true");
  if (c.project == Projection::mlp)
    within(tower + ".projectionMlp.hidden", c.projectionMlp.hidden, 1, kMaxWidth);
  // The condition is written so that NaN fails it.
  if (!(c.blocks.layerNormEps >= 0 && c.blocks.layerNormEps < 1))
    fail(blocks + ".layerNormEps", "be at least 0 and less than 1", std::to_string(c.blocks.layerNormEps));
}

// Only combinations that occur in checkpoints are accepted, so every tower that can be built has been tested.
void checkImageTransformer(const ImageTransformerConfig& c) {
  checkTransformer("spec.image", c);
  within("spec.image.embed.imageSize", c.imageSize, 1, kMaxImageSize);
  within("spec.image.embed.patchSize", c.patchSize, 1, c.imageSize);
  if (c.grid() > 255)
    fail("spec.image.embed.patchSize", "give at most 255 patches per side", std::to_string(c.patchSize));
  if (c.stem[0] || c.stem[1]) {
    for (const int width : c.stem) within("spec.image.embed.stem", width, 1, 1 << 14);
    if (c.patchSize != 4 * ImageTransformerConfig::kStemPatch || c.imageSize % c.patchSize)
      fail("spec.image.embed.patchSize", "be 16, and divide the image size, with a stem",
           std::to_string(c.patchSize));
  }
  if (c.mask != Mask::full) fail("spec.image.mask", "be 'full'", "'causal'");
  if (c.pool != PoolKind::first && c.pool != PoolKind::mean && c.pool != PoolKind::attention)
    fail("spec.image.pool", "be 'first', 'mean' or 'attention'", "a pool of texts");
  if (c.blocks.postNorm) fail("spec.image.blocks.postNorm", "be false", "true");
  if (!c.finalNorm) fail("spec.image.finalNorm", "be true", "false");
  if (c.project == Projection::mlp) fail("spec.image.project", "be 'matrix', 'identity' or 'none'", "'mlp'");
  if (c.normFirst && c.classToken && c.pool == PoolKind::mean)
    fail("spec.image.normFirst", "be false for the mean of a tower with a class token", "true");
  if (c.rope) {
    if (c.blocks.width / c.blocks.heads % 4)
      fail("spec.image.blocks.heads", "give heads of a multiple of 4 numbers, which are rotated",
           std::to_string(c.blocks.heads));
    within("spec.image.embed.rope.offset", c.rope->offset, 0, kMaxImageSize);
    within("spec.image.embed.rope.reference", c.rope->reference, 1, kMaxImageSize);
  }
  if (c.pool == PoolKind::first && !c.classToken)
    fail("spec.image.pool", "be 'mean' or 'attention' without a class token", "'first'");
  if (c.pool != PoolKind::attention) return;
  within("spec.image.attentionPool.heads", c.attentionPool.heads, 1, c.blocks.width);
  if (c.blocks.width % c.attentionPool.heads)
    fail("spec.image.attentionPool.heads", "divide the width " + std::to_string(c.blocks.width),
         std::to_string(c.attentionPool.heads));
  within("spec.image.attentionPool.mlp", c.attentionPool.mlp, 1, kMaxWidth);
}

void checkTextTransformer(const TextTransformerConfig& c) {
  checkTransformer("spec.text", c);
  within("spec.text.embed.contextLength", c.contextLength, 1, kMaxTokens);
  within("spec.text.embed.vocabSize", c.vocabSize, 1, kMaxVocabulary);
  if (c.padId) within("spec.text.embed.padId", *c.padId, 0, c.vocabSize - 1);
  if (c.maskedId) within("spec.text.embed.maskedId", *c.maskedId, 0, c.vocabSize - 1);
  if (c.maskedId && c.padId)
    fail("spec.text.embed.maskedId", "be absent with padId", std::to_string(*c.maskedId));
  if (!(c.tokenScale > 0 && c.tokenScale < kMaxWidth))
    fail("spec.text.embed.tokenScale", "be greater than 0", std::to_string(c.tokenScale));
  if (c.sinusoid) {
    within("spec.text.embed.sinusoid", *c.sinusoid, 0, kMaxTokens);
    within("spec.text.embed.contextLength", c.contextLength, 1, kMaxSinusoids);
    if (c.blocks.width % 2 || c.blocks.width < 4)
      fail("spec.text.blocks.width", "be an even number from 4 on with sinusoids",
           std::to_string(c.blocks.width));
  }
  // The embeddings of towers with layer norms after the blocks' halves have one too.
  if (c.preNorm != c.blocks.postNorm)
    fail("spec.text.preNorm", "be the same as blocks.postNorm", c.preNorm ? "true" : "false");
  if (c.blocks.postNorm && c.blocks.gate) fail("spec.text.blocks.gate", "be absent with postNorm", "a gate");
  if (!c.finalNorm && !c.blocks.postNorm) fail("spec.text.finalNorm", "be true", "false");
  if (c.pool == PoolKind::attention) fail("spec.text.pool", "be a pool of texts", "'attention'");
  if (c.pool == PoolKind::first || c.pool == PoolKind::mean) {
    if (c.mask != Mask::full)
      fail("spec.text.pool", "be 'last', 'argmax' or 'eos' under the causal mask",
           c.pool == PoolKind::first ? "'first'" : "'mean'");
    if (c.padId) fail("spec.text.embed.padId", "be absent with this pool", std::to_string(*c.padId));
  }
}

// Without a matrix a pooled row has the width of the joint space.
void checkIdentity(const std::string& tower, int embedDim, int width) {
  if (embedDim != width)
    fail(tower + ".project",
         "be 'matrix' where the width is " + std::to_string(width) + " and the embeddings have " +
             std::to_string(embedDim) + " numbers",
         "'identity'");
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
    fail("spec.image.imageSize",
         "be a size that becomes " + std::to_string(c.grid()) + " when it is halved five times",
         std::to_string(c.imageSize));
}

void checkConvNext(const ConvNextConfig& c) {
  within("spec.image.imageSize", c.imageSize, 1, kMaxResNetSize);
  within("spec.image.patchSize", c.patchSize, 1, c.imageSize);
  if (c.side(ConvNextConfig::kStages - 1) < 1)
    fail("spec.image.imageSize",
         "be at least " + std::to_string(c.patchSize << (ConvNextConfig::kStages - 1)),
         std::to_string(c.imageSize));
  for (const ConvNextConfig::Stage& stage : c.stages) {
    within("spec.image.stages.width", stage.width, 1, 1 << 14);
    within("spec.image.stages.layers", stage.layers, 1, kMaxLayers);
    within("spec.image.stages.mlp", stage.mlp, 1, 1 << 16);
  }
  within("spec.image.headMlp", c.headMlp, 0, kMaxWidth);
  // The condition is written so that NaN fails it.
  if (!(c.layerNormEps >= 0 && c.layerNormEps < 1))
    fail("spec.image.layerNormEps", "be at least 0 and less than 1", std::to_string(c.layerNormEps));
}

}  // namespace

void checkPreprocess(const PreprocessConfig& p) {
  within("preprocess.size", p.size, 1, kMaxImageSize);
  for (int i = 0; i < 3; i++) {
    const std::string at = std::string("[").append(std::to_string(i)).append("]");
    finite("preprocess.mean" + at, p.mean[i]);
    finite("preprocess.std" + at, p.std[i]);
    if (p.std[i] <= 0) fail("preprocess.std" + at, "be greater than 0", std::to_string(p.std[i]));
  }
}

void checkConfig(const ModelConfig& c) {
  if (c.files.empty() || c.files.size() != c.fileBytes.size())
    fail("spec.files", "contain at least one file, each with its size", std::to_string(c.files.size()));
  if (!c.hasImageTower() && !c.text) fail("spec", "have an image or a text tower", "neither");
  if ((c.image ? 1 : 0) + (c.resNet ? 1 : 0) + (c.convNext ? 1 : 0) > 1)
    fail("spec", "have one image tower", "several");
  const Projection image = c.hasImageTower() ? c.imageProjection() : Projection::none,
                   text = c.text ? c.text->project : Projection::none;
  const bool joint = image != Projection::none || text != Projection::none;
  within("spec.embedDim", c.embedDim, joint ? 1 : 0, kMaxWidth);
  if (image == Projection::identity) checkIdentity("spec.image", c.embedDim, c.imageWidth());
  if (text == Projection::identity) checkIdentity("spec.text", c.embedDim, c.text->blocks.width);
  if (c.image) checkImageTransformer(*c.image);
  if (c.resNet) checkResNet(*c.resNet);
  if (c.convNext) checkConvNext(*c.convNext);
  if (c.hasImageTower()) {
    checkPreprocess(c.preprocess);
    if (c.preprocess.size != c.imageSize())
      fail("preprocess.size", "be the image tower's " + std::to_string(c.imageSize()),
           std::to_string(c.preprocess.size));
  }
  if (c.text) checkTextTransformer(*c.text);
}

void checkTexts(const TextTransformerConfig& c, const std::vector<int32_t>& ids,
                const std::vector<int32_t>& lengths) {
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
  const int32_t* text = ids.data();
  for (size_t i = 0; c.maskedId && i < lengths.size(); text += lengths[i++])
    if (std::all_of(text, text + lengths[i], [&](int32_t id) { return id == *c.maskedId; }))
      fail("ids", "have an id other than the pad " + std::to_string(*c.maskedId) + " in each text",
           "none in text " + std::to_string(i), input);
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= c.vocabSize)
      fail("ids[" + std::to_string(i) + "]", range(0, c.vocabSize - 1), std::to_string(ids[i]), input);
}

}  // namespace clip
