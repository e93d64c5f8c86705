#pragma once
// Decoder of the .lzma format (Igor Pavlov's LZMA specification, in the public domain), for what this addon
// carries itself: cuda/README.md says why this format.
#include <cstddef>
#include <vector>

namespace clip::cuda {

// What was compressed. The header must say its size. Throws ERR_CLIP_INTERNAL if the bytes are damaged in a
// way that shows; reads and writes nothing outside, whatever they are.
std::vector<char> decodeLzma(const unsigned char* data, size_t bytes);

}  // namespace clip::cuda
