#pragma once
// Kernels that process rows independently, with a warp or a stride of threads per row. Their meaning is
// specified in backend.h, which lists the ops (CLIP_ROW_OPS). Each kernel takes the op's own struct and is
// named after the op: clip_layer_norm after layerNorm. Matrices and tables that may be narrow are float32,
// bfloat16 or float16.
//
// Row numbers that are read on the device (ids, position, row) are negative in padding rows: such a row of y
// is not written.
#include "launch.h"

namespace clip::cuda {

struct KernelName {
  char text[48] = "clip_";
  constexpr KernelName(const char* op) {
    for (int n = 5; *op; op++) {
      const bool capital = *op >= 'A' && *op <= 'Z';
      if (capital) text[n++] = '_';
      text[n++] = static_cast<char>(capital ? *op - 'A' + 'a' : *op);
    }
  }
};
#define CLIP_NAME(op, Arguments) inline constexpr KernelName op##Kernel{#op};
CLIP_ROW_OPS(CLIP_NAME)
#undef CLIP_NAME
#define CLIP_NAME(op, Arguments) op##Kernel.text,
constexpr const char* kRowKernels[] = {CLIP_ROW_OPS(CLIP_NAME)};
#undef CLIP_NAME

constexpr int kRowWarps = 4;  // rows of a block, one per warp

constexpr Launch rowLaunch(const char* kernel, int rows) {
  return {kernel, static_cast<unsigned>(ceilDiv(rows, kRowWarps)), 1, 1, kRowWarps * 32, 0};
}
// The rows that an op writes.
template <class Arguments>
constexpr int rowsWritten(const Arguments& a) {
  return a.rows;
}
constexpr int rowsWritten(const Gather& g) { return g.count; }
constexpr int rowsWritten(const Patches& p) { return p.images * (p.size / p.patch) * (p.size / p.patch); }
constexpr int rowsWritten(const Pooling& p) {
  return p.images * (p.height / p.kernelHeight) * (p.width / p.kernelWidth);
}
constexpr int rowsWritten(const DepthwiseConv& d) {
  return d.images * ((d.height + 2 * d.pad - d.kernel) / d.stride + 1) *
         ((d.width + 2 * d.pad - d.kernel) / d.stride + 1);
}
#define CLIP_LAUNCH(op, Arguments) \
  constexpr Launch launchOf(const Arguments& a) { return rowLaunch(op##Kernel.text, rowsWritten(a)); }
CLIP_ROW_OPS(CLIP_LAUNCH)
#undef CLIP_LAUNCH

}  // namespace clip::cuda
