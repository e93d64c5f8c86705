#include "images.h"

#include "error.h"

namespace clip::cuda {

std::vector<char> machineCode() { return {}; }
std::vector<char> ptx() {
  throw Error{.code = "ERR_CLIP_CUDA", .message = "This build has no CUDA kernels."};
}
std::string imagesHash() { return "none"; }

}  // namespace clip::cuda
