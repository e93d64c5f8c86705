#pragma once
// What accesses to shared memory cost. It has 32 banks of 4 bytes, and in one wavefront each bank gives or
// takes one word: lanes that want other words of the same bank wait for another wavefront, lanes that want
// the same word do not. Of up to 4 bytes a lane the whole warp comes at once, of 8 bytes half of it, of 16
// bytes a quarter: that many wavefronts are the least that there can be.
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

// What an access of one warp costs: the lanes of `mask` want `bytes` (1 to 16, a power of two) each, from a
// multiple of that on.
inline void countWavefronts(Wavefronts& total, const std::array<uint32_t, 32>& address, uint32_t mask,
                            uint32_t bytes) {
  total.accesses++;
  const uint32_t lanes = bytes <= 4 ? 32 : 128 / bytes, words = bytes <= 4 ? 1 : bytes / 4;
  for (uint32_t begin = 0; begin < 32; begin += lanes) {
    uint32_t wanted[32][32], count[32] = {}, most = 0;  // of each bank
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

// Of each kernel that the PTX interpreter ran such instructions of, until somebody clears it.
using SharedTraffic = std::array<Wavefronts, kSharedAccesses>;
inline std::map<std::string, SharedTraffic> sharedTraffic;

}  // namespace emulator
