#include "images.h"

#include <iterator>

#include "lzma.h"

// The assembler puts the files into the addon; CMakeLists.txt says where they are.
#define CLIP_EMBED(symbol, file)                                                                   \
  asm(".pushsection .rodata.clip_cuda, \"a\", @progbits\n"                                         \
      ".hidden " #symbol "\n.hidden " #symbol                                                      \
      "_end\n"                                                                                     \
      ".global " #symbol "\n.global " #symbol "_end\n" #symbol ":\n.incbin \"" file "\"\n" #symbol \
      "_end:\n.byte 0\n.popsection");                                                              \
  extern "C" const unsigned char symbol[], symbol##_end[];
CLIP_EMBED(clip_cuda_machine_code, CLIP_CUDA_IMAGES "/machine_code.lzma")
CLIP_EMBED(clip_cuda_ptx, CLIP_CUDA_IMAGES "/ptx.lzma")

namespace clip::cuda {

std::vector<char> machineCode() {
  return decodeLzma(clip_cuda_machine_code,
                    static_cast<size_t>(clip_cuda_machine_code_end - clip_cuda_machine_code));
}

std::vector<char> ptx() {
  std::vector<char> text = decodeLzma(clip_cuda_ptx, static_cast<size_t>(clip_cuda_ptx_end - clip_cuda_ptx));
  text.push_back('\0');
  return text;
}

std::string imagesHash() {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  const auto add = [&hash](const unsigned char* at, const unsigned char* end) {
    for (; at != end; at++) hash = (hash ^ *at) * 1099511628211u;
  };
  add(clip_cuda_machine_code, clip_cuda_machine_code_end);
  add(clip_cuda_ptx, clip_cuda_ptx_end);
  std::string digits;
  for (int shift = 60; shift >= 0; shift -= 4) digits += "0123456789abcdef"[hash >> shift & 15];
  return digits;
}

}  // namespace clip::cuda
