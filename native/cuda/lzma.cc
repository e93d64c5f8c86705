#include "lzma.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "error.h"

namespace clip::cuda {
namespace {

[[noreturn]] void damaged(const char* what) {
  throw Error{.code = "ERR_CLIP_INTERNAL",
              .message = std::string("The compressed CUDA kernels in this build are damaged: ") + what + "."};
}

// A probability of a 0, in 2048ths. Each bit moves it a 32nd towards what came.
struct Probability {
  uint16_t p = 1024;
};

// Arithmetic decoding: bits of unequal probability out of a number in [0, range).
class Bits {
 public:
  Bits(const unsigned char* begin, const unsigned char* end) : at_(begin), end_(end) {
    if (end - begin < 5 || *begin != 0) damaged("their beginning");
    at_++;
    for (int i = 0; i < 4; i++) code_ = code_ << 8 | *at_++;
  }

  unsigned bit(Probability& p) {
    const uint32_t bound = (range_ >> 11) * p.p;
    unsigned b;
    if (code_ < bound) {
      range_ = bound;
      p.p = static_cast<uint16_t>(p.p + ((2048 - p.p) >> 5));
      b = 0;
    } else {
      range_ -= bound;
      code_ -= bound;
      p.p = static_cast<uint16_t>(p.p - (p.p >> 5));
      b = 1;
    }
    refill();
    return b;
  }

  // `count` bits that are 0 or 1 alike, the highest first.
  uint32_t even(int count) {
    uint32_t value = 0;
    for (; count > 0; count--) {
      range_ >>= 1;
      const bool one = code_ >= range_;
      if (one) code_ -= range_;
      value = value << 1 | (one ? 1 : 0);
      refill();
    }
    return value;
  }

 private:
  void refill() {
    if (range_ >= 1u << 24) return;
    if (at_ == end_) damaged("they end too early");
    range_ <<= 8;
    code_ = code_ << 8 | *at_++;
  }

  const unsigned char *at_, *end_;
  uint32_t range_ = 0xffffffff, code_ = 0;
};

// A number of `Count` bits whose every bit has a probability for each beginning.
template <int Count>
struct Tree {
  std::array<Probability, size_t{1} << Count> at;

  unsigned highestFirst(Bits& bits) {
    unsigned m = 1;
    for (int i = 0; i < Count; i++) m = m << 1 | bits.bit(at[m]);
    return m - (1u << Count);
  }
};
unsigned lowestFirst(Bits& bits, Probability* at, int count) {
  unsigned m = 1, value = 0;
  for (int i = 0; i < count; i++) {
    const unsigned b = bits.bit(at[m]);
    m = m << 1 | b;
    value |= b << i;
  }
  return value;
}

// The length of a match, from 2: short, middle or long.
struct Length {
  Probability aboveShort, aboveMiddle;
  std::array<Tree<3>, 16> shortOnes, middleOnes;
  Tree<8> longOnes;

  size_t decode(Bits& bits, size_t position) {
    if (!bits.bit(aboveShort)) return 2 + shortOnes[position].highestFirst(bits);
    if (!bits.bit(aboveMiddle)) return 10 + middleOnes[position].highestFirst(bits);
    return 18 + longOnes.highestFirst(bits);
  }
};

constexpr int kStates = 12;  // what the last few symbols were; below 7 the last was a literal
constexpr size_t kSlots = 64, kFirstModelled = 4, kEndModelled = 14;

class Decoder {
 public:
  Decoder(unsigned properties, const unsigned char* begin, const unsigned char* end, size_t size)
      : bits_(begin, end),
        literalContext_(static_cast<int>(properties % 9)),
        literalMask_((1u << properties / 9 % 5) - 1),
        positionMask_((1u << properties / 45) - 1),
        literals_(size_t{0x300} << (properties % 9 + properties / 9 % 5)) {
    out_.reserve(size);
    while (out_.size() < size) symbol(size);
  }

  std::vector<char> take() { return std::move(out_); }

