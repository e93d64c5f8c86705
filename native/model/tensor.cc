#include "model/tensor.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "error.h"

namespace clip {
namespace {

// The bytes from a tensor's first to its last element may be at most this many times its own size; for a
// small tensor the second limit applies.
constexpr uint64_t kMostScattered = 4, kScatteredAnyway = 1 << 16;

std::string text(const Shape& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); i++) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

[[noreturn]] void fail(const ModelConfig& config, const TensorView& t, const std::string& what,
                       std::string expected, std::string actual) {
  const std::string& file = config.files[t.file];
  throw Error{.code = "ERR_CLIP_CHECKPOINT",
              .message = file + ": tensor " + t.name + " " + what,
              .file = file,
              .field = t.name,
              .expected = std::move(expected),
              .actual = std::move(actual)};
}

// Conversion of one stored element to float; bit 0 of `bad` is set by infinities and NaNs.
struct F32 {
  static constexpr int64_t size = 4;
  static float load(const uint8_t* p, uint32_t& bad) {
    uint32_t bits;
    std::memcpy(&bits, p, 4);
    bad |= (bits & 0x7f800000u) == 0x7f800000u;
    return std::bit_cast<float>(bits);
  }
};
struct F64 {
  static constexpr int64_t size = 8;
  static float load(const uint8_t* p, uint32_t& bad) {
    double value;
    std::memcpy(&value, p, 8);
    // to the nearest; numbers that are too large become infinities
    const float rounded = static_cast<float>(value);
    bad |= !std::isfinite(rounded);
    return rounded;
  }
};
struct BF16 {
  static constexpr int64_t size = 2;
  static float load(const uint8_t* p, uint32_t& bad) {
    uint16_t bits;
    std::memcpy(&bits, p, 2);
    bad |= (bits & 0x7f80u) == 0x7f80u;
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};
struct F16 {
  static constexpr int64_t size = 2;
  static float load(const uint8_t* p, uint32_t& bad) {
    uint16_t bits;
    std::memcpy(&bits, p, 2);
    bad |= (bits & 0x7c00u) == 0x7c00u;
    // Exponent and mantissa, moved to their places in a float32, are 2^-112 times the value; the product is
    // exact, also for subnormals.
    const float magnitude = std::bit_cast<float>(static_cast<uint32_t>(bits & 0x7fffu) << 13) * 0x1p112f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | static_cast<uint32_t>(bits & 0x8000u)
                                                                         << 16);
  }
};

// Calls run(source, stride, n, destination index) for each innermost line of the rows.
template <class Run>
void eachLine(const TensorView& t, int64_t count, const Run& run) {
  const int64_t columns = columnsOf(t);
  if (contiguousColumns(t)) {
    for (int64_t r = 0; r < count; r++) run(r * t.strides[0], int64_t{1}, columns, r * columns);
    return;
  }
  const size_t last = t.shape.size() - 1;  // at least 1 here: a vector has contiguous columns
  const int64_t lines = columns / t.shape[last];
  for (int64_t line = 0; line < count * lines; line++) {
    int64_t source = line / lines * t.strides[0], rest = line % lines;
    for (size_t d = last - 1; d >= 1; d--) {
      source += rest % t.shape[d] * t.strides[d];
      rest /= t.shape[d];
    }
    run(source, t.strides[last], t.shape[last], line * t.shape[last]);
  }
}

template <class Element>
bool convert(const TensorView& t, const uint8_t* bytes, int64_t count, float* dst) {
  uint32_t bad = 0;
  eachLine(t, count, [&](int64_t source, int64_t stride, int64_t n, int64_t to) {
    const uint8_t* p = bytes + source * Element::size;
    float* y = dst + to;
    uint32_t lineBad = 0;
    if (stride == 1)
      for (int64_t i = 0; i < n; i++) y[i] = Element::load(p + i * Element::size, lineBad);
    else
      for (int64_t i = 0; i < n; i++) y[i] = Element::load(p + i * stride * Element::size, lineBad);
    bad |= lineBad;
  });
  return !bad;
}

// The element at `row` and `column` as an index into the tensor: "[3, 17]".
std::string place(const TensorView& t, int64_t row, int64_t column) {
  Shape at(t.shape.size(), 0);
  at[0] = row;
  for (size_t d = t.shape.size() - 1; d >= 1; d--) {
    at[d] = column % t.shape[d];
    column /= t.shape[d];
  }
  return text(at);
}

// Finds the first bad value. Slow, but it runs only once, before the error is thrown.
[[noreturn]] void failNotFinite(const ModelConfig& config, const TensorView& t, const uint8_t* bytes,
                                int64_t firstRow, int64_t count) {
  const int64_t size = static_cast<int64_t>(bytesOf(t.dtype));
  int64_t row = firstRow, column = 0;
  bool nan = false, found = false;
  const bool value32 = t.dtype == Dtype::float32 || t.dtype == Dtype::float64;
  const int64_t columns = columnsOf(t);
  eachLine(t, count, [&](int64_t source, int64_t stride, int64_t n, int64_t to) {
    for (int64_t i = 0; i < n && !found; i++) {
      const uint8_t* p = bytes + (source + i * stride) * size;
      uint32_t bits = 0;
      if (t.dtype == Dtype::float64) {
        uint32_t bad = 0;
        bits = std::bit_cast<uint32_t>(F64::load(p, bad));
      } else {
        std::memcpy(&bits, p, static_cast<size_t>(size));
      }
      const uint32_t exponent = value32 ? 0x7f800000u : t.dtype == Dtype::bfloat16 ? 0x7f80u : 0x7c00u;
      const uint32_t sign = value32 ? 0x80000000u : 0x8000u;
      if ((bits & exponent) != exponent) continue;
      found = true;
      nan = (bits & ~sign) != exponent;
      row = firstRow + (to + i) / columns;
      column = (to + i) % columns;
    }
  });
  const std::string what = std::string(nan ? "NaN" : "an infinity") + " at " + place(t, row, column);
  fail(config, t, "has " + what + ", but weights must be finite", "finite numbers", what);
}

}  // namespace

