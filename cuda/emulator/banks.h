#pragma once
// Counts the cost of accesses to shared memory. Shared memory has 32 banks of 4 bytes, and in one wavefront
// each bank transfers one word: lanes that access different words of the same bank need further wavefronts,
// lanes that access the same word do not. Accesses of up to 4 bytes per lane are made for the whole warp at
// once, of 8 bytes for half a warp, and of 16 bytes for a quarter; that gives the minimal number of
// wavefronts.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>

namespace emulator {

enum SharedAccess : uint8_t { kLoad, kStore, kLoadMatrix, kCopyAsync, kSharedAccesses };
constexpr const char* kSharedAccessNames[] = {"ld", "st", "ldmatrix", "cp.async"};

struct Wavefronts {
  uint64_t accesses = 0, least = 0, taken = 0;  // accesses: instructions of a warp
};

// Adds the cost of one access of a warp: each lane of `mask` accesses `bytes` (1 to 16, a power of two),
// starting at a multiple of that.
inline void countWavefronts(Wavefronts& total, const std::array<uint32_t, 32>& address, uint32_t mask,
                            uint32_t bytes) {
  total.accesses++;
  const uint32_t lanes = bytes <= 4 ? 32 : 128 / bytes, words = bytes <= 4 ? 1 : bytes / 4;
  for (uint32_t begin = 0; begin < 32; begin += lanes) {
    uint32_t wanted[32][32], count[32] = {}, most = 0;  // for each bank
    for (uint32_t lane = begin; lane < begin + lanes; lane++) {
      if (!(mask >> lane & 1)) continue;
      for (uint32_t i = 0; i < words; i++) {
        const uint32_t word = address[lane] / 4 + i, bank = word % 32;
        uint32_t known = 0;
        while (known < count[bank] && wanted[bank][known] != word) known++;
        if (known < count[bank]) continue;
        wanted[bank][count[bank]++] = word;
        most = std::max(most, count[bank]);
      }
    }
    total.least += most > 0;
    total.taken += most;
  }
}

// For each kernel whose instructions the PTX interpreter has run, until it is cleared.
using SharedTraffic = std::array<Wavefronts, kSharedAccesses>;
inline std::map<std::string, SharedTraffic> sharedTraffic;

}  // namespace emulator