 private:
  void symbol(size_t size) {
    const size_t position = out_.size() & positionMask_;
    if (!bits_.bit(isMatch_[state_][position])) return literal();
    size_t length;
    if (bits_.bit(isRepeated_[state_])) {
      if (out_.empty()) damaged("a repetition of nothing");
      if (!bits_.bit(isOlder_[state_])) {
        if (!bits_.bit(isLong_[state_][position])) {
          state_ = state_ < 7 ? 9 : 11;
          return copy(1, size);
        }
      } else {
        size_t which = 1;
        if (bits_.bit(isSecond_[state_])) which = 2 + bits_.bit(isThird_[state_]);
        std::rotate(distances_.begin(), distances_.begin() + static_cast<ptrdiff_t>(which),
                    distances_.begin() + static_cast<ptrdiff_t>(which) + 1);
      }
      length = repeatedLength_.decode(bits_, position);
      state_ = state_ < 7 ? 8 : 11;
    } else {
      length = matchLength_.decode(bits_, position);
      state_ = state_ < 7 ? 7 : 10;
      std::rotate(distances_.begin(), distances_.end() - 1, distances_.end());
      distances_[0] = distance(length);
    }
    copy(length, size);
  }

  // A byte whose bits are foretold by its place and the byte before it; after a match also by the byte that
  // would have gone on with that match, up to the first bit that differs from it.
  void literal() {
    const unsigned before = out_.empty() ? 0 : static_cast<unsigned char>(out_.back());
    const size_t context =
        ((out_.size() & literalMask_) << literalContext_) + (before >> (8 - literalContext_));
    Probability* at = &literals_[0x300 * context];
    unsigned m = 1;
    if (state_ >= 7) {
      unsigned foretold = static_cast<unsigned char>(out_[out_.size() - 1 - reach()]);
      while (m < 0x100) {
        const unsigned b = foretold >> 7 & 1;
        foretold <<= 1;
        const unsigned bit = bits_.bit(at[(1 + b) << 8 | m]);
        m = m << 1 | bit;
        if (bit != b) break;
      }
    }
    while (m < 0x100) m = m << 1 | bits_.bit(at[m]);
    out_.push_back(static_cast<char>(m));
    state_ = state_ < 4 ? 0 : state_ < 10 ? state_ - 3 : state_ - 6;
  }

  // How far back, from 0.
  size_t distance(size_t length) {
    const size_t slot = slots_[std::min<size_t>(length - 2, 3)].highestFirst(bits_);
    if (slot < kFirstModelled) return slot;
    const int lower = static_cast<int>(slot / 2 - 1);
    const size_t base = (2 | (slot & 1)) << lower;
    if (slot < kEndModelled) return base + lowestFirst(bits_, &near_[base - slot], lower);
    const size_t middle = size_t{bits_.even(lower - 4)} << 4;
    return base + middle + lowestFirst(bits_, aligned_.data(), 4);
  }

  size_t reach() const {
    if (distances_[0] >= out_.size()) damaged("a match before their beginning");
    return distances_[0];
  }

  void copy(size_t length, size_t size) {
    if (length > size - out_.size()) damaged("they are longer than they say");
    const size_t back = reach() + 1;
    for (; length > 0; length--) out_.push_back(out_[out_.size() - back]);
  }

  Bits bits_;
  std::vector<char> out_;
  int literalContext_;
  size_t literalMask_, positionMask_;
  int state_ = 0;
  std::array<size_t, 4> distances_{};
  std::vector<Probability> literals_;
  Probability isMatch_[kStates][16], isLong_[kStates][16];
  Probability isRepeated_[kStates], isOlder_[kStates], isSecond_[kStates], isThird_[kStates];
  Tree<6> slots_[4];
  std::array<Probability, 1 + 128 - kEndModelled> near_;
  std::array<Probability, 16> aligned_;
  Length matchLength_, repeatedLength_;
};

}  // namespace

std::vector<char> decodeLzma(const unsigned char* data, size_t bytes) {
  // One byte of properties, four of the dictionary's size (all is in memory: not needed), eight of the size.
  if (bytes < 18 || data[0] >= 9 * 5 * 5) damaged("their header");
  uint64_t size = 0;
  for (int i = 7; i >= 0; i--) size = size << 8 | data[5 + i];
  if (size > uint64_t{bytes} * 10000) damaged("their size");
  return Decoder(data[0], data + 13, data + bytes, static_cast<size_t>(size)).take();
}

}  // namespace clip::cuda