size_t extentBytes(const TensorView& t, int64_t rows) {
  int64_t last = (rows - 1) * t.strides[0];
  for (size_t d = 1; d < t.shape.size(); d++) last += (t.shape[d] - 1) * t.strides[d];
  return static_cast<size_t>(last + 1) * bytesOf(t.dtype);
}

bool rowsSideBySide(const TensorView& t) {
  const uint64_t row = extentBytes(t, 1), step = static_cast<uint64_t>(t.strides[0]) * bytesOf(t.dtype);
  return step >= row && step <= 2 * row;
}

int64_t columnsOf(const TensorView& t) {
  int64_t n = 1;
  for (size_t d = 1; d < t.shape.size(); d++) n *= t.shape[d];
  return n;
}

bool contiguousColumns(const TensorView& t) {
  int64_t n = 1;
  for (size_t d = t.shape.size() - 1; d >= 1; d--) {
    if (t.shape[d] > 1 && t.strides[d] != n) return false;
    n *= t.shape[d];
  }
  return true;
}

const TensorView& checkedTensor(const ModelConfig& config, const std::string& name, const Shape& shape) {
  const auto found = config.tensors.find(name);
  if (found == config.tensors.end())
    throw Error{
        .code = "ERR_CLIP_CHECKPOINT",
        .message = config.files.front() + ": the checkpoint has no tensor for " + name + " " + text(shape),
        .file = config.files.front(),
        .field = name,
        .expected = text(shape),
        .actual = "missing"};
  const TensorView& t = found->second;
  if (t.file < 0 || static_cast<size_t>(t.file) >= config.files.size())
    throw Error{.code = "ERR_CLIP_CHECKPOINT",
                .message = "tensor " + t.name + " refers to file " + std::to_string(t.file) + " of " +
                           std::to_string(config.files.size()),
                .field = t.name};
  if (t.dtype != Dtype::float32 && t.dtype != Dtype::float16 && t.dtype != Dtype::bfloat16 &&
      t.dtype != Dtype::float64)
    fail(config, t, "is neither F32 nor F16, BF16 or F64", "F32, F16, BF16 or F64", "another type");
  if (t.shape != shape)
    fail(config, t, "has the shape " + text(t.shape) + ", but the architecture needs " + text(shape),
         text(shape), text(t.shape));
  const uint64_t fileBytes = config.fileBytes[t.file], size = bytesOf(t.dtype);
  const std::string range = "bytes inside the file's " + std::to_string(fileBytes);
  const auto outside = [&] {
    fail(config, t, "is outside its file", range, "offset " + std::to_string(t.offset));
  };
  if (t.strides.size() != shape.size() || t.offset > fileBytes) outside();
  // In elements. Every step is checked before it is computed, so nothing here can overflow.
  const uint64_t room = (fileBytes - t.offset) / size;
  uint64_t last = 0, elements = 1;
  for (size_t d = 0; d < shape.size(); d++) {
    if (t.strides[d] < 0) outside();
    const uint64_t steps = static_cast<uint64_t>(shape[d]) - 1, stride = static_cast<uint64_t>(t.strides[d]);
    if (steps > 0 && stride > room / steps) outside();
    last += steps * stride;
    if (last > room) outside();
    elements *=
        // shapes come from the architecture, and checkConfig bounds their product
        static_cast<uint64_t>(shape[d]);
  }
  // The second condition: a view that repeats elements could be far larger than its file.
  if (last >= room || elements > room) outside();
  // The bytes between the elements are read too: tensors that are each scattered over the whole file would
  // read a multiple of the file, which for a thousand tensors would take hours.
  if (last / kMostScattered > elements + kScatteredAnyway / size)
    fail(config, t, "is scattered over " + std::to_string((last + 1) * size) + " bytes of its file",
         "at most " + std::to_string(kMostScattered) + " times its own " + std::to_string(elements * size) +
             " bytes",
         std::to_string((last + 1) * size) + " bytes");
  return t;
}

