#include "check_support.h"

#include "half.h"
#include "linear.h"

namespace clip::cuda::check {

void* Machine::weight(const Values& w, Dtype dtype) {
  if (dtype == Dtype::float32) return copy(w.data);
  const auto padded = static_cast<size_t>(packedInputs(w.cols));
  std::vector<uint16_t> halves(static_cast<size_t>(w.rows) * padded);
  for (int o = 0; o < w.rows; o++)
    for (int i = 0; i < w.cols; i++)
      halves[static_cast<size_t>(o) * padded + i] =
          dtype == Dtype::bfloat16 ? toBfloat16(w.row(o)[i]) : toFloat16(w.row(o)[i]);
  return copy(halves);
}

const std::vector<RowOp>& rowOps() {
  static const std::vector<RowOp> all = {
#define CLIP_ENTRY(op, Arguments) {#op, op##Kernel.text, clip::ops::op::made, clip::ops::op::dtypes()},
      CLIP_ROW_OPS(CLIP_ENTRY)
#undef CLIP_ENTRY
          {"cosineSoftmax", "clip_cosine_scores", cosineScores, clip::ops::kFloat32},
      {"cosineSoftmax", "clip_softmax_rows", softmaxRows, clip::ops::kFloat32},
      {"cosineTopK", "clip_cosine_top_k", cosineTopK, clip::ops::kFloat32},
      {"cosineTopK", "clip_cosine_top_k_merge", cosineTopKMerge, clip::ops::kFloat32},
      {"infoNce", "clip_info_nce", infoNce, clip::ops::kFloat32},
      {"infoNce", "clip_info_nce_loss", infoNceLoss, clip::ops::kFloat32},
  };
  return all;
}

}  // namespace clip::cuda::check
