#include "model/weights.h"

#include <cmath>
#include <string>

#include "error.h"
#include "model/pack_cache.h"
#include "model/rope_table.h"
#include "model/trim_heap.h"
#include "model/weight_packer.h"

namespace clip {
namespace {

// M2M100's positions: row p has the sines, then the cosines, of (first + p) * 10000^(-j / (width / 2 - 1)).
// Angles are rounded to float32, as in the original.
std::vector<float> sinusoids(int first, int rows, int width) {
  const int half = width / 2;
  std::vector<float> values(static_cast<size_t>(rows) * static_cast<size_t>(width));
  const float step = static_cast<float>(-std::log(10000.0) / (half - 1));
  for (int j = 0; j < half; j++) {
    const float frequency = static_cast<float>(std::exp(static_cast<double>(static_cast<float>(j) * step)));
    for (int r = 0; r < rows; r++) {
      const double angle = static_cast<float>(first + r) * frequency;
      float* const row = values.data() + static_cast<size_t>(r) * static_cast<size_t>(width);
      row[j] = static_cast<float>(std::sin(angle));
      row[half + j] = static_cast<float>(std::cos(angle));
    }
  }
  return values;
}

// Walks over the architecture twice with the same code: first to check every tensor and to count bytes, then
// to assign each weight its location and to fill it, unless it comes from the cache.
class Loader : public WeightPacker {
 public:
  using WeightPacker::WeightPacker;

  void image(ImageTransformerWeights& w) {
    const ImageTransformerConfig& c = *config_.image;
    const int64_t width = c.blocks.width, p = c.patchSize;
    // An int8 model keeps its patch embedding in bfloat16, which costs one percent of the time: pixels fill
    // their range evenly, but the range of an int8 row always includes 0, and a patch has no zeros that would
    // benefit.
    if (c.stem[0]) {
      // The table has the views of both weights in which the order of conv is that of the patches and the windows.
      w.stem[0] = conv("image.stem.conv1", "image.stem.bn1", {c.stem[0], 4, 3, 4});
      w.stem[1] = conv("image.stem.conv2", "image.stem.bn2", {c.stem[1], c.stem[0], 2, 2});
      w.patch = linear({"image.patch"}, {width, 2, 2, c.stem[1]}, Bias::required);
    } else {
      w.patch = linear({"image.patch"}, {width, 3, p, p}, Bias::optional,
                       dtype_ == Dtype::int8 ? Dtype::bfloat16 : dtype_);
    }
    if (c.classToken) w.classToken = vector("image.class", {width});
    w.position = c.classPosition ? vector("image.position", {c.tokens(), width})
                                 : vectorAfterZeros("image.position", {c.patches(), width});
    if (c.rope) w.rope = constants(ropeTableSize(c), [&] { return ropeTable(c); });
    transformer("image.", "postNorm", c, w);
    if (c.pool == PoolKind::attention) attentionPool(c, w.attentionPool);
  }

  void resNet(ResNetWeights& w) {
    const ResNetConfig& c = *config_.resNet;
    const int64_t half = c.width / 2, features = c.features();
    w.stem[0] = conv("image.stem.conv1", "image.stem.bn1", {half, 3, 3, 3});
    w.stem[1] = conv("image.stem.conv2", "image.stem.bn2", {half, half, 3, 3});
    w.stem[2] = conv("image.stem.conv3", "image.stem.bn3", {c.width, half, 3, 3});
    int64_t in = c.width;
    for (int l = 0; l < 4; l++) {
      const int64_t planes = int64_t{c.width} << l, out = 4 * planes;
      w.layers[l].resize(c.layers[l]);
      for (int i = 0; i < c.layers[l]; i++, in = out) {
        BottleneckWeights& b = w.layers[l][i];
        const std::string name = "image.layer" + std::to_string(l + 1) + "." + std::to_string(i) + ".";
        b.conv1 = conv(name + "conv1", name + "bn1", {planes, in, 1, 1});
        b.conv2 = conv(name + "conv2", name + "bn2", {planes, planes, 3, 3});
        b.conv3 = conv(name + "conv3", name + "bn3", {out, planes, 1, 1});
        if (i == 0) b.downsample = conv(name + "downsample.conv", name + "downsample.bn", {out, in, 1, 1});
      }
    }
    const Shape square{features, features};
    w.position = vector("image.pool.position", {c.tokens(), features});
    w.query = linear({"image.pool.query"}, square, Bias::required);
    w.keyValue = linear({"image.pool.key", "image.pool.value"}, square, Bias::required);
    w.projection = linear({"image.pool.out"}, {config_.embedDim, features}, Bias::required, Dtype::float32);
  }

