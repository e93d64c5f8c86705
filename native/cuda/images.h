#pragma once
// The compiled kernels (cuda/README.md describes how they are made). They are files of the package,
// compressed with Brotli, which Node can decompress and this addon cannot: lib passes them to the addon, once
// per process, before a device is first used.
#include <string>
#include <vector>

namespace clip::cuda {

struct Images {
  // For compute capability 8.0, 9.0, 10.0 and 12.0, each of which also runs on later minor versions, in
  // NVIDIA's fatbin format. 4.5 MB.
  std::vector<char> machineCode;
  // The same kernels as PTX for compute capability 8.0 and all later ones; zero-terminated. 1.6 MB.
  std::vector<char> ptx;
  // Differs between builds of the kernels.
  std::string name;
};

// May be called from any thread. The images are kept until the process ends, because a model may be loaded at
// any time. If there are images already, the call has no effect.
void giveImages(Images);
bool haveImages();
// Throws ERR_CLIP_INTERNAL if giveImages was not called before.
const Images& images();

}  // namespace clip::cuda
