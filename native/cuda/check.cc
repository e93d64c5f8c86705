#include "check.h"

#include <algorithm>
#include <cstring>

#include "check_support.h"
#include "cuda/table.h"
#include "half.h"
#include "pack.h"

namespace clip::cuda {
namespace check {
namespace {

constexpr size_t kMemory = size_t{4} << 20;  // of all matrices of a check together

uint16_t toHalf(float v, Dtype dtype) { return dtype == Dtype::bfloat16 ? toBfloat16(v) : toFloat16(v); }

}  // namespace

Values normal(uint32_t seed, int rows, int cols, float scale, Dtype dtype) {
  Values values(rows, cols);
  uint32_t state = seed * 2654435761u + 1;
  for (float& v : values.data) {
    int sum = 0;
    for (int i = 0; i < 4; i++) {
      state = state * 1664525u + 1013904223u;
      sum += static_cast<int>(state >> 16) - 32768;
    }
    v = static_cast<float>(sum) / 37837 * scale;  // a deviation of 1
    if (dtype == Dtype::float32) continue;
    const uint16_t half = toHalf(v, dtype);
    v = widen(&half, dtype, 0);
  }
  return values;
}

Values absolute(Values values) {
  for (float& v : values.data) v = std::fabs(v);
  return values;
}

double epsilon(Dtype dtype) { return cudaBackend.epsilon(dtype); }

Device::Device(Stream& stream) : stream_(stream), memory_(stream.module(), kMemory) {}

Device::~Device() {
  try {
    stream_.sync();
  } catch (...) {  // told before, or of a check that had failed
  }
}

Context& Device::reference() {
  static Context* const context = referenceBackend.open(1);
  return *context;
}

void* Device::take(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  if (bytes > kMemory - used_)
    throw Error{.code = "ERR_CLIP_INTERNAL", .message = "A check of a kernel wants too much memory."};
  char* const place = memory_.as<char>() + used_;
  used_ += bytes;
  return place;
}

void Device::reset() {
  stream_.run([this](CUstream s) { driver().cuMemsetD8Async(memory_.address(), 0, used_, s); });
  used_ = 0;
}

Activations Device::matrix(int rows, int cols, Dtype dtype) {
  const size_t stride = lineStride(static_cast<size_t>(cols) * bytesOf(dtype));
  return {.data = take(static_cast<size_t>(rows) * stride), .stride = stride, .dtype = dtype};
}

Activations Device::matrix(const Values& values, Dtype dtype) {
  const Activations a = matrix(values.rows, values.cols, dtype);
  std::vector<char> bytes(static_cast<size_t>(values.rows) * a.stride);
  for (int r = 0; r < values.rows; r++) {
    char* row = bytes.data() + static_cast<size_t>(r) * a.stride;
    for (int c = 0; c < values.cols; c++)
      if (dtype == Dtype::float32)
        reinterpret_cast<float*>(row)[c] = values.row(r)[c];
      else
        reinterpret_cast<uint16_t*>(row)[c] = toHalf(values.row(r)[c], dtype);
  }
  stream_.upload(a.data, bytes.data(), bytes.size());
  return a;
}

void* Device::weight(const Values& w, Dtype dtype) {
  void* const place = take(linearPackedSize(dtype, w.cols, w.rows));
  stream_.sync();  // pack does not know the stream, on which the memory was cleared
  pack({.dst = place,
        .rows = w.data.data(),
        .rowStride = static_cast<size_t>(w.cols),
        .in = w.cols,
        .out = w.rows,
        .firstRow = 0,
        .rowCount = w.rows,
        .dtype = dtype});
  return place;
}

Values Device::values(const Activations& a, int rows, int cols) {
  std::vector<char> bytes(static_cast<size_t>(rows) * a.stride);
  stream_.download(bytes.data(), a.data, bytes.size());
  Values values(rows, cols);
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < cols; c++)
      values.row(r)[c] = widen(bytes.data() + static_cast<size_t>(r) * a.stride, a.dtype, c);
  return values;
}

std::vector<float> Device::floats(const float* from, size_t count) {
  std::vector<float> values(count);
  stream_.download(values.data(), from, count * sizeof(float));
  return values;
}

std::string compare(const Values& got, const Values& want, const Bound& bound) {
  for (int r = 0; r < want.rows; r++)
    for (int c = 0; c < want.cols; c++) {
      const double x = got.row(r)[c], y = want.row(r)[c], most = bound(r, c);
      if (x == y || std::fabs(x - y) <= most) continue;
      char text[160];
      std::snprintf(text, sizeof text, "row %d, column %d: %.9g instead of %.9g, bound %.3g", r, c, x, y,
                    most);
      return text;
    }
  return "";
}

}  // namespace check

std::vector<KernelCheck> checkKernels(const std::function<bool()>& go) {
  std::vector<check::Check> checks;
  check::addAttention(checks);
  check::addProducts(checks);
  check::addRows(checks);
  check::addCosine(checks);
  Stream stream(1);
  check::Device device(stream);
  std::vector<KernelCheck> results;
  for (const check::Check& c : checks) {
    if (!go()) break;
    const std::string difference = c.run(device);
    for (const char* kernel : c.kernels) results.push_back({kernel, difference});
    device.reset();
  }
  return results;
}

DeviceIdentity deviceIdentity() {
  chooseBackend("cuda");  // says why there is none
  const auto module = usableModule();
  return {.name = module->device().name,
          .fingerprint = module->fingerprint(),
          .image = module->image(),
          .driver = driver().version,
          .capability = module->device().capability,
          .memory = module->device().memory};
}

}  // namespace clip::cuda
