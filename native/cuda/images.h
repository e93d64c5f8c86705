#pragma once
// The compiled kernels (cuda/README.md says how they are made). They are files of the package, compressed
// with Brotli, which Node inflates and this addon does not: lib hands them over, once per process, before a
// device is first used.
#include <string>
#include <vector>

namespace clip::cuda {

struct Images {
  // For compute capability 8.0, 9.0, 10.0 and 12.0, each also for later minor versions of it, in NVIDIA's
  // fatbin format. 4.5 MB.
  std::vector<char> machineCode;
  // The same kernels as PTX for compute capability 8.0 and all later ones; zero-terminated. 1.6 MB.
  std::vector<char> ptx;
  // Differs between builds of the kernels.
  std::string name;
};

// Any thread. They stay until the process ends, because a model may be loaded at any time. Where there are
// some already, nothing changes.
void giveImages(Images);
bool haveImages();
// Throws ERR_CLIP_INTERNAL before there are any.
const Images& images();

}  // namespace clip::cuda
