#pragma once
// Names of operations that share an instruction form; the number of a name is its index in the table.
#include <string>

namespace emulator::ptx {

enum Arithmetic { kAdd, kSub, kMul, kDiv, kRem, kMin, kMax, kAnd, kOr, kXor, kCopySign };
constexpr const char* kArithmetic[] = {"add", "sub", "mul", "div", "rem",     "min",
                                       "max", "and", "or",  "xor", "copysign"};
enum Unary { kNeg, kAbs, kNot, kRcp, kSqrt, kRsqrt, kEx2, kLg2, kPopc };
constexpr const char* kUnary[] = {"neg", "abs", "not", "rcp", "sqrt", "rsqrt", "ex2", "lg2", "popc"};
enum Comparison { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };
constexpr const char* kComparisons[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                        "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
enum Multiply { kLow, kHigh, kWide };
constexpr const char* kMultiply[] = {"lo", "hi", "wide"};
enum Rounding { kNoRounding, kNearest, kToZero, kIntegerToZero, kIntegerNearest, kIntegerDown, kIntegerUp };
constexpr const char* kRounding[] = {"", "rn", "rz", "rzi", "rni", "rmi", "rpi"};

template <size_t n>
inline int codeOf(const char* const (&names)[n], const std::string& name) {
  for (size_t i = 0; i < n; i++)
    if (name == names[i]) return static_cast<int>(i);
  return -1;
}

}  // namespace emulator::ptx
