#include "model/model.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "error.h"
#include "model/conv_next.h"
#include "model/modified_resnet.h"
#include "model/text_transformer.h"
#include "model/transformer.h"
#include "model/vision_transformer.h"
#include "model/weights.h"
#include "threads/parallel.h"
#include "profile.h"

namespace clip {
namespace {

constexpr size_t kKeptBytes = size_t{32} << 20;  // memory for activations that is kept between calls
// The same for backends that record graphs, which are valid only as long as their memory is.
constexpr size_t kKeptDeviceBytes = size_t{1} << 30;
// Feature maps of one pass of a ResNet, unless a single image needs more.
constexpr size_t kFeatureBytes = size_t{96} << 20;
constexpr size_t kChunkBytes = size_t{128} << 20;  // activations of one chunk of texts at most

void checkDtype(const Backend& backend, Dtype dtype) {
  if (backend.runs(dtype)) return;
  std::string has;
  for (const Dtype t : kModelDtypes)
    if (backend.runs(t)) has += std::string(has.empty() ? "" : ", ") + nameOf(t);
  throw Error{.code = "ERR_CLIP_DTYPE",
              .message = std::string("The ") + backend.name + " backend does not run " + nameOf(dtype) +
                         "; it runs " + has,
              .field = "dtype",
              .expected = has,
              .actual = nameOf(dtype)};
}

// int8 sums are exact up to this number of inputs (no known model comes near it).
void checkInt8(const ModelConfig& c) {
  int longest = 0;
  if (c.image)
    longest = std::max({longest, c.image->blocks.width, c.image->blocks.mlp, c.image->attentionPool.mlp});
  if (c.text) longest = std::max({longest, c.text->blocks.width, c.text->blocks.mlp});
  if (c.resNet) longest = std::max({longest, c.resNet->features(), 9 * (c.resNet->width << 3)});
  if (c.convNext)
    for (const ConvNextConfig::Stage& stage : c.convNext->stages)
      longest = std::max({longest, 4 * stage.width, stage.mlp});
  if (longest > kMaxInt8Inputs)
    throw Error{.code = "ERR_CLIP_DTYPE",
                .message = "int8 supports at most " + std::to_string(kMaxInt8Inputs) +
                           " inputs per output; this model has " + std::to_string(longest),
                .field = "dtype",
                .expected = "float32 or bfloat16",
                .actual = "int8"};
}

void checkHeads(const Backend& backend, const ModelConfig& c, Dtype dtype) {
  if (c.image) {
    backend.requireHead(dtype, c.image->blocks.width / c.image->blocks.heads, "image.heads");
    if (c.image->pool == PoolKind::attention)
      backend.requireHead(dtype, c.image->blocks.width / c.image->attentionPool.heads,
                          "image.attentionPool.heads");
  }
  // The attention pool of a ResNet is computed in float32 whatever the dtype.
  if (c.resNet) backend.requireHead(Dtype::float32, c.resNet->features() / c.resNet->heads, "image.heads");
  if (c.text) {
    const int dim = c.text->blocks.width / c.text->blocks.heads;
    backend.requireHead(dtype, dim, "text.heads");
    // This mean is an attention in float32.
    if (c.text->pool == PoolKind::mean) backend.requireHead(Dtype::float32, dim, "text.heads");
  }
}

// "<folder>/<name>-<backend>-<dtype>.packed". Only used if the packed memory can be read in place.
std::string packFileOf(const LoadOptions& o, const Backend& backend) {
  if (o.packFolder.empty() || !backend.plainMemory) return {};
  return o.packFolder + "/" + o.packName + "-" + activeName(backend) + "-" + nameOf(o.dtype) + ".packed";
}

struct ContextCloser {
  const Backend* backend;
  void operator()(Context* c) const { backend->close(c); }
};
using OwnedContext = std::unique_ptr<Context, ContextCloser>;

OwnedContext openContext(const Backend& backend, int threads) {
  OwnedContext c(backend.open(threads), ContextCloser{&backend});
  if (!c) throw std::bad_alloc();
  return c;
}

// Frees the memory of a large call when the call ends, with or without an error.
class ArenaTrim {
 public:
  ArenaTrim(Arena& arena, const Backend& backend)
      : arena_(arena), kept_(backend.plainMemory ? kKeptBytes : kKeptDeviceBytes) {}
  ~ArenaTrim() { arena_.trim(kept_); }
  ArenaTrim(const ArenaTrim&) = delete;
  ArenaTrim& operator=(const ArenaTrim&) = delete;

