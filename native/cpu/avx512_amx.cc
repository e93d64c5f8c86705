// avx512's bfloat16 and int8 matrix products with the tile registers of AMX (AMX-TILE, AMX-BF16, AMX-INT8).
// Nothing else is compiled for these instructions. The packed weights are the same as for the other
// arithmetics: 16 steps of a panel of 32 columns are two tile registers, laid out as in memory.
//
//   ladder, one thread of a shared Xeon of family 6 model 207 (Emerald Rapids), from the first-level cache
//   vdpbf16ps (peak.cc) 0.08 TFLOP/s
//   tiles of 10 rows 1.4, 16 1.15, 25 2.1: a product takes 16 cycles whatever its rows   kept
//   ldtilecfg 120 ns: once per height, not per tile
#include "cpu/target.h"

#if CLIP_AMX
CLIP_BEGIN_TARGET(CLIP_AVX512 ",avx512bf16,avx512vnni,amx-tile,amx-bf16,amx-int8")

namespace clip {
namespace {

#define CLIP_CONVERTS_BFLOAT16  // vcvtneps2bf16
#include "cpu/avx512.inl"
#include "cpu/products.inl"
// Adds both products of a pair to the sum, each rounded to nearest even; subnormals are flushed to zero.
CLIP_VECTOR F pairProducts(F sum, I x, I w) { return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w); }
#include "cpu/paired_bfloat16.inl"

CLIP_VECTOR I fourProducts(I sum, I x, I w) { return _mm512_dpbusd_epi32(sum, x, w); }
#include "cpu/four_int8.inl"

// A tile register holds 16 rows of 64 bytes. For 32 rows of x and a panel of 32 columns, registers 0 to 3
// hold the sums (0 and 1 those of the first 16 rows), 4 and 5 rows of x, 6 and 7 columns of w.
constexpr int kRegisterRows = 16, kRegisterBytes = 64, kRegisterSteps = kRegisterBytes / 4;
constexpr int kMatrixRows = 2 * kRegisterRows;

// The configuration that ldtilecfg reads.
struct alignas(64) Shape {
  uint8_t palette = 1, firstRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(Shape) == 64);
struct Shapes {
  Shape of[kMatrixRows + 1];  // indexed by the number of rows of x
  constexpr Shapes() : of() {
    for (int rows = 1; rows <= kMatrixRows; rows++) {
      const int upper = rows < kRegisterRows ? rows : kRegisterRows, lower = rows - upper;
      const int heights[8] = {upper, upper, lower, lower, upper, lower, kRegisterRows, kRegisterRows};
      for (int i = 0; i < 8; i++) {
        of[rows].rows[i] = uint8_t(heights[i]);
        of[rows].rowBytes[i] = heights[i] > 0 ? kRegisterBytes : 0;
      }
    }
  }
};
constexpr Shapes kShapes;

// The compilers' intrinsics do not declare the memory that they read and write.
CLIP_VECTOR void settleMemory() { asm volatile("" : : : "memory"); }

// The number of rows for which this thread's tile registers are configured; 0 if they are released, so that a
// context switch need not save them.
thread_local int registersFor = 0;
inline void shapeRegisters(int rows) {
  if (registersFor == rows) return;
  _tile_loadconfig(&kShapes.of[rows]);
  registersFor = rows;
}

// Multiplies 16 steps of up to 32 rows by those of a panel.
template <class T, bool Lower>
CLIP_VECTOR void multiplyRegisters(const char* x, size_t stride, const char* w) {
  _tile_loadd(6, w, kStepBytes);
  _tile_loadd(4, x, stride);
  _tile_loadd(7, w + kRegisterBytes, kStepBytes);
  if constexpr (Lower) _tile_loadd(5, x + kRegisterRows * stride, stride);
  if constexpr (T::dtype == Dtype::int8) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    if constexpr (Lower) {
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    }
  } else {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (Lower) {
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
}

// Like `tile` in linear.inl, for 1 to 32 rows. Steps that do not fill a register are copied and padded with
// zeros: the memory after a row of x or a panel belongs to something else and may contain NaN.
template <class T, bool Lower>
__attribute__((noinline)) void matrixTile(const char* x, size_t stride, const char* w, int rows, int steps,
                                          const char* next, int lines, bool fresh, typename T::Sum* part) {
  shapeRegisters(rows);
  char* const sums = reinterpret_cast<char*>(part);
  constexpr size_t lowerSums = size_t(kRegisterRows) * kStepBytes;
  settleMemory();
  if (fresh) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (Lower) {
      _tile_zero(2);
      _tile_zero(3);
    }
  } else {
    _tile_loadd(0, sums, kStepBytes);
    _tile_loadd(1, sums + kRegisterBytes, kStepBytes);
    if constexpr (Lower) {
      _tile_loadd(2, sums + lowerSums, kStepBytes);
      _tile_loadd(3, sums + lowerSums + kRegisterBytes, kStepBytes);
    }
  }
  int s = 0;
  for (; s + kRegisterSteps <= steps; s += kRegisterSteps) {
    for (int l = 0; l < lines * kRegisterSteps / 2; l++, next += 64) __builtin_prefetch(next, 0, 2);
    multiplyRegisters<T, Lower>(x + size_t(s) * 4, stride, w + size_t(s) * kStepBytes);
  }
  if (const int rest = steps - s; rest > 0) {
    alignas(64) char restOfX[kMatrixRows][kRegisterBytes], restOfW[kRegisterSteps][kStepBytes] = {};
    for (int i = 0; i < rows; i++)
      _mm512_store_si512(restOfX[i], loadInt(reinterpret_cast<const int32_t*>(x + i * stride) + s, rest));
    __builtin_memcpy(restOfW, w + size_t(s) * kStepBytes, size_t(rest) * kStepBytes);
    settleMemory();
    multiplyRegisters<T, Lower>(restOfX[0], kRegisterBytes, restOfW[0]);
  }
  _tile_stored(0, sums, kStepBytes);
  _tile_stored(1, sums + kRegisterBytes, kStepBytes);
  if constexpr (Lower) {
    _tile_stored(2, sums + lowerSums, kStepBytes);
    _tile_stored(3, sums + lowerSums + kRegisterBytes, kStepBytes);
  }
  settleMemory();
}

// An arithmetic whose tile is matrixTile. `Last` provides the mac for the last, incomplete step of a row.
template <class Last>
struct Matrix : Last {
  static constexpr int rows = kMatrixRows;
  struct Tile {
    int rows, lines;
    void operator()(const char* x, size_t stride, const char* w, int steps, const char* next, bool fresh,
                    typename Last::Sum* part) const {
      (rows > kRegisterRows ? matrixTile<Last, true> : matrixTile<Last, false>)(x, stride, w, rows, steps,
                                                                                next, lines, fresh, part);
    }
  };
  // Called when this thread has no more tiles for now.
  static void rest() {
    _tile_release();
    registersFor = 0;
  }
};

}  // namespace
}  // namespace clip

CLIP_END_TARGET

namespace clip::cpu {

void avx512Amx(Backend& b) {
  b.linear.set(uniform(Dtype::bfloat16), linearOf<Matrix<PairedBfloat16>>);
  b.conv.set(uniform(Dtype::bfloat16), convOf<Matrix<PairedBfloat16>>);
  b.linear.set(uniform(Dtype::int8), linearOf<Matrix<FourInt8>>);
  b.conv.set(uniform(Dtype::int8), convOf<Matrix<FourInt8>>);
}

}  // namespace clip::cpu
#endif
