#pragma once
// The compiled kernels that this addon carries, compressed (cuda/README.md says how they are made).
#include <cstdint>
#include <string>
#include <vector>

namespace clip::cuda {

// Machine code for compute capability 8.0, 9.0, 10.0 and 12.0, each also for later minor versions of it, in
// NVIDIA's fatbin format. 4.5 MB, in 0.1 s.
std::vector<char> machineCode();
// The same kernels as PTX for compute capability 8.0 and all later ones; zero-terminated. 1.6 MB.
std::vector<char> ptx();
// Of both, as hexadecimal digits.
std::string imagesHash();

}  // namespace clip::cuda
