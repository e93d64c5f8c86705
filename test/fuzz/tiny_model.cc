#include "tiny_model.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

namespace clip::fuzz {
namespace {

using Shape = std::vector<int64_t>;

class Builder {
 public:
  explicit Builder(Choices& choices) : choices_(choices), mixed_(choices.oneIn(3)), dtype_(anyDtype()) {}

  TinyModel build() {
    ModelConfig& c = model_.config;
    c.files = {""};
    c.fileBytes = {0};
    c.embedDim = choices_.within(1, 20);
    const uint64_t kind = choices_.below(8);  // 0 to 4: ViT; 5: ResNet; 6: ConvNeXt; 7: no image tower
    if (kind < 5) vision();
    if (kind == 5) resNet();
    if (kind == 6) convNext();
    if (kind == 7 || !choices_.oneIn(3)) text();
    if (c.hasImageTower()) {
      c.preprocess.size = c.imageSize();
      c.preprocess.filter = choices_.pick({Filter::bicubic, Filter::bilinear, Filter::nearest});
      c.preprocess.mode =
          choices_.pick({PreprocessConfig::shortest, PreprocessConfig::squash, PreprocessConfig::longest});
      for (int i = 0; i < 3; i++) c.preprocess.mean[i] = 0.4f, c.preprocess.std[i] = 0.3f;
    }
    c.fileBytes[0] = model_.bytes.size();
    return std::move(model_);
  }

 private:
  void blocks(BlocksConfig& t, const std::string& prefix) {
    t.heads = choices_.within(1, 3);
    t.width = t.heads * choices_.within(1, 12);
    t.layers = choices_.within(1, 2);
    t.mlp = choices_.within(1, 40);
    t.activation =
        choices_.pick({Activation::quickGelu, Activation::gelu, Activation::geluTanh, Activation::relu});
    t.innerNorms = choices_.oneIn(5);
    if (t.innerNorms) t.gate = choices_.pick({Gating::silu, Gating::gelu});
    for (int i = 0; i < t.layers; i++) {
      const std::string b = prefix + std::to_string(i) + ".";
      norm(b + "norm1", t.width);
      for (const char* name : {"query", "key", "value", "out"}) {
        add(b + name + ".weight", {t.width, t.width});
        // The biases of the first three are optional.
        if (std::string(name) == "out" || !choices_.oneIn(8)) add(b + name + ".bias", {t.width});
      }
      if (choices_.oneIn(6)) add(b + "out.scale", {t.width});
      if (choices_.oneIn(6)) add(b + "fc2.scale", {t.width});
      norm(b + "norm2", t.width);
      linear(b + "fc1", {t.mlp, t.width});
      linear(b + "fc2", {t.width, t.mlp});
      if (!t.innerNorms) continue;
      norm(b + "attentionNorm", t.width);
      linear(b + "gate", {t.mlp, t.width});
      norm(b + "mlpNorm", t.mlp);
    }
  }

  void vision() {
    ImageTransformerConfig v;
    blocks(v.blocks, "image.blocks.");
    v.patchSize = choices_.within(1, 6);
    v.imageSize = v.patchSize * choices_.within(1, 4) + choices_.within(0, v.patchSize - 1);
    v.preNorm = !choices_.oneIn(4);
    v.classToken = !choices_.oneIn(3);
    v.pool = choices_.oneIn(3)                    ? PoolKind::attention
             : choices_.oneIn(3) || !v.classToken ? PoolKind::mean
                                                  : PoolKind::first;
    if (v.blocks.width / v.blocks.heads % 4 == 0 && !choices_.oneIn(3))
      v.rope = {.offset = choices_.within(0, 1),
                .reference = choices_.within(1, 30),
                .columnFirst = choices_.oneIn(2)};
    v.normFirst = !v.classToken && choices_.oneIn(2);
    if (v.pool == PoolKind::attention) attentionPool(v);
    if (v.classToken) add("image.class", {v.blocks.width});
    add("image.patch.weight", {v.blocks.width, 3, v.patchSize, v.patchSize});
    if (choices_.oneIn(4)) add("image.patch.bias", {v.blocks.width});
    add("image.position", {v.tokens(), v.blocks.width});
    if (v.preNorm) norm("image.preNorm", v.blocks.width);
    norm("image.postNorm", v.blocks.width);
    projection("image.projection", v);
    model_.config.image = v;
  }

