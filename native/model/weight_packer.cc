#include "model/weight_packer.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "threads/parallel.h"

namespace clip {
namespace {

constexpr int64_t kBlockRows = 64;  // rows of the token table per unit of work

bool isProjection(const std::string& name) { return name.ends_with(".projection"); }

[[noreturn]] void failNorm(const ModelConfig& config, const TensorView& variance, float value) {
  throw Error{.code = "ERR_CLIP_CHECKPOINT",
              .message = config.files[variance.file] + ": tensor " + variance.name + " contains " +
                         std::to_string(value) + ", but a batch norm needs a variance above -1e-5",
              .file = config.files[variance.file],
              .field = variance.name,
              .expected = "a variance above -1e-5",
              .actual = std::to_string(value)};
}

}  // namespace

WeightPacker::WeightPacker(const ModelConfig& config, const Backend& backend, Dtype dtype, int threads,
                           const std::atomic<bool>& cancel)
    : config_(config),
      dtype_(dtype),
      backend_(backend),
      threads_(threads),
      cancel_(cancel),
      scratch_(threads),
      pieces_(threads) {
  for (size_t i = 0; i < config_.files.size(); i++) {
    files_.push_back(std::make_unique<SourceFile>(config_.files[i], config_.fileBytes[i]));
    unread_ += config_.fileBytes[i];
  }
}

void WeightPacker::placeInto(const void* base, const std::string& float16) {
  base_ = static_cast<uint8_t*>(const_cast<void*>(base));
  used_ = 0;
  float16_ = float16;
  float16Next_ = 0;
}

void WeightPacker::fillInto(void* base) {
  placeInto(base, {});
  hash_.clear();
  filling_ = true;
}

const TensorView& WeightPacker::checked(const std::string& name, const Shape& shape) {
  const TensorView& t = checkedTensor(config_, name, shape);
  if (base_) return t;
  // Otherwise a small file whose thousand layers all refer to the same bytes would cause a large allocation.
  const uint64_t bytes = static_cast<uint64_t>(shape[0] * columnsOf(t)) * bytesOf(t.dtype);
  if (bytes > unread_)
    throw Error{.code = "ERR_CLIP_CHECKPOINT",
                .message = config_.files[t.file] + ": tensor " + t.name +
                           " shares bytes with other tensors: together they are larger than the files",
                .file = config_.files[t.file],
                .field = t.name,
                .expected = "at most " + std::to_string(unread_) + " bytes",
                .actual = std::to_string(bytes) + " bytes"};
  unread_ -= bytes;
  return t;
}

const float* WeightPacker::vectors(const std::vector<std::string>& names, const Shape& shape, Bias bias,
                                   const std::vector<float>& scale) {
  std::vector<const TensorView*> parts;
  const TensorView* one = nullptr;
  for (const std::string& name : names) {
    const bool missing = bias == Bias::optional && !config_.tensors.contains(name);
    parts.push_back(missing ? nullptr : &checked(name, shape));
    if (!missing) one = parts.back();
  }
  const size_t each = static_cast<size_t>(shape[0] * columnsOf(*one));
  void* place = take(parts.size() * each * sizeof(float));
  if (!filling_ && !naming_) return static_cast<const float*>(place);
  for (size_t i = 0; i < parts.size(); i++) {
    std::vector<float>& rows = scratch_[0];
    rows.assign(each, 0.0f);
    if (parts[i]) {
      readRows(config_, *parts[i], open(*parts[i]).rows(0, shape[0], pieces_[0]), 0, shape[0], rows.data());
      nameWhole(names[i], rows.data(), each);
    }
    if (naming_) continue;
    for (size_t r = 0; r < scale.size(); r++) rows[r] *= scale[r];
    backend_.upload(nullptr, static_cast<float*>(place) + i * each, rows.data(), each * sizeof(float));
  }
  return static_cast<const float*>(place);
}

const float* WeightPacker::vectorAfterZeros(const std::string& name, const Shape& shape) {
  const TensorView& t = checked(name, shape);
  const size_t columns = static_cast<size_t>(columnsOf(t)), count = static_cast<size_t>(shape[0]) * columns;
  void* place = naming_ ? nullptr : take((columns + count) * sizeof(float));
  if (!filling_ && !naming_) return static_cast<const float*>(place);
  std::vector<float> rows(columns + count, 0.0f);
  readRows(config_, t, open(t).rows(0, shape[0], pieces_[0]), 0, shape[0], rows.data() + columns);
  nameWhole(name, rows.data() + columns, count);
  if (!naming_) backend_.upload(nullptr, place, rows.data(), rows.size() * sizeof(float));
  return static_cast<const float*>(place);
}

LinearWeight WeightPacker::linear(const std::vector<std::string>& names, const Shape& shape, Bias bias,
                                  Dtype dtype) {
  std::vector<const TensorView*> parts;
  for (const std::string& name : names)
    parts.push_back(&checked(isProjection(name) ? name : name + ".weight", shape));
  const std::vector<float> scale = rowScale(names[0], shape[0]);
  LinearWeight w;
  w.in = static_cast<int>(columnsOf(*parts[0]));
  w.out = static_cast<int>(shape[0]) * static_cast<int>(parts.size());
  w.format = uniform(dtype);
  const size_t before = used_;
  void* place = naming_ ? nullptr : take(backend_.packedSize(dtype, w.in, w.out));
  w.packed = place;
  if (naming_)
    for (size_t i = 0; i < names.size(); i++) nameRows(names[i], *parts[i]);
  if (constexpr Format narrow{Dtype::float16, Dtype::float32};
      base_ && dtype == narrow.rows && backend_.linear.has(narrow)) {
    if (filling_) float16_ += packParts(parts, names, shape[0], scale, w, place, narrow.weights) ? '1' : '0';
    if (float16Next_ < float16_.size() && float16_[float16Next_++] == '1') {
      w.format = narrow;
      used_ = before;
      take(backend_.packedSize(narrow.weights, w.in, w.out));
    }
  }
  if (filling_ && w.format.weights == dtype) packParts(parts, names, shape[0], scale, w, place, dtype);
  std::vector<std::string> biases;
  bool any = bias == Bias::required;
  for (const std::string& name : names) {
    biases.push_back(name + ".bias");
    any = any || config_.tensors.contains(biases.back());
  }
  if (any) w.bias = vectors(biases, {shape[0]}, bias, scale);
  return w;
}

std::vector<float> WeightPacker::rowScale(const std::string& name, int64_t rows) {
  std::vector<float> scale;
  const std::string field = name + ".scale";
  if (!config_.tensors.contains(field)) return scale;
  const TensorView& t = checked(field, {rows});
  if (!filling_ && !naming_) return scale;
  scale.resize(static_cast<size_t>(rows));
  readRows(config_, t, open(t).rows(0, rows, pieces_[0]), 0, rows, scale.data());
  nameWhole(field, scale.data(), scale.size());
  return scale;
}

LinearWeight WeightPacker::conv(const std::string& name, const std::string& norm, const Shape& shape) {
  const TensorView& t = checked(name + ".weight", shape);
  const TensorView* norms[4];
  const char* const fields[4] = {".weight", ".bias", ".mean", ".variance"};
  for (int i = 0; i < 4; i++) norms[i] = &checked(norm + fields[i], {shape[0]});
  LinearWeight w;
  w.in = static_cast<int>(columnsOf(t));
  w.out = static_cast<int>(shape[0]);
  w.format = uniform(dtype_);
  void* place = naming_ ? nullptr : take(backend_.packedSize(dtype_, w.in, w.out));
  void* bias = naming_ ? nullptr : take(static_cast<size_t>(w.out) * sizeof(float));
  w.packed = place;
  w.bias = static_cast<const float*>(bias);
  if (!filling_ && !naming_) return w;

  const size_t n = static_cast<size_t>(w.out);
  std::vector<float> g(n), beta(n), mean(n), variance(n), folded(n), scale(n);
  float* const values[4] = {g.data(), beta.data(), mean.data(), variance.data()};
  for (int i = 0; i < 4; i++)
    readRows(config_, *norms[i], open(*norms[i]).rows(0, shape[0], pieces_[0]), 0, shape[0], values[i]);
  for (int i = 0; i < 4; i++) nameWhole(norm + fields[i], values[i], n);
  for (size_t i = 0; i < n; i++) {
    const double s = g[i] / std::sqrt(static_cast<double>(variance[i]) + 1e-5);
    scale[i] = static_cast<float>(s);
    folded[i] = static_cast<float>(beta[i] - mean[i] * s);
    if (!std::isfinite(scale[i]) || !std::isfinite(folded[i])) failNorm(config_, *norms[3], variance[i]);
  }
  if (!naming_) backend_.upload(nullptr, bias, folded.data(), n * sizeof(float));

  // The same bytes as a view with the channel as the fastest dimension.
  TensorView rows = t;
  rows.shape = {t.shape[0], t.shape[2], t.shape[3], t.shape[1]};
  rows.strides = {t.strides[0], t.strides[2], t.strides[3], t.strides[1]};
  if (naming_) {
    nameRows(name, rows);
    return w;
  }
  const TensorSource source = open(rows);
  const int step = backend_.packRows;
  const uint64_t seed = WeightHash::seedOf(name);
  std::vector<WeightHash::Sum> sums(threads_);
  parallel(threads_, (w.out + step - 1) / step, [&](int chunk, int worker) {
    const int first = chunk * step, count = std::min(step, w.out - first);
    std::vector<float>& panel = scratch_[worker];
    panel.resize(static_cast<size_t>(step) * w.in);
    readRows(config_, rows, source.rows(first, count, pieces_[worker]), first, count, panel.data());
    const size_t columns = static_cast<size_t>(w.in);
    sums[worker].add(WeightHash::rows(seed, first, count, panel.data(), columns, columns));
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
  for (const WeightHash::Sum& sum : sums) hash_.add(name, sum);
  return w;
}

const float* WeightPacker::constantQuery(const std::string& query, const std::string& latent, int64_t width) {
  const TensorView &w = checked(query + ".weight", {width, width}), &b = checked(query + ".bias", {width}),
                   &x = checked(latent, {width});
  const size_t n = static_cast<size_t>(width);
  void* place = naming_ ? nullptr : take(n * sizeof(float));
  if (!filling_ && !naming_) return static_cast<const float*>(place);
  std::vector<float> input(n), result(n), row(n);
  readRows(config_, x, open(x).rows(0, width, pieces_[0]), 0, width, input.data());
  nameWhole(latent, input.data(), n);
  readRows(config_, b, open(b).rows(0, width, pieces_[0]), 0, width, result.data());
  nameWhole(query + ".bias", result.data(), n);
  const TensorSource rows = open(w);
  const uint64_t seed = WeightHash::seedOf(query);
  WeightHash::Sum sum;
  for (int64_t r = 0; r < width; r++) {
    readRows(config_, w, rows.rows(r, 1, pieces_[0]), r, 1, row.data());
    sum.add(WeightHash::rows(seed, r, 1, row.data(), n, n));
    double dot = result[static_cast<size_t>(r)];
    for (size_t i = 0; i < n; i++) dot += static_cast<double>(row[i]) * input[i];
    result[static_cast<size_t>(r)] = static_cast<float>(dot);
  }
  hash_.add(query, sum);
  if (!naming_) backend_.upload(nullptr, place, result.data(), n * sizeof(float));
  return static_cast<const float*>(place);
}

const float* WeightPacker::constants(size_t count, const std::function<std::vector<float>()>& values) {
  if (naming_) return nullptr;
  void* place = take(count * sizeof(float));
  if (filling_) backend_.upload(nullptr, place, values().data(), count * sizeof(float));
  return static_cast<const float*>(place);
}

bool WeightPacker::packParts(const std::vector<const TensorView*>& parts,
                             const std::vector<std::string>& names, int64_t partRows,
                             const std::vector<float>& scale, const LinearWeight& w, void* place,
                             Dtype stored) {
  std::atomic<bool> inexact{false};
  std::vector<TensorSource> sources;
  for (const TensorView* part : parts) sources.push_back(open(*part));
  const int step = backend_.packRows;
  const size_t columns = static_cast<size_t>(w.in);
  std::vector<uint64_t> seeds;
  for (const std::string& name : names) seeds.push_back(WeightHash::seedOf(name));
  std::vector<WeightHash::Sum> sums(threads_);
  const auto packChunk = [&](int chunk, int worker) {
    if (inexact.load(std::memory_order_relaxed)) return;
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
              .dtype = stored};
    const TensorView& t = *parts[part];
    if (scale.empty() && partFirst + count <= partRows && t.dtype == Dtype::float32 && contiguousColumns(t)) {
      // float32 rows are packed directly from the bytes read
      pack.rows = reinterpret_cast<const float*>(sources[part].rows(partFirst, count, pieces_[worker]));
      pack.rowStride = static_cast<size_t>(t.strides[0]);
      checkFinite(config_, t, pack.rows, partFirst, count);
      sums[worker].add(WeightHash::rows(seeds[part], partFirst, count, pack.rows, pack.rowStride, columns));
    } else {
      std::vector<float>& rows = scratch_[worker];
      rows.resize(static_cast<size_t>(step) * w.in);
      for (int done = 0; done < count;) {  // a panel may extend over the boundary between query and key
        const int64_t at = (first + done) / partRows, from = (first + done) % partRows;
        const int64_t n = std::min<int64_t>(count - done, partRows - from);
        readRows(config_, *parts[at], sources[at].rows(from, n, pieces_[worker]), from, n,
                 rows.data() + static_cast<size_t>(done) * w.in);
        sums[worker].add(WeightHash::rows(seeds[at], from, n, rows.data() + static_cast<size_t>(done) * w.in,
                                          columns, columns));
        done += static_cast<int>(n);
      }
      for (size_t r = 0; r < (scale.empty() ? 0 : static_cast<size_t>(count)); r++)
        for (size_t i = 0; i < columns; i++) rows[r * columns + i] *= scale[static_cast<size_t>(first) + r];
      pack.rows = rows.data();
    }
    const bool exact = backend_.pack(pack);
    if (stored == Dtype::float16 && w.format.rows != stored && !exact)
      inexact.store(true, std::memory_order_relaxed);
  };
  // alone, because this chunk is usually enough to find a weight that float16 does not represent
  packChunk(0, 0);
  parallel(threads_, (w.out + step - 1) / step - 1,
           [&](int chunk, int worker) { packChunk(chunk + 1, worker); });
  if (inexact.load(std::memory_order_relaxed)) return false;
  for (const WeightHash::Sum& sum : sums) hash_.add(names[0], sum);  // all of them belong to one tower
  return true;
}

void WeightPacker::nameWhole(const std::string& name, const float* values, size_t count) {
  hash_.add(name, WeightHash::row(WeightHash::seedOf(name), 0, values, count));
}

void WeightPacker::nameRows(const std::string& name, const TensorView& t) {
  const TensorSource source = open(t);
  const size_t columns = static_cast<size_t>(columnsOf(t));
  const uint64_t seed = WeightHash::seedOf(name);
  const int64_t step = std::max<int64_t>(1, static_cast<int64_t>((size_t{1} << 15) / columns));
  std::vector<WeightHash::Sum> sums(threads_);
  parallel(threads_, static_cast<int>((t.shape[0] + step - 1) / step), [&](int chunk, int worker) {
    const int64_t first = chunk * step, count = std::min(step, t.shape[0] - first);
    std::vector<float>& rows = scratch_[worker];
    rows.resize(static_cast<size_t>(step) * columns);
    readRows(config_, t, source.rows(first, count, pieces_[worker]), first, count, rows.data());
    sums[worker].add(WeightHash::rows(seed, first, count, rows.data(), columns, columns));
  });
  for (const WeightHash::Sum& sum : sums) hash_.add(name, sum);
}

RowTable WeightPacker::table(const std::string& name, const Shape& shape, float scale) {
  const TensorView& t = checked(name, shape);
  RowTable table;
  table.dtype = t.dtype == Dtype::float64 || scale != 1 ? Dtype::float32 : t.dtype;
  table.stride = static_cast<size_t>(shape[1]) * bytesOf(table.dtype);
  if (naming_) {
    nameRows(name, t);
    return table;
  }
  void* place = take(static_cast<size_t>(shape[0]) * table.stride);
  table.data = place;
  if (!filling_) return table;
  const TensorSource source = open(t);
  const int chunks = static_cast<int>((shape[0] + kBlockRows - 1) / kBlockRows);
  const uint64_t seed = WeightHash::seedOf(name);
  std::vector<WeightHash::Sum> sums(threads_);
  parallel(threads_, chunks, [&](int chunk, int worker) {
    const int64_t first = chunk * kBlockRows, count = std::min(kBlockRows, shape[0] - first);
    std::vector<float>& rows = scratch_[worker];  // the values as floats, then the bytes as stored
    rows.resize(static_cast<size_t>(kBlockRows * shape[1]));
    const uint8_t* const bytes = source.rows(first, count, pieces_[worker]);
    readRows(config_, t, bytes, first, count, rows.data());
    const size_t columns = static_cast<size_t>(shape[1]);
    sums[worker].add(WeightHash::rows(seed, first, count, rows.data(), columns, columns));
    if (scale != 1)
      for (float& v : rows) v *= scale;
    else if (t.dtype == table.dtype)
      copyRows(t, bytes, count, reinterpret_cast<uint8_t*>(rows.data()));
    backend_.upload(nullptr, static_cast<uint8_t*>(place) + first * table.stride, rows.data(),
                    count * table.stride);
  });
  for (const WeightHash::Sum& sum : sums) hash_.add(name, sum);
  return table;
}

const float* WeightPacker::positions(const std::string& name, const std::string& added, const Shape& shape) {
  if (!config_.tensors.contains(added)) return vector(name, shape);
  const TensorView &t = checked(name, shape), &one = checked(added, {shape[1]});
  const size_t columns = static_cast<size_t>(shape[1]), count = static_cast<size_t>(shape[0]) * columns;
  void* place = naming_ ? nullptr : take(count * sizeof(float));
  if (!filling_ && !naming_) return static_cast<const float*>(place);
  std::vector<float> rows(count), row(columns);
  readRows(config_, t, open(t).rows(0, shape[0], pieces_[0]), 0, shape[0], rows.data());
  nameWhole(name, rows.data(), count);
  readRows(config_, one, open(one).rows(0, shape[1], pieces_[0]), 0, shape[1], row.data());
  nameWhole(added, row.data(), columns);
  for (size_t i = 0; i < count; i++) rows[i] += row[i % columns];
  if (!naming_) backend_.upload(nullptr, place, rows.data(), count * sizeof(float));
  return static_cast<const float*>(place);
}

TensorSource WeightPacker::open(const TensorView& t) {
  if (cancel_.load(std::memory_order_relaxed)) throw Cancelled{};
  return TensorSource(*files_[t.file], t);
}

void* WeightPacker::take(size_t bytes) {
  void* place = base_ ? base_ + used_ : nullptr;
  used_ += (bytes + 63) / 64 * 64;
  return place;
}

}  // namespace clip
