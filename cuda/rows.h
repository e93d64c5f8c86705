#pragma once
// Kernels that process rows independently, with a warp or a stride of threads per row. Their meaning is
// specified in backend.h; each takes the op's own struct.
//
//   clip_layer_norm  (LayerNorm)   y float32, bfloat16 or float16; mean, then variance about it, in float32
//   clip_normalise   (Normalize)
//   clip_cast        (Cast)        y float32, bfloat16 or float16
//   clip_embed       (Embed)       table float32, bfloat16 or float16
//   clip_gather      (Gather)
//   clip_patches     (Patches)     y float32, bfloat16 or float16
//   clip_pool        (Pooling)     y float32, bfloat16 or float16
//   clip_softmax_cross_entropy (SoftmaxCrossEntropy)   x and the gradient float32, bfloat16 or float16
//
// Row numbers that are read on the device (ids, position, row) are negative in padding rows: such a row of y
// is not written.
#include "launch.h"

namespace clip::cuda {

constexpr const char* kRowKernels[] = {
    "clip_layer_norm", "clip_normalise", "clip_cast", "clip_embed",
    "clip_gather",     "clip_patches",   "clip_pool", "clip_softmax_cross_entropy",
};

constexpr int kRowWarps = 4;  // rows of a block, one per warp

constexpr Launch rowLaunch(const char* kernel, int rows) {
  return {kernel, static_cast<unsigned>(ceilDiv(rows, kRowWarps)), 1, 1, kRowWarps * 32, 0};
}
constexpr Launch launchOf(const LayerNorm& l) { return rowLaunch("clip_layer_norm", l.rows); }
constexpr Launch launchOf(const Normalise& n) { return rowLaunch("clip_normalise", n.rows); }
constexpr Launch launchOf(const Cast& c) { return rowLaunch("clip_cast", c.rows); }
constexpr Launch launchOf(const Embed& e) { return rowLaunch("clip_embed", e.rows); }
constexpr Launch launchOf(const Gather& g) { return rowLaunch("clip_gather", g.count); }
constexpr Launch launchOf(const SoftmaxCrossEntropy& s) {
  return rowLaunch("clip_softmax_cross_entropy", s.rows);
}
constexpr Launch launchOf(const Patches& p) {
  return rowLaunch("clip_patches", p.images * (p.size / p.patch) * (p.size / p.patch));
}
constexpr Launch launchOf(const Pooling& p) {
  return rowLaunch("clip_pool", p.images * (p.height / p.kernelHeight) * (p.width / p.kernelWidth));
}

}  // namespace clip::cuda
