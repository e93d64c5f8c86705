// The instructions that work on one lane at a time and do not access memory.
#include <cmath>

#include "ptx_tables.h"
#include "ptx_warp.h"
#include "tensor_core.h"

namespace emulator::ptx {
namespace {

bool isSigned(Type t) { return t == Type::s8 || t == Type::s16 || t == Type::s32 || t == Type::s64; }

// The low bytes of a register as a signed number of the type.
int64_t signedOf(uint64_t bits, Type t) {
  switch (bytesOf(t)) {
    case 1:
      return static_cast<int8_t>(bits);
    case 2:
      return static_cast<int16_t>(bits);
    case 8:
      return static_cast<int64_t>(bits);
    default:
      return static_cast<int32_t>(bits);
  }
}
uint64_t cut(uint64_t bits, Type t) {
  const int n = bytesOf(t);
  return n == 8 ? bits : bits & ((uint64_t{1} << 8 * n) - 1);
}
uint64_t unsignedOf(uint64_t bits, Type t) { return cut(bits, t); }

float flushed(float x, bool flush) { return flush && std::fabs(x) < 0x1p-126f ? std::copysign(0.f, x) : x; }

uint64_t float32(const Instruction& i, float a, float b) {
  switch (i.code) {
    case kAdd:
      return bitsOf(flushed(a + b, i.flush));
    case kSub:
      return bitsOf(flushed(a - b, i.flush));
    case kMul:
      return bitsOf(flushed(a * b, i.flush));
    case kDiv:
      return bitsOf(flushed(a / b, i.flush));
    case kMin:
      return bitsOf(std::fmin(a, b));
    case kMax:
      return bitsOf(std::fmax(a, b));
    case kCopySign:
      return bitsOf(std::copysign(b, a));  // the sign comes from the first operand
    default:
      fault(i, "not an operation on float32");
  }
}

uint64_t integer(const Instruction& i, uint64_t a, uint64_t b) {
  const bool s = isSigned(i.type);
  const int64_t sa = signedOf(a, i.type), sb = signedOf(b, i.type);
  const uint64_t ua = unsignedOf(a, i.type), ub = unsignedOf(b, i.type);
  switch (i.code) {
    case kAdd:
      return cut(a + b, i.type);
    case kSub:
      return cut(a - b, i.type);
    case kDiv:
      if (ub == 0) fault(i, "division by zero");
      return cut(s ? static_cast<uint64_t>(sa / sb) : ua / ub, i.type);
    case kRem:
      if (ub == 0) fault(i, "division by zero");
      return cut(s ? static_cast<uint64_t>(sa % sb) : ua % ub, i.type);
    case kMin:
      return cut(s ? static_cast<uint64_t>(std::min(sa, sb)) : std::min(ua, ub), i.type);
    case kMax:
      return cut(s ? static_cast<uint64_t>(std::max(sa, sb)) : std::max(ua, ub), i.type);
    case kAnd:
      return a & b;
    case kOr:
      return a | b;
    case kXor:
      return a ^ b;
    default:
      fault(i, "not an operation on integers");
  }
}

uint64_t unary(const Instruction& i, uint64_t bits) {
  const float a = asFloat(bits);
  if (i.type == Type::f32) switch (i.code) {
      case kNeg:
        return bits ^ 0x80000000u;
      case kAbs:
        return bits & 0x7fffffffu;
      case kRcp:
        return bitsOf(flushed(1.f / a, i.flush));
      case kSqrt:
        return bitsOf(std::sqrt(a));
      case kRsqrt:
        return bitsOf(1.f / std::sqrt(a));
      case kEx2:
        return bitsOf(flushed(std::exp2(a), i.flush));
      case kLg2:
        return bitsOf(std::log2(a));
      default:
        fault(i, "not an operation on float32");
    }
  switch (i.code) {
    case kNeg:
      return cut(uint64_t{0} - bits, i.type);
    case kAbs:
      return cut(static_cast<uint64_t>(std::llabs(signedOf(bits, i.type))), i.type);
    case kNot:
      return i.type == Type::pred ? !bits : cut(~bits, i.type);
    case kPopc:
      return static_cast<uint64_t>(__builtin_popcountll(cut(bits, i.type)));
    default:
      fault(i, "not an operation on integers");
  }
}

template <class T>
bool compared(const Instruction& i, T a, T b) {
  const bool unordered = a != a || b != b;
  switch (i.code) {
    case kEq:
      return a == b;
    case kNe:
      return a != b && !unordered;
    case kLt:
      return a < b;
    case kLe:
      return a <= b;
    case kGt:
      return a > b;
    case kGe:
      return a >= b;
    case kEqu:
      return a == b || unordered;
    case kNeu:
      return a != b || unordered;
    case kLtu:
      return a < b || unordered;
    case kLeu:
      return a <= b || unordered;
    case kGtu:
      return a > b || unordered;
    case kGeu:
      return a >= b || unordered;
    case kNum:
      return !unordered;
    default:
      return unordered;
  }
}

uint64_t convert(const Instruction& i, uint64_t bits) {
  const float f = asFloat(bits);
  if (i.from == Type::f32 && i.type == Type::f32) switch (i.code) {
      case kIntegerToZero:
        return bitsOf(std::trunc(f));
      case kIntegerNearest:
        return bitsOf(std::nearbyint(f));
      case kIntegerDown:
        return bitsOf(std::floor(f));
      case kIntegerUp:
        return bitsOf(std::ceil(f));
      default:
        fault(i, "not a conversion of float32");
    }
  if (i.from == Type::f32) {
    if (i.type == Type::f16 && i.code == kNearest) return roundToFloat16(f);
    const float whole = i.code == kIntegerToZero ? std::trunc(f) : std::nearbyint(f);
    if (i.code != kIntegerToZero && i.code != kIntegerNearest) fault(i, "not a conversion of float32");
    if (!(std::fabs(whole) < 0x1p31f)) fault(i, "a float32 outside the integers");
    return cut(static_cast<uint64_t>(static_cast<int64_t>(whole)), i.type);
  }
  if (i.from == Type::f16 && i.type == Type::f32) return bitsOf(fromFloat16(static_cast<uint16_t>(bits)));
  const bool s = isSigned(i.from);
  if (i.type == Type::f32) {
    if (i.code != kNearest) fault(i, "not a conversion to float32");
    return bitsOf(s ? static_cast<float>(signedOf(bits, i.from))
                    : static_cast<float>(unsignedOf(bits, i.from)));
  }
  if (i.type == Type::f16 || i.from == Type::f16) fault(i, "not a conversion of float16");
  return cut(s ? static_cast<uint64_t>(signedOf(bits, i.from)) : unsignedOf(bits, i.from), i.type);
}

uint64_t multiply(const Instruction& i, uint64_t a, uint64_t b) {
  const bool s = isSigned(i.type);
  const __int128 product = s ? static_cast<__int128>(signedOf(a, i.type)) * signedOf(b, i.type)
                             : static_cast<__int128>(static_cast<unsigned __int128>(unsignedOf(a, i.type)) *
                                                     unsignedOf(b, i.type));
  if (i.code == kLow) return cut(static_cast<uint64_t>(product), i.type);
  if (i.code == kHigh) return cut(static_cast<uint64_t>(product >> 8 * bytesOf(i.type)), i.type);
  return bytesOf(i.type) == 2 ? static_cast<uint32_t>(product) : static_cast<uint64_t>(product);
}

uint64_t shift(const Instruction& i, uint64_t a, uint64_t count) {
  const unsigned bits = 8u * static_cast<unsigned>(bytesOf(i.type)),
                 n = std::min<unsigned>(static_cast<uint32_t>(count), bits);
  if (i.code == 1) return n >= bits ? 0 : cut(a << n, i.type);
  if (isSigned(i.type))
    return cut(static_cast<uint64_t>(signedOf(a, i.type) >> std::min(n, bits - 1)), i.type);
  return n >= bits ? 0 : unsignedOf(a, i.type) >> n;
}

uint64_t insert(uint64_t a, uint64_t b, uint64_t at, uint64_t count) {
  const uint64_t mask = ((uint64_t{1} << count) - 1) << at & 0xffffffffu;
  return (b & ~mask) | (a << at & mask);
}

// Selects bytes of b:a by the nibbles of the selector; bit 3 of a nibble replicates the byte's sign.
uint64_t permute(uint64_t a, uint64_t b, uint64_t selector) {
  const uint64_t bytes = (a & 0xffffffffu) | b << 32;
  uint64_t result = 0;
  for (unsigned n = 0; n < 4; n++) {
    const unsigned which = selector >> 4 * n & 15;
    uint64_t byte = bytes >> 8 * (which & 7) & 0xff;
    if (which & 8) byte = byte & 0x80 ? 0xff : 0;
    result |= byte << 8 * n;
  }
  return result;
}

}  // namespace

bool arithmetic(Warp& w, const Instruction& i, uint32_t mask) {
  uint64_t* d = i.to.empty() ? nullptr : w.row(i.to[0]);
  const auto in = [&](size_t n) -> const uint64_t* { return w.row(i.operands[n]); };
  const auto each = [&](auto f) { eachLane(mask, [&](int l) { d[l] = f(l); }); };
  switch (i.op) {
    case Op::mov:
      each([a = in(0)](int l) { return a[l]; });
      return true;
    case Op::halves:
      if (i.to.size() == 1) {
        each([a = in(0), b = in(1)](int l) { return (a[l] & 0xffff) | (b[l] & 0xffff) << 16; });
      } else {
        const std::array<uint64_t, 32> whole = w.rows[static_cast<size_t>(i.operands[0])];
        each([&](int l) { return whole[static_cast<size_t>(l)] & 0xffff; });
        eachLane(mask, [&](int l) { w.row(i.to[1])[l] = whole[static_cast<size_t>(l)] >> 16 & 0xffff; });
      }
      return true;
    case Op::arithmetic:
      if (i.type == Type::f32)
        each([&, a = in(0), b = in(1)](int l) { return float32(i, asFloat(a[l]), asFloat(b[l])); });
      else
        each([&, a = in(0), b = in(1)](int l) { return integer(i, a[l], b[l]); });
      return true;
    case Op::multiply:
      each([&, a = in(0), b = in(1)](int l) { return multiply(i, a[l], b[l]); });
      return true;
    case Op::multiplyAdd:
      each([&, a = in(0), b = in(1), c = in(2)](int l) { return cut(a[l] * b[l] + c[l], i.type); });
      return true;
    case Op::fma:
      each([&, a = in(0), b = in(1), c = in(2)](int l) {
        return bitsOf(flushed(std::fmaf(asFloat(a[l]), asFloat(b[l]), asFloat(c[l])), i.flush));
      });
      return true;
    case Op::unary:
      each([&, a = in(0)](int l) { return unary(i, a[l]); });
      return true;
    case Op::shift:
      each([&, a = in(0), b = in(1)](int l) { return shift(i, a[l], b[l]); });
      return true;
    case Op::bitFieldInsert:
      each([a = in(0), b = in(1), c = in(2), n = in(3)](int l) { return insert(a[l], b[l], c[l], n[l]); });
      return true;
    case Op::permute:
      each([a = in(0), b = in(1), c = in(2)](int l) { return permute(a[l], b[l], c[l]); });
      return true;
    case Op::convert:
      each([&, a = in(0)](int l) { return convert(i, a[l]); });
      return true;
    case Op::packHalves:
      each([&, a = in(0), b = in(1)](int l) {
        const auto round = i.bfloat16 ? roundToBfloat16 : roundToFloat16;
        return uint64_t{round(asFloat(a[l]))} << 16 | round(asFloat(b[l]));
      });
      return true;
    case Op::compare:
      each([&, a = in(0), b = in(1)](int l) -> uint64_t {
        if (i.type == Type::f32) return compared(i, asFloat(a[l]), asFloat(b[l]));
        if (isSigned(i.type)) return compared(i, signedOf(a[l], i.type), signedOf(b[l], i.type));
        return compared(i, unsignedOf(a[l], i.type), unsignedOf(b[l], i.type));
      });
      return true;
    case Op::select:
      each([a = in(0), b = in(1), p = in(2)](int l) { return p[l] ? a[l] : b[l]; });
      return true;
    default:
      return false;
  }
}

}  // namespace emulator::ptx