  void attentionPool(ImageTransformerConfig& v) {
    const int64_t width = v.blocks.width;
    v.attentionPool.heads = choices_.oneIn(2) ? v.blocks.heads : 1;
    v.attentionPool.mlp = choices_.within(1, 40);
    add("image.pool.latent", {width});
    for (const char* name : {"query", "key", "value", "out"})
      linear(std::string("image.pool.") + name, {width, width});
    norm("image.pool.norm", width);
    linear("image.pool.fc1", {v.attentionPool.mlp, width});
    linear("image.pool.fc2", {width, v.attentionPool.mlp});
  }

  void resNet() {
    ResNetConfig r;
    r.imageSize = 32;
    r.width = 2 * choices_.within(1, 2);
    r.heads = choices_.pick({1, 2, 4, 32});
    for (int& n : r.layers) n = choices_.within(1, 2);
    const int64_t half = r.width / 2;
    conv("image.stem.conv1", "image.stem.bn1", {half, 3, 3, 3});
    conv("image.stem.conv2", "image.stem.bn2", {half, half, 3, 3});
    conv("image.stem.conv3", "image.stem.bn3", {r.width, half, 3, 3});
    int64_t in = r.width;
    for (int l = 0; l < 4; l++) {
      const int64_t planes = int64_t{r.width} << l, out = 4 * planes;
      for (int i = 0; i < r.layers[l]; i++, in = out) {
        const std::string b = "image.layer" + std::to_string(l + 1) + "." + std::to_string(i) + ".";
        conv(b + "conv1", b + "bn1", {planes, in, 1, 1});
        conv(b + "conv2", b + "bn2", {planes, planes, 3, 3});
        conv(b + "conv3", b + "bn3", {out, planes, 1, 1});
        if (i == 0) conv(b + "downsample.conv", b + "downsample.bn", {out, in, 1, 1});
      }
    }
    const int64_t features = r.features();
    add("image.pool.position", {r.tokens(), features});
    for (const char* name : {"query", "key", "value"})
      linear(std::string("image.pool.") + name, {features, features});
    linear("image.pool.out", {model_.config.embedDim, features});
    model_.config.resNet = r;
  }

  void convNext() {
    ConvNextConfig c;
    c.patchSize = choices_.within(1, 4);
    c.imageSize = c.patchSize * choices_.within(8, 17) + choices_.within(0, c.patchSize - 1);
    const int64_t patch = c.patchSize;
    int64_t in = 0;
    for (int s = 0; s < ConvNextConfig::kStages; s++) {
      ConvNextConfig::Stage& stage = c.stages[s];
      stage = {choices_.within(1, 24), choices_.within(1, 2), choices_.within(1, 40)};
      const std::string name = "image.stage" + std::to_string(s + 1) + ".";
      if (s == 0) {
        linear("image.stem", {stage.width, 3, patch, patch});
        norm("image.stem.norm", stage.width);
      } else {
        norm(name + "downsample.norm", in);
        linear(name + "downsample", {stage.width, 2, 2, in});
      }
      for (int i = 0; i < stage.layers; i++) {
        const std::string b = name + std::to_string(i) + ".";
        add(b + "depthwise.weight", {7, 7, stage.width});
        add(b + "depthwise.bias", {stage.width});
        norm(b + "norm", stage.width);
        linear(b + "fc1", {stage.mlp, stage.width});
        linear(b + "fc2", {stage.width, stage.mlp});
        if (choices_.oneIn(2)) add(b + "fc2.scale", {stage.width});
      }
      in = stage.width;
    }
    norm("image.postNorm", in);
    if (choices_.oneIn(2)) {
      c.headMlp = choices_.within(1, 30);
      linear("image.head.fc1", {c.headMlp, in});
      in = c.headMlp;
    }
    add("image.projection", {model_.config.embedDim, in});
    model_.config.convNext = c;
  }

  void text() {
    TextTransformerConfig t;
    blocks(t.blocks, "text.blocks.");
    t.contextLength = choices_.within(1, 12);
    t.vocabSize = choices_.within(1, 90);  // the table is packed in pieces of 64 rows
    t.mask = choices_.oneIn(3) ? Mask::full : Mask::causal;
    t.pool = choices_.pick({PoolKind::last, PoolKind::argmax, PoolKind::eos});
    if (choices_.oneIn(3)) t.padId = choices_.within(0, t.vocabSize - 1);
    t.endId = choices_.within(0, t.vocabSize - 1);
    if (choices_.oneIn(3)) encoder(t);
    add("text.token", {t.vocabSize, t.blocks.width});
    if (!t.sinusoid) add("text.position", {t.contextLength, t.blocks.width});
    if (t.finalNorm) norm("text.finalNorm", t.blocks.width);
    if (t.project != Projection::mlp) projection("text.projection", t);
    model_.config.text = t;
  }