 private:
  Arena& arena_;
  const size_t kept_;
};

[[noreturn]] void failMemory(const std::string& what) {
  throw Error{.code = "ERR_CLIP_MEMORY", .message = "No memory " + what};
}

}  // namespace

struct Model::Impl {
  Impl(ModelConfig c, const LoadOptions& o, const Backend& b, const std::atomic<bool>& cancel)
      : config(std::move(c)),
        options(o),
        backend(b),
        packFile(packFileOf(o, b)),
        weights(config, o.unloaded ? &*o.unloaded : nullptr, b, o.dtype, o.threads,
                packFile.empty() ? std::nullopt : std::optional<PackCache>({packFile, o.packKey}), cancel),
        context(openContext(b, o.threads)),
        arena(b, *context) {
    normaliseTable(config.preprocess, value);
    resizers.resize(o.threads);
  }

  // Each image is resized on one thread, several in parallel; each worker has its own scratch memory.
  void resize(const Image* const* images, int count, uint8_t* rgb) {
    const size_t bytes = size_t{3} * config.preprocess.size * config.preprocess.size;
    parallel(options.threads, count, [&](int i, int worker) {
      OwnedContext& own = resizers[worker];
      if (!own) own = openContext(backend, 1);
      resizeAndCrop(backend, *own, config.preprocess, *images[i], rgb + i * bytes);
    });
  }

  void requireImage() const {
    if (!config.hasImageTower())
      throw Error{.code = "ERR_CLIP_CONFIG",
                  .message = "This model was loaded without its image tower",
                  .field = "image"};
  }
  void requireText() const {
    if (!config.text)
      throw Error{.code = "ERR_CLIP_CONFIG",
                  .message = "This model was loaded without its text tower",
                  .field = "text"};
  }

  void requireProjection(Projection projection, const char* tower) const {
    if (projection == Projection::none)
      throw Error{.code = "ERR_CLIP_CONFIG",
                  .message = std::string("The ") + tower +
                             " tower of this checkpoint has no projection into a joint space: it only has "
                             "the outputs 'pooled' and 'tokens'",
                  .field = "output"};
  }

  const ModelConfig config;
  const LoadOptions options;
  const Backend& backend;
  const std::string packFile;  // file of packed weights; empty: none
  const Weights weights;
  float value[3 * 256];

