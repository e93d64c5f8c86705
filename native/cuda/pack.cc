#include "pack.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "error.h"
#include "half.h"
#include "linear.h"
#include "memory.h"

namespace clip::cuda {
namespace {

constexpr float kLargestFloat16 = 65504;

[[noreturn]] void refuse(float value) {
  throw Error{.code = "ERR_CLIP_DTYPE",
              .message = "A weight is " + std::to_string(value) +
                         ", but float16 ends at 65504. Load the model with dtype bfloat16.",
              .field = "dtype",
              .expected = "bfloat16",
              .actual = "float16"};
}

}  // namespace

bool pack(const Pack& p) {
  const size_t rows = static_cast<size_t>(p.rowCount), in = static_cast<size_t>(p.in),
               first = static_cast<size_t>(p.firstRow);
  if (p.dtype == Dtype::float32) {
    std::vector<float> dense(rows * in);
    for (size_t r = 0; r < rows; r++)
      std::memcpy(dense.data() + r * in, p.rows + r * p.rowStride, in * sizeof(float));
    copyIn(static_cast<float*>(p.dst) + first * in, dense.data(), dense.size() * sizeof(float));
    return true;
  }
  const size_t padded = static_cast<size_t>(packedInputs(p.in));
  std::vector<uint16_t> halves(rows * padded);  // zeros after the inputs
  bool exact = true;
  for (size_t r = 0; r < rows; r++) {
    const float* from = p.rows + r * p.rowStride;
    uint16_t* to = halves.data() + r * padded;
    if (p.dtype == Dtype::bfloat16) {
      for (size_t i = 0; i < in; i++) to[i] = toBfloat16(from[i]);
    } else {
      for (size_t i = 0; i < in; i++) {
        if (std::fabs(from[i]) > kLargestFloat16) refuse(from[i]);
        to[i] = toFloat16(from[i]);
        exact = exact && widen(to, Dtype::float16, i) == from[i];
      }
    }
  }
  copyIn(static_cast<uint16_t*>(p.dst) + first * padded, halves.data(), halves.size() * sizeof(uint16_t));
  return exact;
}

}  // namespace clip::cuda
