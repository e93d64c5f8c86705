#include "model/weight_hash.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace clip {
namespace {

constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15u, kSecret = 0xa0761d6478bd642fu;

// The XOR of both halves of the product of two words: one multiplication for two words of data.
uint64_t fold(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
#else
  const uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (middle & 0xffffffffu);
  return ((other << 32) | (low & 0xffffffffu)) ^ (a1 * b1 + (middle >> 32) + (other >> 32));
#endif
}

uint64_t mix(uint64_t x) {  // a bijection that removes regular structure, from splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

std::string hex(const WeightHash::Sum& sum) {
  if (sum.low == 0 && sum.high == 0) return {};
  char text[33];
  std::snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(sum.high),
                static_cast<unsigned long long>(sum.low));
  return text;
}

}  // namespace

uint64_t WeightHash::seedOf(const std::string& tensor) {
  uint64_t seed = 0xcbf29ce484222325u;
  for (const char c : tensor) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return mix(seed);
}

WeightHash::Sum WeightHash::row(uint64_t seed, int64_t row, const float* values, size_t count) {
  // independent, because a multiplication has a latency of some cycles but one can start in each
  constexpr int kLanes = 4;
  const uint64_t start = mix(seed + static_cast<uint64_t>(row) * kMultiplier);
  uint64_t lane[kLanes];
  for (int i = 0; i < kLanes; i++) lane[i] = start + static_cast<uint64_t>(i + 1) * kMultiplier;
  const auto* p = reinterpret_cast<const uint8_t*>(values);
  for (size_t bytes = count * sizeof(float); bytes > 0;) {
    uint64_t words[2 * kLanes];
    const size_t n = std::min(bytes, sizeof(words));
    if (n == sizeof(words)) {
      std::memcpy(words, p, sizeof(words));
    } else {
      std::memset(words, 0, sizeof(words));
      std::memcpy(words, p, n);
    }
    for (int i = 0; i < kLanes; i++)
      lane[i] = fold(lane[i] ^ words[2 * i], words[2 * i + 1] ^ kSecret) + lane[i];
    p += n;
    bytes -= n;
  }
  Sum sum{count, ~count};
  for (const uint64_t l : lane) {
    sum.low = mix(sum.low ^ l);
    sum.high = mix((sum.high + l) * kMultiplier);
  }
  return sum;
}

WeightHash::Sum WeightHash::rows(uint64_t seed, int64_t first, int64_t count, const float* values,
                                 size_t stride, size_t columns) {
  Sum sum;
  for (int64_t r = 0; r < count; r++)
    sum.add(row(seed, first + r, values + static_cast<size_t>(r) * stride, columns));
  return sum;
}

void WeightHash::add(const std::string& tensor, const Sum& sum) {
  (tensor.starts_with("image.") ? image_ : text_).add(sum);
}

WeightNames WeightHash::names() const { return {.image = hex(image_), .text = hex(text_)}; }

}  // namespace clip