  void convNext(ConvNextWeights& w) {
    const ConvNextConfig& c = *config_.convNext;
    const int64_t patch = c.patchSize;
    int64_t in = 0;
    for (int s = 0; s < ConvNextConfig::kStages; s++) {
      const auto& [width, layers, mlp] = c.stages[s];
      const std::string stage = "image.stage" + std::to_string(s + 1) + ".";
      ConvNextStageWeights& to = w.stages[s];
      if (s == 0) {
        // As the patches of a transformer.
        to.downsample = linear({"image.stem"}, {width, 3, patch, patch}, Bias::required,
                               dtype_ == Dtype::int8 ? Dtype::bfloat16 : dtype_);
        w.stemNorm = norm("image.stem.norm", width);
      } else {
        to.norm = norm(stage + "downsample.norm", in);
        to.downsample = linear({stage + "downsample"}, {width, 2, 2, in}, Bias::required);
      }
      to.blocks.resize(layers);
      for (int i = 0; i < layers; i++) {
        ConvNextBlockWeights& b = to.blocks[i];
        const std::string name = stage + std::to_string(i) + ".";
        b.depthwise = vector(name + "depthwise.weight", {7, 7, width});
        b.depthwiseBias = vector(name + "depthwise.bias", {width});
        b.norm = norm(name + "norm", width);
        b.fc1 = linear({name + "fc1"}, {mlp, width}, Bias::required);
        b.fc2 = linear({name + "fc2"}, {width, mlp}, Bias::required);
      }
      in = width;
    }
    w.headNorm = norm("image.postNorm", in);
    if (c.headMlp) w.headFc1 = linear({"image.head.fc1"}, {c.headMlp, in}, Bias::required, Dtype::float32);
    w.projection = linear({"image.projection"}, {config_.embedDim, c.headMlp ? c.headMlp : in},
                          Bias::optional, Dtype::float32);
  }

  void text(TextTransformerWeights& w) {
    const TextTransformerConfig& c = *config_.text;
    w.token = table("text.token", {c.vocabSize, c.blocks.width}, c.tokenScale);
    const size_t positionCount = static_cast<size_t>(c.contextLength) * static_cast<size_t>(c.blocks.width);
    w.position = c.sinusoid
                     ? constants(positionCount,
                                 [&] { return sinusoids(*c.sinusoid, c.contextLength, c.blocks.width); })
                     : positions("text.position", "text.tokenType", {c.contextLength, c.blocks.width});
    transformer("text.", "finalNorm", c, w);
  }

 private:
  // Everything after the embedding.
  void transformer(const std::string& tower, const std::string& finalNorm, const TransformerConfig& c,
                   TransformerWeights& w) {
    const int64_t width = c.blocks.width;
    if (c.preNorm) w.preNorm = norm(tower + "preNorm", width);
    blocks(tower + "blocks.", c.blocks, w.blocks);
    if (c.finalNorm) w.finalNorm = norm(tower + finalNorm, width);
    const int64_t hidden = c.projectionMlp.hidden;
    if (c.project == Projection::mlp)
      w.projectionHidden =
          linear({tower + "projection.hidden"}, {hidden, width}, Bias::optional, Dtype::float32);
    if (c.project == Projection::matrix || c.project == Projection::mlp)
      w.projection =
          linear({tower + "projection"}, {config_.embedDim, c.project == Projection::mlp ? hidden : width},
                 Bias::optional, Dtype::float32);
  }

  void attentionPool(const ImageTransformerConfig& c, AttentionPoolWeights& w) {
    const int64_t width = c.blocks.width, mlp = c.attentionPool.mlp;
    const Shape square{width, width};
    w.query = constantQuery("image.pool.query", "image.pool.latent", width);
    w.keyValue = linear({"image.pool.key", "image.pool.value"}, square, Bias::required);
    w.out = linear({"image.pool.out"}, square, Bias::required);
    w.norm = norm("image.pool.norm", width);
    w.fc1 = linear({"image.pool.fc1"}, {mlp, width}, Bias::required);
    w.fc2 = linear({"image.pool.fc2"}, {width, mlp}, Bias::required);
  }

