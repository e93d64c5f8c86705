#include "device.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>

#include "cases.h"
#include "emulator/memory_map.h"
#include "emulator/registry.h"
#include "emulator/tensor_core.h"
#include "matrices.h"

namespace device {

using clip::Dtype;

Memory::Memory(size_t bytes) : data_(nullptr), bytes_(bytes) {
  if (posix_memalign(&data_, 64, bytes ? bytes : 1)) throw std::bad_alloc();
  std::memset(data_, 0xff, bytes);
  emulator::mapMemory(data_, bytes);
}
Memory::Memory(Memory&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; }
Memory::~Memory() {
  if (data_) emulator::unmapMemory(data_);
  std::free(data_);
}

Values normal(uint32_t seed, int rows, int cols, float scale) {
  Values values(rows, cols);
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  for (float& v : values.data) v = distribution(random) * scale;
  return values;
}

uint16_t toHalf(float v, Dtype dtype) {
  return dtype == Dtype::bfloat16 ? clip::toBfloat16(v) : emulator::roundToFloat16(v);
}
namespace {
float fromHalf(uint16_t half, Dtype dtype) {
  return dtype == Dtype::bfloat16 ? __uint_as_float(uint32_t{half} << 16) : emulator::fromFloat16(half);
}
}  // namespace

Memory packedWeight(const Values& w, Dtype dtype) {
  const size_t stride =
      static_cast<size_t>(dtype == Dtype::float32 ? w.cols : clip::cuda::packedInputs(w.cols));
  Memory memory(clip::cuda::linearPackedSize(dtype, w.cols, w.rows));
  std::memset(memory.as<char>(), 0, memory.bytes());
  for (int o = 0; o < w.rows; o++)
    for (int i = 0; i < w.cols; i++) {
      const size_t at = static_cast<size_t>(o) * stride + static_cast<size_t>(i);
      if (dtype == Dtype::float32)
        memory.as<float>()[at] = w.row(o)[i];
      else
        memory.as<uint16_t>()[at] = toHalf(w.row(o)[i], dtype);
    }
  return memory;
}

float rounded(float v, Dtype dtype) {
  return dtype == Dtype::float32 ? v : fromHalf(toHalf(v, dtype), dtype);
}
Values rounded(Values values, Dtype dtype) {
  for (float& v : values.data) v = rounded(v, dtype);
  return values;
}
double epsilon(Dtype dtype) {
  return dtype == Dtype::float32 ? 0x1p-24 : dtype == Dtype::bfloat16 ? 0x1p-8 : 0x1p-11;
}

Matrix::Matrix(int rows, int cols, Dtype dtype, int offset)
    : rows_(rows),
      cols_(cols),
      offset_(offset),
      dtype_(dtype),
      stride_(clip::lineStride(static_cast<size_t>(offset + cols) * clip::bytesOf(dtype))),
      memory_(stride_ * static_cast<size_t>(rows)) {}
Matrix::Matrix(const Values& values, Dtype dtype, int offset)
    : Matrix(values.rows, values.cols, dtype, offset) {
  for (int r = 0; r < rows_; r++) {
    char* row = static_cast<char*>(view().data) + static_cast<size_t>(r) * stride_;
    for (int c = 0; c < cols_; c++)
      if (dtype == Dtype::float32)
        reinterpret_cast<float*>(row)[c] = values.row(r)[c];
      else
        reinterpret_cast<uint16_t*>(row)[c] = toHalf(values.row(r)[c], dtype);
  }
}
clip::MatrixView Matrix::view() const {
  return {.data = memory_.as<char>() + static_cast<size_t>(offset_) * clip::bytesOf(dtype_),
          .stride = stride_,
          .dtype = dtype_};
}
std::vector<char> Matrix::row(int r) const {
  const char* from = static_cast<const char*>(view().data) + static_cast<size_t>(r) * stride_;
  return {from, from + static_cast<size_t>(cols_) * clip::bytesOf(dtype_)};
}
Values Matrix::values() const {
  Values values(rows_, cols_);
  for (int r = 0; r < rows_; r++) {
    const std::vector<char> bytes = row(r);
    for (int c = 0; c < cols_; c++)
      values.row(r)[c] = dtype_ == Dtype::float32
                             ? reinterpret_cast<const float*>(bytes.data())[c]
                             : fromHalf(reinterpret_cast<const uint16_t*>(bytes.data())[c], dtype_);
  }
  return values;
}
std::string Matrix::canary() const {
  const size_t begin = static_cast<size_t>(offset_) * clip::bytesOf(dtype_);
  const size_t end = begin + static_cast<size_t>(cols_) * clip::bytesOf(dtype_);
  for (size_t i = 0; i < memory_.bytes(); i++)
    if ((i % stride_ < begin || i % stride_ >= end) && memory_.as<unsigned char>()[i] != 0xff)
      return cases::format("byte %zu of row %zu, outside the matrix, was written", i % stride_, i / stride_);
  return "";
}

namespace {
class Fibers : public Machine {
 public:
  void run(const clip::cuda::Launch& launch, const std::vector<const void*>& arguments) const override {
    const auto kernel = emulator::kernels().find(launch.kernel ? launch.kernel : "");
    if (kernel == emulator::kernels().end())
      throw std::runtime_error(
          cases::format("no kernel %s", launch.kernel ? launch.kernel : "for this shape"));
    emulator::reports.clear();
    emulator::launch(launch.kernel, {launch.x, launch.y, launch.z}, {launch.threads, 1, 1}, launch.shared,
                     kernel->second(arguments.data()));
    if (!emulator::reports.empty()) throw std::runtime_error(emulator::reports.begin()->first);
  }
  const char* name() const override { return "fibers"; }
};
}  // namespace

const Machine& fibers() {
  static const Fibers machine;
  return machine;
}

clip::Context& referenceContext() {
  static clip::Context* context = clip::referenceBackend.open(1);
  return *context;
}

std::string compare(const Values& got, const Values& want, const std::function<double(int, int)>& bound) {
  for (int r = 0; r < want.rows; r++)
    for (int c = 0; c < want.cols; c++) {
      const double x = got.row(r)[c], y = want.row(r)[c];
      const bool same = std::isnan(y) ? std::isnan(x) : x == y || std::fabs(x - y) <= bound(r, c);
      if (!same)
        return cases::format("row %d, column %d: %.9g instead of %.9g, bound %.3g", r, c, x, y, bound(r, c));
    }
  return "";
}

}  // namespace device
