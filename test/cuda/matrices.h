#pragma once
// Pieces that the ops' cases share.
#include <cmath>
#include <cstring>

#include "cases.h"
#include "device.h"
#include "linear.h"
#include "reference/reference.h"

namespace device {

using clip::nameOf;
constexpr clip::Dtype kStored[] = {clip::Dtype::float32, clip::Dtype::bfloat16, clip::Dtype::float16};

// A number as 16 bits.
uint16_t toHalf(float, clip::Dtype);
// A weight (out, in) in the layout of clip_linear_* and clip_conv_*.
Memory packedWeight(const Values& w, clip::Dtype dtype);

// Compares the contents of y and checks that nothing around it was written.
inline std::string compareMatrix(const Matrix& y, const Values& want,
                                 const std::function<double(int, int)>& bound) {
  const std::string wrong = y.canary();
  return wrong.empty() ? compare(y.values(), want, bound) : wrong;
}

}  // namespace device