  // What text encoders of transformers have: BERT, RoBERTa, M2M100.
  void encoder(TextTransformerConfig& t) {
    t.mask = Mask::full;
    t.pool = choices_.pick({PoolKind::first, PoolKind::mean});
    t.padId.reset();
    if (choices_.oneIn(2)) t.maskedId = choices_.within(0, t.vocabSize - 1);
    t.blocks.postNorm = t.preNorm = !t.blocks.gate && choices_.oneIn(2);
    if (t.preNorm) norm("text.preNorm", t.blocks.width);
    if (t.preNorm) t.finalNorm = choices_.oneIn(2);
    if (choices_.oneIn(2)) t.tokenScale = 1.5f;
    if (t.blocks.width % 2 == 0 && t.blocks.width >= 4 && choices_.oneIn(2))
      t.sinusoid = choices_.within(0, 3);
    if (!t.sinusoid && choices_.oneIn(2)) add("text.tokenType", {t.blocks.width});
    if (!choices_.oneIn(3)) return;
    t.project = Projection::mlp;
    t.projectionMlp = {choices_.within(1, 40), choices_.pick({Activation::none, Activation::gelu})};
    add("text.projection.hidden.weight", {t.projectionMlp.hidden, t.blocks.width});
    if (choices_.oneIn(2)) add("text.projection.hidden.bias", {t.projectionMlp.hidden});
    add("text.projection", {model_.config.embedDim, t.projectionMlp.hidden});
  }

  void projection(const std::string& name, TransformerConfig& t) {
    if (t.blocks.width == model_.config.embedDim && choices_.oneIn(2)) {
      t.project = Projection::identity;
      return;
    }
    t.project = Projection::matrix;
    add(name, {model_.config.embedDim, t.blocks.width});
    if (choices_.oneIn(4)) add(name + ".bias", {model_.config.embedDim});
  }
  void norm(const std::string& name, int64_t width) {
    add(name + ".weight", {width});
    add(name + ".bias", {width});
  }
  void linear(const std::string& name, const Shape& shape) {
    add(name + ".weight", shape);
    add(name + ".bias", {shape[0]});
  }
  void conv(const std::string& name, const std::string& batchNorm, const Shape& shape) {
    add(name + ".weight", shape);
    for (const char* field : {".weight", ".bias", ".mean", ".variance"})
      add(batchNorm + field, {shape[0]}, true);
  }

  Dtype anyDtype() { return choices_.pick({Dtype::float32, Dtype::float16, Dtype::bfloat16}); }

  void add(const std::string& name, const Shape& shape, bool positive = false) {
    TensorView t;
    t.name = name;
    t.dtype = mixed_ ? anyDtype() : dtype_;
    t.shape = shape;
    t.strides.resize(shape.size());
    // Stored with its dimensions in any order, starting at any byte.
    std::vector<size_t> order(shape.size());
    std::iota(order.begin(), order.end(), size_t{0});
    if (choices_.oneIn(8)) std::reverse(order.begin(), order.end());
    if (shape.size() == 4 && choices_.oneIn(8)) std::swap(order[1], order[3]);
    int64_t elements = 1;
    for (size_t i = order.size(); i-- > 0;) t.strides[order[i]] = elements, elements *= shape[order[i]];
    std::vector<uint8_t>& bytes = model_.bytes;
    if (choices_.oneIn(6)) bytes.resize(bytes.size() + choices_.below(9));
    t.offset = bytes.size();
    const size_t size = bytesOf(t.dtype);
    bytes.resize(bytes.size() + static_cast<size_t>(elements) * size);
    for (int64_t i = 0; i < elements; i++) {
      // -1 to 1, from a separate generator: values are not choices
      values_ = values_ * 6364136223846793005u + 1442695040888963407u;
      float v = static_cast<float>(static_cast<int>(values_ >> 40) - (1 << 23)) / (1 << 23);
      if (positive) v = v * v + 0.1f;
      uint32_t bits = std::bit_cast<uint32_t>(v);
      if (t.dtype == Dtype::bfloat16) bits >>= 16;
      if (t.dtype == Dtype::float16)  // exponents below those of float16 become 0
        bits = (bits & 0x7fffffffu) < 0x38800000u
                   ? 0
                   : (bits >> 16 & 0x8000u) | ((bits & 0x7fffffffu) - 0x38000000u) >> 13;
      std::memcpy(bytes.data() + t.offset + static_cast<size_t>(i) * size, &bits, size);
    }
    model_.config.tensors[name] = t;
  }

  Choices& choices_;
  const bool mixed_;
  const Dtype dtype_;
  uint64_t values_ = 1;
  TinyModel model_;
};

}  // namespace

TinyModel tinyModel(Choices& choices) { return Builder(choices).build(); }

}  // namespace clip::fuzz
