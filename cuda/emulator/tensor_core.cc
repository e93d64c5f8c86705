#include "tensor_core.h"

namespace emulator {
namespace {

struct MatrixLoad {
  uint32_t* registers;
  SharedAddress row;
  int count;
  bool transposed;
};

void loadAll(void** all, int line) {
  const MatrixLoad& first = *static_cast<MatrixLoad*>(all[0]);
  Thread* const last = self;
  for (int m = 0; m < first.count; m++) {
    uint16_t values[8][8];
    int banks[8] = {}, waves = 0;
    for (int i = 0; i < 8; i++) {
      const SharedAddress row = static_cast<MatrixLoad*>(all[m * 8 + i])->row;
      self = &block.threads[last->warp * 32 + m * 8 + i];  // the access is attributed to this lane
      if (row.at % 16) report(line, "ldmatrix row address not 16-byte aligned");
      std::memset(values[i], 0xff, 16);
      if (touch(row.at, 16, row.low, row.high, false, line, "ldmatrix read"))
        std::memcpy(values[i], block.memory + row.at, 16);
      waves = std::max(waves, ++banks[row.at / 16 % 8]);
    }
    self = last;
    counters.matrixLoads++;
    counters.matrixLoadWaves += waves;
    for (int lane = 0; lane < 32; lane++) {
      const int g = lane / 4, t = lane % 4 * 2;
      const uint32_t low = first.transposed ? values[t][g] : values[g][t];
      const uint32_t high = first.transposed ? values[t + 1][g] : values[g][t + 1];
      static_cast<MatrixLoad*>(all[lane])->registers[m] = low | high << 16;
    }
  }
}

float towardsZero(double x) {
  const float f = static_cast<float>(x);
  return std::isfinite(f) && std::fabs(double{f}) > std::fabs(x) ? std::nextafterf(f, 0.f) : f;
}

// Adds eight products and the accumulator in the way tensor cores are known to add.
float addAligned(float c, const float* a, const float* b) {
  double terms[9], largest = 0, sum = 0;
  terms[8] = c;
  for (int i = 0; i < 8; i++) terms[i] = double{a[i]} * b[i];
  for (const double x : terms) largest = std::max(largest, std::fabs(x));
  int exponent = 0;
  std::frexp(largest, &exponent);
  const double unit = std::ldexp(1., exponent - 24);
  for (const double x : terms) sum += std::isfinite(x) && largest > 0 ? std::trunc(x / unit) * unit : x;
  return towardsZero(sum);
}

// c (16, 8) += a (16, k) b (k, 8)
void multiplyTile(float (*c)[8], const float (*a)[16], const float (*b)[8], int k) {
  if (options.sum == Sum::inOrder) {
    for (int i = 0; i < 16; i++)
      for (int l = 0; l < k; l++)
        for (int j = 0; j < 8; j++) c[i][j] += a[i][l] * b[l][j];
    return;
  }
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 8; j++) {
      float column[16];
      double exact = c[i][j];
      for (int l = 0; l < k; l++) {
        column[l] = b[l][j];
        exact += double{a[i][l]} * b[l][j];
      }
      if (options.sum == Sum::exact)
        c[i][j] = static_cast<float>(exact);
      else
        for (int l = 0; l < k; l += 8) c[i][j] = addAligned(c[i][j], a[i] + l, column + l);
    }
}

struct Product {
  float* c;
  const uint32_t *a, *b;
  int k;
  bool bfloat16;
};

void multiplyAll(void** all, int) {
  const Product& first = *static_cast<Product*>(all[0]);
  float a[16][16], b[16][8], c[16][8];
  const auto widen = [&](uint32_t bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    return first.bfloat16 ? __uint_as_float(uint32_t{half} << 16) : fromFloat16(half);
  };
  counters.mma += first.k / 8;
  for (int lane = 0; lane < 32; lane++) {
    const Product& p = *static_cast<Product*>(all[lane]);
    const int g = lane / 4, t = lane % 4 * 2;
    for (int i = 0; i < first.k / 4; i++)
      for (int h = 0; h < 2; h++) {
        a[g + (i & 1) * 8][t + (i >> 1) * 8 + h] = widen(p.a[i] >> 16 * h);
        if (i < first.k / 8) b[t + i * 8 + h][g] = widen(p.b[i] >> 16 * h);
      }
    for (int i = 0; i < 4; i++) c[g + (i >> 1) * 8][t + (i & 1)] = p.c[i];
  }
  multiplyTile(c, a, b, first.k);
  for (int lane = 0; lane < 32; lane++) {
    const Product& p = *static_cast<Product*>(all[lane]);
    for (int i = 0; i < 4; i++) p.c[i] = c[lane / 4 + (i >> 1) * 8][lane % 4 * 2 + (i & 1)];
  }
}

}  // namespace

void loadMatrices(uint32_t* registers, int count, bool transposed, SharedAddress row, int line) {
  MatrixLoad load{registers, row, count, transposed};
  collective(kMatrix, kFull, &load, line, loadAll);
}

void multiplyAdd(float* c, const uint32_t* a, const uint32_t* b, int k, bool bfloat16, int line) {
  Product product{c, a, b, k, bfloat16};
  collective(kMma, kFull, &product, line, multiplyAll);
}

uint16_t roundToBfloat16(float value) {
  const uint32_t bits = __float_as_uint(value);
  if (value != value) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t roundToFloat16(float value) {
  if (value != value) return 0x7fff;
  const _Float16 half = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}

float fromFloat16(uint16_t bits) {
  _Float16 half;
  std::memcpy(&half, &bits, 2);
  return static_cast<float>(half);
}

}  // namespace emulator
