#include "heads.h"

#include <string>

#include "attention.h"
#include "error.h"

namespace clip::cuda {

void requireHead(Dtype dtype, int dim, const char* field) {
  if (attentionRuns(dtype, dim)) return;
  const std::string expected = dtype == Dtype::float32
                                   ? "a dimension of at most " + std::to_string(kMostFloat32Dim)
                                   : "a dimension that is a multiple of 8 up to 128, or dtype float32";
  throw Error{.code = "ERR_CLIP_CUDA",
              .message = "No CUDA kernel supports attention heads of dimension " + std::to_string(dim) +
                         " (" + field + "): expected " + expected + ".",
              .field = field,
              .expected = expected,
              .actual = std::to_string(dim)};
}

}  // namespace clip::cuda
