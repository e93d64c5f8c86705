#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <string>

#include "error.h"
#include "model/model.h"
#include "model/pack_cache.h"
#include "model/parallel.h"
#include "model/source_file.h"
#include "model/tensor.h"
#include "model/tensor_source.h"
#include "model/trim_heap.h"

namespace clip {
namespace {

constexpr int64_t kBlockRows = 64;  // of the token table, per piece of work

// Walks over the architecture twice with the same code: first to check every tensor and to count bytes, then
// to say where each weight lies, and to fill it unless it comes from the cache.
class Loader {
 public:
  Loader(const ModelConfig& config, const Backend& backend, Dtype dtype, int threads,
         const std::atomic<bool>& cancel)
      : config_(config),
        backend_(backend),
        dtype_(dtype),
        threads_(threads),
        cancel_(cancel),
        scratch_(threads),
        pieces_(threads) {
    for (size_t i = 0; i < config_.files.size(); i++) {
      files_.push_back(std::make_unique<SourceFile>(config_.files[i], config_.fileBytes[i]));
      unread_ += config_.fileBytes[i];
    }
  }

  void vision(VisionWeights& w) {
    const VisionConfig& c = *config_.image;
    const int64_t width = c.width, p = c.patchSize;
    // Pixels fill their range evenly, but a patch has no zeros to gain from: bfloat16 costs a percent of the
    // time.
    w.patch = linear({"image.patch"}, {width, 3, p, p}, Bias::optional,
                     dtype_ == Dtype::int8 ? Dtype::bfloat16 : dtype_);
    w.classToken = vector("image.class", {width});
    w.position = vector("image.position", {c.tokens(), width});
    w.preNorm = norm("image.preNorm", width);
    blocks("image.blocks.", c, w.blocks);
    w.postNorm = norm("image.postNorm", width);
    w.projection = linear({"image.projection"}, {config_.embedDim, width}, Bias::optional, Dtype::float32);
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

  void text(TextWeights& w) {
    const TextConfig& c = *config_.text;
    w.token = table("text.token", {c.vocabSize, c.width}, w);
    w.position = vector("text.position", {c.contextLength, c.width});
    blocks("text.blocks.", c, w.blocks);
    w.finalNorm = norm("text.finalNorm", c.width);
    w.projection = linear({"text.projection"}, {config_.embedDim, c.width}, Bias::optional, Dtype::float32);
  }

  size_t bytes() const { return used_; }

  void placeInto(const void* base) {
    base_ = static_cast<uint8_t*>(const_cast<void*>(base));
    used_ = 0;
  }
  void fillInto(void* base) {
    placeInto(base);
    filling_ = true;
  }

 private:
  enum class Bias : uint8_t { required, optional };

  void blocks(const std::string& prefix, const TransformerConfig& c, std::vector<BlockWeights>& all) {
    const int64_t width = c.width, mlp = c.mlp;
    all.resize(c.layers);
    for (int i = 0; i < c.layers; i++) {
      BlockWeights& w = all[i];
      const std::string b = prefix + std::to_string(i) + ".";
      const Shape square{width, width};
      w.norm1 = norm(b + "norm1", width);
      if (i + 1 < c.layers) {
        w.queryKeyValue = linear({b + "query", b + "key", b + "value"}, square, Bias::required);
      } else {
        w.query = linear({b + "query"}, square, Bias::required);
        w.keyValue = linear({b + "key", b + "value"}, square, Bias::required);
      }
      w.out = linear({b + "out"}, square, Bias::required);
      w.norm2 = norm(b + "norm2", width);
      w.fc1 = linear({b + "fc1"}, {mlp, width}, Bias::required);
      w.fc2 = linear({b + "fc2"}, {width, mlp}, Bias::required);
    }
  }

  const TensorView& checked(const std::string& name, const Shape& shape) {
    const TensorView& t = checkedTensor(config_, name, shape);
    if (base_) return t;
    // A thousand layers that share the bytes of one would be a small file and a large allocation.
    const uint64_t bytes = static_cast<uint64_t>(shape[0] * columnsOf(t)) * bytesOf(t.dtype);
    if (bytes > unread_)
      throw Error{.code = "ERR_CLIP_CHECKPOINT",
                  .message = config_.files[t.file] + ": tensor " + t.name +
                             " shares its bytes with others: together they have more than the files",
                  .file = config_.files[t.file],
                  .field = t.name,
                  .expected = "at most " + std::to_string(unread_) + " bytes",
                  .actual = std::to_string(bytes) + " bytes"};
    unread_ -= bytes;
    return t;
  }

  NormWeight norm(const std::string& name, int64_t width) {
    return {vector(name + ".weight", {width}), vector(name + ".bias", {width})};
  }

  const float* vector(const std::string& name, const Shape& shape) { return vectors({name}, shape); }

  // Several tensors of one shape, one after the other, as float32.
  const float* vectors(const std::vector<std::string>& names, const Shape& shape) {
    std::vector<const TensorView*> parts;
    for (const std::string& name : names) parts.push_back(&checked(name, shape));
    const size_t each = static_cast<size_t>(shape[0] * columnsOf(*parts[0]));
    void* place = take(parts.size() * each * sizeof(float));
    if (!filling_) return static_cast<const float*>(place);
    for (size_t i = 0; i < parts.size(); i++) {
      std::vector<float>& rows = scratch_[0];
      rows.resize(each);
      readRows(config_, *parts[i], open(*parts[i]).rows(0, shape[0], pieces_[0]), 0, shape[0], rows.data());
      backend_.upload(nullptr, static_cast<float*>(place) + i * each, rows.data(), each * sizeof(float));
    }
    return static_cast<const float*>(place);
  }

  // names + ".weight" stacked along `out`, packed; or the bare name where the checkpoint has no ".weight"
  // (projections). names + ".bias" likewise.
  LinearWeight linear(const std::vector<std::string>& names, const Shape& shape, Bias bias) {
    return linear(names, shape, bias, dtype_);
  }
  LinearWeight linear(const std::vector<std::string>& names, const Shape& shape, Bias bias, Dtype dtype) {
    std::vector<const TensorView*> parts;
    for (const std::string& name : names)
      parts.push_back(&checked(isProjection(name) ? name : name + ".weight", shape));
    LinearWeight w;
    w.in = static_cast<int>(columnsOf(*parts[0]));
    w.out = static_cast<int>(shape[0]) * static_cast<int>(parts.size());
    w.dtype = dtype;
    void* place = take(backend_.packedSize(dtype, w.in, w.out));
    if (filling_) packParts(parts, shape[0], w, place);
    w.packed = place;
    if (bias == Bias::required || config_.tensors.contains(names[0] + ".bias")) {
      std::vector<std::string> biases;
      for (const std::string& name : names) biases.push_back(name + ".bias");
      w.bias = vectors(biases, {shape[0]});
    }
    return w;
  }

  // A convolution (out, in, y, x) and the batch norm behind it, folded in double (torch.nn.BatchNorm2d, eps
  // 1e-5): one matrix (out, y * x * in) and a bias.
  LinearWeight conv(const std::string& name, const std::string& norm, const Shape& shape) {
    const TensorView& t = checked(name + ".weight", shape);
    const TensorView* norms[4];
    const char* const fields[4] = {".weight", ".bias", ".mean", ".variance"};
    for (int i = 0; i < 4; i++) norms[i] = &checked(norm + fields[i], {shape[0]});
    LinearWeight w;
    w.in = static_cast<int>(columnsOf(t));
    w.out = static_cast<int>(shape[0]);
    w.dtype = dtype_;
    void* place = take(backend_.packedSize(dtype_, w.in, w.out));
    void* bias = take(static_cast<size_t>(w.out) * sizeof(float));
    w.packed = place;
    w.bias = static_cast<const float*>(bias);
    if (!filling_) return w;

    const size_t n = static_cast<size_t>(w.out);
    std::vector<float> g(n), beta(n), mean(n), variance(n), folded(n), scale(n);
    float* const values[4] = {g.data(), beta.data(), mean.data(), variance.data()};
    for (int i = 0; i < 4; i++)
      readRows(config_, *norms[i], open(*norms[i]).rows(0, shape[0], pieces_[0]), 0, shape[0], values[i]);
    for (size_t i = 0; i < n; i++) {
      const double s = g[i] / std::sqrt(static_cast<double>(variance[i]) + 1e-5);
      scale[i] = static_cast<float>(s);
      folded[i] = static_cast<float>(beta[i] - mean[i] * s);
      if (!std::isfinite(scale[i]) || !std::isfinite(folded[i])) failNorm(*norms[3], variance[i]);
    }
    backend_.upload(nullptr, bias, folded.data(), n * sizeof(float));

    // The same bytes with the channel as the fastest dimension.
    TensorView rows = t;
    rows.shape = {t.shape[0], t.shape[2], t.shape[3], t.shape[1]};
    rows.strides = {t.strides[0], t.strides[2], t.strides[3], t.strides[1]};
    const TensorSource source = open(rows);
    const int step = backend_.packRows;
    parallel(threads_, (w.out + step - 1) / step, [&](int chunk, int worker) {
      const int first = chunk * step, count = std::min(step, w.out - first);
      std::vector<float>& panel = scratch_[worker];
      panel.resize(static_cast<size_t>(step) * w.in);
      readRows(config_, rows, source.rows(first, count, pieces_[worker]), first, count, panel.data());
      for (int r = 0; r < count; r++)
        for (int i = 0; i < w.in; i++) panel[static_cast<size_t>(r) * w.in + i] *= scale[first + r];
      backend_.pack({.dst = place,
                     .rows = panel.data(),
                     .rowStride = static_cast<size_t>(w.in),
                     .in = w.in,
                     .out = w.out,
                     .firstRow = first,
                     .rowCount = count,
                     .dtype = dtype_});
    });
    return w;
  }

  [[noreturn]] void failNorm(const TensorView& variance, float value) const {
    throw Error{.code = "ERR_CLIP_CHECKPOINT",
                .message = config_.files[variance.file] + ": tensor " + variance.name + " holds " +
                           std::to_string(value) + ", but a batch norm needs a variance above -1e-5",
                .file = config_.files[variance.file],
                .field = variance.name,
                .expected = "a variance above -1e-5",
                .actual = std::to_string(value)};
  }

  static bool isProjection(const std::string& name) { return name.ends_with(".projection"); }

  void packParts(const std::vector<const TensorView*>& parts, int64_t partRows, const LinearWeight& w,
                 void* place) {
    std::vector<TensorSource> sources;
    for (const TensorView* part : parts) sources.push_back(open(*part));
    const int step = backend_.packRows;
    parallel(threads_, (w.out + step - 1) / step, [&](int chunk, int worker) {
      const int first = chunk * step, count = std::min(step, w.out - first);
      const size_t part = static_cast<size_t>(first / partRows);
      const int64_t partFirst = first % partRows;
      Pack pack{.dst = place,
                .rows = nullptr,
                .rowStride = static_cast<size_t>(w.in),
                .in = w.in,
                .out = w.out,
                .firstRow = first,
                .rowCount = count,
                .dtype = w.dtype};
      const TensorView& t = *parts[part];
      if (partFirst + count <= partRows && t.dtype == Dtype::float32 && contiguousColumns(t)) {
        // float32 rows are packed as they were read
        pack.rows = reinterpret_cast<const float*>(sources[part].rows(partFirst, count, pieces_[worker]));
        pack.rowStride = static_cast<size_t>(t.strides[0]);
        checkFinite(config_, t, pack.rows, partFirst, count);
      } else {
        std::vector<float>& rows = scratch_[worker];
        rows.resize(static_cast<size_t>(step) * w.in);
        for (int done = 0; done < count;) {  // a panel may cross from query to key
          const int64_t at = (first + done) / partRows, from = (first + done) % partRows;
          const int64_t n = std::min<int64_t>(count - done, partRows - from);
          readRows(config_, *parts[at], sources[at].rows(from, n, pieces_[worker]), from, n,
                   rows.data() + static_cast<size_t>(done) * w.in);
          done += static_cast<int>(n);
        }
        pack.rows = rows.data();
      }
      backend_.pack(pack);
    });
  }

  const void* table(const std::string& name, const Shape& shape, TextWeights& w) {
    const TensorView& t = checked(name, shape);
    w.tokenDtype = t.dtype;
    w.tokenStride = static_cast<size_t>(shape[1]) * bytesOf(t.dtype);
    void* place = take(static_cast<size_t>(shape[0]) * w.tokenStride);
    if (!filling_) return place;
    const TensorSource source = open(t);
    const int chunks = static_cast<int>((shape[0] + kBlockRows - 1) / kBlockRows);
    parallel(threads_, chunks, [&](int chunk, int worker) {
      const int64_t first = chunk * kBlockRows, count = std::min(kBlockRows, shape[0] - first);
      std::vector<float>& rows = scratch_[worker];  // the values as floats, then the bytes as they are
      rows.resize(static_cast<size_t>(kBlockRows * shape[1]));
      const uint8_t* const bytes = source.rows(first, count, pieces_[worker]);
      readRows(config_, t, bytes, first, count, rows.data());
      copyRows(t, bytes, count, reinterpret_cast<uint8_t*>(rows.data()));
      backend_.upload(nullptr, static_cast<uint8_t*>(place) + first * w.tokenStride, rows.data(),
                      count * w.tokenStride);
    });
    return place;
  }

  // Asked once per tensor, so it is where a load is cancelled.
  TensorSource open(const TensorView& t) {
    if (cancel_.load(std::memory_order_relaxed)) throw Cancelled{};
    return TensorSource(*files_[t.file], t);
  }

  // The next `bytes` of the arena, 64-byte aligned; nullptr in the counting round.
  void* take(size_t bytes) {
    void* place = base_ ? base_ + used_ : nullptr;
    used_ += (bytes + 63) / 64 * 64;
    return place;
  }

  const ModelConfig& config_;
  const Backend& backend_;
  const Dtype dtype_;
  const int threads_;
  const std::atomic<bool>& cancel_;
  uint8_t* base_ = nullptr;
  bool filling_ = false;
  size_t used_ = 0;
  std::vector<std::unique_ptr<SourceFile>> files_;
  uint64_t unread_ = 0;  // bytes of all files that no tensor has asked for, in the counting round
  std::vector<std::vector<float>> scratch_;  // per worker: rows as float32
  std::vector<TensorSource::Piece> pieces_;  // per worker: rows as they are stored
};

}  // namespace

Weights::Weights(const ModelConfig& config, const Backend& backend, Dtype dtype, int threads,
                 const std::optional<PackCache>& cache, const std::atomic<bool>& cancel)
    : backend_(backend) {
  if (config.image) image.emplace();
  if (config.resNet) resNet.emplace();
  if (config.text) text.emplace();
  const TrimHeap trim;  // behind the loader's end
  Loader loader(config, backend, dtype, threads, cancel);
  const auto walk = [&] {
    if (image) loader.vision(*image);
    if (resNet) loader.resNet(*resNet);
    if (text) loader.text(*text);
  };
  walk();
  bytes_ = loader.bytes();
  const std::string layout = packedLayout(backend, dtype, bytes_);
  if (cache) mapped_ = cache->open(layout, bytes_, threads, cancel);
  if (mapped_) {
    loader.placeInto(mapped_->data());
    walk();
    cacheUse = PackCacheUse::mapped;
    return;
  }
  memory_ = backend.alloc(bytes_);
  if (!memory_)
    throw Error{.code = "ERR_CLIP_MEMORY",
                .message = "No memory for the model's weights: " + std::to_string(bytes_) + " bytes on " +
                           backend.name,
                .file = config.files.front(),
                .expected = std::to_string(bytes_) + " bytes"};
  try {
    loader.fillInto(memory_);
    walk();
    if (cache) {
      cacheFailure = cache->write(layout, memory_, bytes_, threads, cancel);
      cacheUse = cacheFailure.empty() ? PackCacheUse::written : PackCacheUse::failed;
    }
  } catch (...) {
    backend.free(memory_, bytes_);
    throw;
  }
}

Weights::~Weights() {
  if (memory_) backend_.free(memory_, bytes_);
}

}  // namespace clip
