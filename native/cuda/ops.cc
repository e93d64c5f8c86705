// Ops that take several launches.
#include "ops.h"

#include "context.h"
#include "heads.h"
#include "kernels.h"

namespace clip::cuda::ops {

void run(Context& c, const Linear& l) {
  Stream& stream = Stream::of(c);
  const Launch launch = linearLaunch(l);
  if (linearIsSkinny(l))
    stream.run(launch, l, stream.linearScratch(l));
  else
    stream.run(launch, l);
}

void run(Context& c, const Attention& a) {
  requireHead(a.q.dtype, a.dim, "heads");
  Stream& stream = Stream::of(c);
  int bound = 0;
  const AttentionGroups groups = stream.groups(a, &bound);
  stream.run(attentionLaunch(a, bound), a, groups);
}

// For float32, which has no convolution kernel of its own, the windows are gathered as rows of a matrix, with
// zeros outside the image.
void run(Context& c, const Conv& v) {
  Stream& stream = Stream::of(c);
  if (v.dtype != Dtype::float32) return stream.run(convLaunch(v), v);
  const int rows = v.images * v.outHeight() * v.outWidth(), taps = v.kernel * v.kernel, columns = taps * v.in;
  const size_t stride = static_cast<size_t>(columns) * sizeof(float), bytes = stride * rows;
  const int32_t* const row = stream.windowRows(v);
  const auto memory = stream.scratch(Stream::windows, bytes);
  stream.run(
      [address = memory->address(), bytes](CUstream s) { driver().cuMemsetD8Async(address, 0, bytes, s); });
  const MatrixView x{.data = memory->as<void>(), .stride = stride, .dtype = Dtype::float32};
  MatrixView tap = x;
  tap.stride = static_cast<size_t>(v.in) * sizeof(float);
  run(c, Gather{.x = v.x, .row = row, .y = tap, .count = rows * taps, .cols = v.in});
  run(c, Linear{.x = x,
                .w = v.w,
                .bias = v.bias,
                .residual = {},
                .y = v.y,
                .rows = rows,
                .in = columns,
                .out = v.out,
                .activation = v.activation,
                .weights = Dtype::float32});
}

void run(Context& c, const Resize& r) {
  Stream& stream = Stream::of(c);
  stream.hostTable().resize(stream.host(), r);
}

}  // namespace clip::cuda::ops
