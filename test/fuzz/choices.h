#pragma once
// The source of a case's decisions: a seeded generator, or the bytes that libFuzzer makes. The same code of a
// case works with both.
#include <array>
#include <climits>
#include <cstddef>
#include <cstdint>

namespace clip::fuzz {

class Choices {
 public:
  virtual ~Choices() = default;

  // A number in [0, n); 0 if n is 0.
  uint64_t below(uint64_t n) {
    if (n <= 1) return 0;
    return take(n <= 0x100 ? 1 : n <= 0x10000 ? 2 : n <= 0x100000000 ? 4 : 8) % n;
  }
  // A number in [low, high].
  int within(int low, int high) {
    return low + static_cast<int>(below(static_cast<uint64_t>(high - low) + 1));
  }
  bool oneIn(int n) { return below(static_cast<uint64_t>(n)) == 0; }
  template <class T, size_t N>
  T pick(const T (&list)[N]) {
    return list[below(N)];
  }
  // A small number, a limit of some type or a neighbour of one, or any number.
  int64_t hostile() {
    static constexpr int64_t kLimits[] = {0,
                                          255,
                                          256,
                                          65535,
                                          65536,
                                          INT_MAX,
                                          INT_MIN,
                                          int64_t{1} << 31,
                                          int64_t{1} << 32,
                                          UINT32_MAX,
                                          INT64_MAX,
                                          INT64_MIN + 1,
                                          int64_t{1} << 53,
                                          int64_t{1} << 61,
                                          int64_t{1} << 62};
    switch (below(4)) {
      case 0:
        return within(-2, 40);
      case 1:
        return static_cast<int64_t>(take(8));
      default: {
        const int64_t limit = pick(kLimits);
        return limit == INT64_MAX ? limit - within(0, 2) : limit + within(-1, 1);
      }
    }
  }
  int hostileInt() { return static_cast<int>(static_cast<uint32_t>(hostile())); }

  // The next `bytes` bytes as a number.
  virtual uint64_t take(int bytes) = 0;
};

// splitmix64: equal seeds give equal cases.
class SeededChoices : public Choices {
 public:
  explicit SeededChoices(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t take(int) override {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) >> 1;
  }

 private:
  uint64_t state_;
};

// Returns zeros after the last byte.
class ByteChoices : public Choices {
 public:
  ByteChoices(const uint8_t* data, size_t size) : data_(data), end_(data + size) {}
  uint64_t take(int bytes) override {
    uint64_t value = 0;
    for (int i = 0; i < bytes && data_ != end_; i++) value |= uint64_t{*data_++} << (8 * i);
    return value;
  }

 private:
  const uint8_t *data_, *end_;
};

}  // namespace clip::fuzz