  // The queue runs one pass of a model at a time; callers that do not use the queue wait for this mutex.
  std::mutex pass;
  OwnedContext context;
  std::vector<OwnedContext> resizers{};  // one per worker, opened at its first image
  Arena arena;
  std::vector<uint8_t> rgb{};
};

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

const ModelConfig& Model::config() const { return impl_->config; }
const Backend& Model::backend() const { return impl_->backend; }
const LoadOptions& Model::options() const { return impl_->options; }
size_t Model::weightBytes() const { return impl_->weights.bytes(); }
PackCacheUse Model::packCacheUse() const { return impl_->weights.cacheUse; }
const WeightNames& Model::weightNames() const { return impl_->weights.names; }
const std::string& Model::packCacheFile() const { return impl_->packFile; }
const std::string& Model::packCacheFailure() const { return impl_->weights.cacheFailure; }

std::unique_ptr<Model> Model::load(ModelConfig config, const LoadOptions& options,
                                   const std::atomic<bool>& cancel) {
  const Backend& backend = profiled(chooseBackend(options.device));
  checkDtype(backend, options.dtype);
  checkConfig(config);
  if (options.unloaded) checkConfig(*options.unloaded);
  checkHeads(backend, config, options.dtype);
  if (options.dtype == Dtype::int8) checkInt8(config);
  LoadOptions o = options;
  o.threads = std::clamp(o.threads, 1, 256);
  o.maxBatchRows = std::max(o.maxBatchRows, 1);
  try {
    return std::unique_ptr<Model>(new Model(std::make_unique<Impl>(std::move(config), o, backend, cancel)));
  } catch (const std::bad_alloc&) {
    failMemory("to load the model");
  }
}

size_t Model::imageFloats(Output output) const {
  impl_->requireImage();
  const ModelConfig& c = impl_->config;
  return output == Output::embedding ? c.embedDim
         : output == Output::pooled  ? c.imageWidth()
                                     : static_cast<size_t>(c.imageTokens()) * c.imageWidth();
}

size_t Model::textFloats(Output output, const int32_t* lengths, int texts) const {
  impl_->requireText();
  const size_t count = static_cast<size_t>(texts),
               width = static_cast<size_t>(impl_->config.text->blocks.width);
  if (output == Output::embedding) return count * impl_->config.embedDim;
  if (output == Output::pooled || texts == 0) return count * width;
  return count * width * *std::max_element(lengths, lengths + texts);
}

void Model::preprocess(const Image& image, float* planes) {
  impl_->requireImage();
  const size_t area = static_cast<size_t>(impl_->config.preprocess.size) * impl_->config.preprocess.size;
  if (image.planes) {
    std::copy_n(image.planes, 3 * area, planes);
    return;
  }
  try {
    const std::lock_guard<std::mutex> hold(impl_->pass);
    impl_->rgb.resize(3 * area);
    const Image* one = &image;
    impl_->resize(&one, 1, impl_->rgb.data());
    for (size_t i = 0; i < area; i++)
      for (size_t channel = 0; channel < 3; channel++)
        planes[channel * area + i] = impl_->value[channel * 256 + impl_->rgb[3 * i + channel]];
  } catch (const std::bad_alloc&) {
    failMemory("to preprocess an image");
  }
}

bool Model::encodeImages(const Image* const* images, int count, Output output, bool normalise, float* out,
                         const Stopped& stopped) {
  impl_->requireImage();
  Impl& m = *impl_;
  if (output == Output::embedding) m.requireProjection(m.config.imageProjection(), "image");
  const int tokens = m.config.imageTokens();
  int perPass = std::max(1, m.options.maxBatchRows / tokens);
  // A ResNet's feature maps are far larger than its tokens.
  if (m.config.resNet)
    perPass =
        std::clamp<int>(kFeatureBytes / resNetImageBytes(*m.config.resNet, m.options.dtype), 1, perPass);
  if (m.config.convNext)
    perPass =
        std::clamp<int>(kFeatureBytes / convNextImageBytes(*m.config.convNext, m.options.dtype), 1, perPass);
  const size_t floats = imageFloats(output),
               bytes = size_t{3} * m.config.preprocess.size * m.config.preprocess.size;
  try {
    const std::lock_guard<std::mutex> hold(m.pass);
    const ArenaTrim trim(m.arena, m.backend);
    for (int start = 0; start < count; start += perPass) {
      const int n = std::min(perPass, count - start);
      ImageBatch batch;
      batch.value = m.value;
      std::vector<const Image*> pixels;
      // destination of each result; images given as pixels come first
      std::vector<float*> place, placeOfPlanes;
      for (int i = start; i < start + n; i++) {
        float* const to = out + static_cast<size_t>(i) * floats;
        if (images[i]->planes) {
          batch.planes.push_back(images[i]->planes);
          placeOfPlanes.push_back(to);
        } else {
          pixels.push_back(images[i]);
          place.push_back(to);
        }
      }
      place.insert(place.end(), placeOfPlanes.begin(), placeOfPlanes.end());
      batch.pixelImages = static_cast<int>(pixels.size());
      batch.planeImages = static_cast<int>(batch.planes.size());
      m.rgb.resize(pixels.size() * bytes);
      m.resize(pixels.data(), batch.pixelImages, m.rgb.data());
      batch.pixels = m.rgb.data();

      m.arena.reset();
      const Pass pass{.backend = m.backend,
                      .context = *m.context,
                      .arena = m.arena,
                      .dtype = m.options.dtype,
                      .output = output,
                      .normalise = normalise,
                      .stopped = stopped};
      imageRows += static_cast<uint64_t>(n) * tokens;
      const bool finished =
          m.config.image ? encodeImageBatch(pass, *m.config.image, *m.weights.image, batch, place.data())
          : m.config.resNet
              ? encodeImageBatch(pass, *m.config.resNet, *m.weights.resNet, batch, place.data())
              : encodeImageBatch(pass, *m.config.convNext, *m.weights.convNext, batch, place.data());
      if (!finished) return false;
    }
    return true;
  } catch (const std::bad_alloc&) {
    failMemory("to encode images");
  }
}

bool Model::encodeTexts(const int32_t* ids, const int32_t* lengths, int texts, Output output, bool normalise,
                        float* out, const Stopped& stopped) {
  impl_->requireText();
  Impl& m = *impl_;
  const TextTransformerConfig& c = *m.config.text;
  if (output == Output::embedding) m.requireProjection(c.project, "text");
  const size_t floats = texts > 0 ? textFloats(output, lengths, texts) / texts : 0;
  try {
    const std::lock_guard<std::mutex> hold(m.pass);
    const ArenaTrim trim(m.arena, m.backend);
    if (output == Output::tokens) std::fill_n(out, floats * texts, 0.0f);
    const size_t rowBytes = transformerRowBytes(c.blocks, m.options.dtype);
    const int maxRows = static_cast<int>(std::clamp<size_t>(kChunkBytes / rowBytes, 1, kTrieRows));
    TokenTrie trie(ids, lengths, texts, sharesPrefixes(c), maxRows);
    for (TrieChunk chunk; trie.next(chunk);) {
      std::vector<float*> place;
      for (int i = 0; i < chunk.texts; i++) place.push_back(out + trie.order()[chunk.firstText + i] * floats);
      m.arena.reset();
      const Pass pass{.backend = m.backend,
                      .context = *m.context,
                      .arena = m.arena,
                      .dtype = m.options.dtype,
                      .output = output,
                      .normalise = normalise,
                      .stopped = stopped};
      textRows += static_cast<uint64_t>(chunk.rows());
      textNodes += static_cast<uint64_t>(chunk.rows() - chunk.repeated);
      if (!encodeTextChunk(pass, c, *m.weights.text, chunk, place.data())) return false;
    }
    return true;
  } catch (const std::bad_alloc&) {
    failMemory("to encode texts");
  }
}

}  // namespace clip
