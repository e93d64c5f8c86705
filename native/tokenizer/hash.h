#pragma once
// Hashing with a per-process seed, so that no file can be constructed whose entries all collide.
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace clip::tokenizer {

inline uint64_t mixed(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93u;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93u;
  return x ^ x >> 32;
}

inline uint64_t hashSeed() {
  static const uint64_t seed = [] {
    // The time and two addresses that the system chooses, of this library and of a thread's stack. Not
    // std::random_device, which with g++ 12 needs GLIBC 2.36.
    const auto now = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    return mixed(mixed(now ^ reinterpret_cast<uintptr_t>(&now)) ^ reinterpret_cast<uintptr_t>(&hashSeed));
  }();
  return seed;
}

inline uint64_t hashOf(std::string_view text, uint64_t seed) {
  uint64_t h = seed ^ text.size() * 0x9e3779b97f4a7c15u;
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t part;
    std::memcpy(&part, text.data() + at, 8);
    h = mixed(h ^ part) + seed;
  }
  uint64_t rest = 0;
  if (at < text.size()) std::memcpy(&rest, text.data() + at, text.size() - at);
  return mixed(h ^ rest);
}

// Prefetches an address that will be read soon.
inline void fetch(const void* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address);
#else
  (void)address;
#endif
}

}  // namespace clip::tokenizer