  void blocks(const std::string& prefix, const BlocksConfig& c, std::vector<BlockWeights>& all) {
    const int64_t width = c.width, mlp = c.mlp;
    all.resize(c.layers);
    for (int i = 0; i < c.layers; i++) {
      BlockWeights& w = all[i];
      const std::string b = prefix + std::to_string(i) + ".";
      const Shape square{width, width};
      w.norm1 = norm(b + "norm1", width);
      if (i + 1 < c.layers) {
        w.queryKeyValue = linear({b + "query", b + "key", b + "value"}, square, Bias::optional);
      } else {
        w.query = linear({b + "query"}, square, Bias::optional);
        w.keyValue = linear({b + "key", b + "value"}, square, Bias::optional);
      }
      if (c.innerNorms) w.attentionNorm = norm(b + "attentionNorm", width);
      w.out = linear({b + "out"}, square, Bias::required);
      w.norm2 = norm(b + "norm2", width);
      w.fc1 = c.gate ? linear({b + "gate", b + "fc1"}, {mlp, width}, Bias::required)
                     : linear({b + "fc1"}, {mlp, width}, Bias::required);
      if (c.innerNorms) w.mlpNorm = norm(b + "mlpNorm", mlp);
      w.fc2 = linear({b + "fc2"}, {width, mlp}, Bias::required);
    }
  }
};

}  // namespace

WeightNames nameWeights(const ModelConfig& config, int threads, const std::atomic<bool>& cancel) {
  const TrimHeap trim;
  Loader loader(config, chooseBackend("reference"), Dtype::float32, threads, cancel);
  loader.nameOnly();
  // The locations of the weights are not needed here.
  if (config.image) {
    ImageTransformerWeights w;
    loader.image(w);
  }
  if (config.resNet) {
    ResNetWeights w;
    loader.resNet(w);
  }
  if (config.convNext) {
    ConvNextWeights w;
    loader.convNext(w);
  }
  if (config.text) {
    TextTransformerWeights w;
    loader.text(w);
  }
  return loader.names();
}

Weights::Weights(const ModelConfig& config, const ModelConfig* unloaded, const Backend& backend, Dtype dtype,
                 int threads, const std::optional<PackCache>& cache, const std::atomic<bool>& cancel)
    : backend_(backend) {
  if (config.image) image.emplace();
  if (config.resNet) resNet.emplace();
  if (config.convNext) convNext.emplace();
  if (config.text) text.emplace();
  const TrimHeap trim;  // destroyed after the loader
  Loader loader(config, backend, dtype, threads, cancel);
  const auto walk = [&] {
    if (image) loader.image(*image);
    if (resNet) loader.resNet(*resNet);
    if (convNext) loader.convNext(*convNext);
    if (text) loader.text(*text);
  };
  walk();
  reserved_ = loader.bytes();
  const std::string layout = packedLayout(backend, dtype, reserved_);
  if (cache) mapped_ = cache->open(layout, reserved_, threads, cancel);
  if (mapped_) {
    loader.placeInto(mapped_->data(), mapped_->float16());
    walk();
    bytes_ = loader.bytes();
    cacheUse = PackCacheUse::mapped;
    names = mapped_->names();
    if (bytes_ == mapped_->bytes()) return;
    mapped_.reset();
  }
  memory_ = backend.alloc(reserved_);
  if (!memory_)
    throw Error{.code = "ERR_CLIP_MEMORY",
                .message = "No memory for the model's weights: " + std::to_string(reserved_) + " bytes on " +
                           backend.name,
                .file = config.files.front(),
                .expected = std::to_string(reserved_) + " bytes"};
  try {
    loader.fillInto(memory_);
    walk();
    bytes_ = loader.bytes();
    names = loader.names();
    if (unloaded) {
      const WeightNames others = nameWeights(*unloaded, threads, cancel);
      if (names.image.empty()) names.image = others.image;
      if (names.text.empty()) names.text = others.text;
    }
    if (cache) {
      cacheFailure = cache->write(layout, memory_, bytes_, loader.float16(), names, threads, cancel);
      cacheUse = cacheFailure.empty() ? PackCacheUse::written : PackCacheUse::failed;
    }
  } catch (...) {
    backend.free(memory_, reserved_);
    throw;
  }
}

Weights::~Weights() {
  if (memory_) backend_.free(memory_, reserved_);
}

}  // namespace clip