void readRows(const ModelConfig& config, const TensorView& t, const uint8_t* bytes, int64_t firstRow,
              int64_t count, float* dst) {
  const bool finite = t.dtype == Dtype::float32   ? convert<F32>(t, bytes, count, dst)
                      : t.dtype == Dtype::float16 ? convert<F16>(t, bytes, count, dst)
                      : t.dtype == Dtype::float64 ? convert<F64>(t, bytes, count, dst)
                                                  : convert<BF16>(t, bytes, count, dst);
  if (!finite) failNotFinite(config, t, bytes, firstRow, count);
}

void copyRows(const TensorView& t, const uint8_t* bytes, int64_t count, uint8_t* dst) {
  const int64_t size = static_cast<int64_t>(bytesOf(t.dtype));
  eachLine(t, count, [&](int64_t source, int64_t stride, int64_t n, int64_t to) {
    if (stride == 1) {
      std::memcpy(dst + to * size, bytes + source * size, static_cast<size_t>(n * size));
      return;
    }
    for (int64_t i = 0; i < n; i++)
      std::memcpy(dst + (to + i) * size, bytes + (source + i * stride) * size, static_cast<size_t>(size));
  });
}

void checkFinite(const ModelConfig& config, const TensorView& t, const float* rows, int64_t firstRow,
                 int64_t count) {
  const int64_t columns = columnsOf(t);
  uint32_t bad = 0;
  for (int64_t r = 0; r < count; r++) {
    const float* x = rows + r * t.strides[0];
    for (int64_t i = 0; i < columns; i++) bad |= (std::bit_cast<uint32_t>(x[i]) & 0x7f800000u) == 0x7f800000u;
  }
  if (bad) failNotFinite(config, t, reinterpret_cast<const uint8_t*>(rows), firstRow, count);
}

}  // namespace clip
