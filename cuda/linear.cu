// Products of 16-bit matrices. linear.h describes what the two families have in common.
#include "linear.h"

#include "epilogue.cuh"
#include "tile.cuh"

namespace clip::cuda {
namespace {

// Copies 8 inputs of a row of x, with zeros after the last input and the last row.
__device__ __forceinline__ void copyInputs(SharedAddress to, const Linear& l, int row, int input) {
  const int bytes = row < l.rows ? (l.in - input) * 2 : 0;
  const char* from = rowOf(l.x, row < l.rows ? row : 0) + (bytes > 0 ? size_t(input) * 2 : 0);
  copyAsync16(to, from, bytes <= 0 ? 0 : bytes < 16 ? bytes : 16);
}
// Copies 8 inputs of an output's weights, which are padded with zeros.
__device__ __forceinline__ void copyWeights(SharedAddress to, const Linear& l, int output, int input) {
  const bool inside = output < l.out && input < packedInputs(l.in);
  const auto* w = static_cast<const uint16_t*>(l.w);
  copyAsync16(to, inside ? w + size_t(output) * packedInputs(l.in) + input : w, inside ? 16 : 0);
}

template <class T>
__device__ __forceinline__ void square(const Linear& l) {
  using Block =
      Tile<T, linear::kSquare, linear::kSquare, 2, linear::kStages, kSliceInputs / linear::kBlockInputs>;
  DYNAMIC_SHARED(memory);
  const int row0 = blockIdx.y * linear::kSquare, output0 = blockIdx.x * linear::kSquare;
  typename Block::Sums total = {};
  const auto load = [&](SharedPointer<char> rows, SharedPointer<char> weights, int stage) {
#pragma unroll
    for (int i = 0; i < linear::kSquare * 4; i += Block::kThreads) {
      const int e = i + static_cast<int>(threadIdx.x), r = e >> 2, c = e & 3, input = stage * 32 + c * 8;
      copyInputs(addressOf(rows + Block::at(r, c)), l, row0 + r, input);
      copyWeights(addressOf(weights + Block::at(r, c)), l, output0 + r, input);
    }
  };
  const bool active = row0 + static_cast<int>(threadIdx.x >> 7) * 64 < l.rows;
  Block::run(memory, ceilDiv(l.in, linear::kBlockInputs), active, load, total);
  Block::finish(memory, total, l.rows - row0,
                [&](int r, int o, float v0, float v1) { finishPair(l, row0 + r, output0 + o, v0, v1); });
}

// Four warps, each for 8 outputs, over up to four times 16 rows; all copies of a slice are in flight at once.
template <class T>
struct Skinny {
  static constexpr int kParts = kSliceInputs / 64;  // of the slice; rows of 128 bytes
  static constexpr uint32_t kRowBytes = linear::kSkinnyRows * 128,
                            kPartBytes = kRowBytes + linear::kSkinnyOutputs * 128;

  static __device__ __forceinline__ uint32_t at(int r, int c) {
    return static_cast<uint32_t>(r * 128 + ((c ^ (r & 7)) << 4));
  }

  template <int part>
  static __device__ __forceinline__ void multiply(SharedPointer<char> memory, int rows, float (&sums)[4][4]) {
    waitForCopies<kParts - 1 - part>();
    __syncthreads();
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const auto x = addressOf(sharedPart<char>(memory, part * kPartBytes, kRowBytes));
    const auto w =
        addressOf(sharedPart<char>(memory, part * kPartBytes + kRowBytes, linear::kSkinnyOutputs * 128));
#pragma unroll
    for (int k = 0; k < 2; k++) {  // 32 inputs
      uint32_t b[4];
      loadMatrices(b, w + at(warp * 8 + (lane & 7), k * 4 + (lane >> 3)));
#pragma unroll
      for (int m = 0; m < 4; m++) {
        if (m * 16 >= rows) continue;
        uint32_t a[4];
        loadMatrices(a, x + at(m * 16 + (lane & 15), k * 4 + (lane >> 4)));
        multiplyAdd16<T>(sums[m], a, b[0], b[1]);
        loadMatrices(a, x + at(m * 16 + (lane & 15), k * 4 + 2 + (lane >> 4)));
        multiplyAdd16<T>(sums[m], a, b[2], b[3]);
      }
    }
  }

  // Whether this block is the last one of its tile; then the sums of the others are in scratch.partial.
  static __device__ __forceinline__ bool last(SharedPointer<char> memory, unsigned* arrived) {
    const auto flag = sharedPart<unsigned>(memory, 0, 1);
    __threadfence();
    __syncthreads();  // all threads have written, and have read the inputs whose memory the flag reuses
    if (threadIdx.x == 0) {
      const unsigned before = atomicAdd(arrived, 1u);
      flag[0] = before == gridDim.z - 1 ? 1u : 0u;
    }
    __syncthreads();
    const unsigned isLast = flag[0];
    if (isLast && threadIdx.x == 0) *arrived = 0;
    __threadfence();
    return isLast != 0;
  }

  static __device__ __forceinline__ void run(const Linear& l, const LinearScratch& scratch) {
    DYNAMIC_SHARED(memory);
    const int row0 = blockIdx.y * linear::kSkinnyRows, output0 = blockIdx.x * linear::kSkinnyOutputs;
    const int rows = l.rows - row0 < linear::kSkinnyRows ? l.rows - row0 : linear::kSkinnyRows;
#pragma unroll
    for (int part = 0; part < kParts; part++) {
      const auto x = addressOf(sharedPart<char>(memory, part * kPartBytes, kRowBytes));
      const auto w =
          addressOf(sharedPart<char>(memory, part * kPartBytes + kRowBytes, linear::kSkinnyOutputs * 128));
      const int input0 = static_cast<int>(blockIdx.z) * kSliceInputs + part * 64;
      const int r0 = threadIdx.x >> 3, c = threadIdx.x & 7;
#pragma unroll
      for (int r = r0; r < linear::kSkinnyOutputs; r += 16)
        copyWeights(w + at(r, c), l, output0 + r, input0 + c * 8);
#pragma unroll
      for (int m = 0; m < 4; m++)
        if (m * 16 < rows) copyInputs(x + at(m * 16 + r0, c), l, row0 + m * 16 + r0, input0 + c * 8);
      commitCopies();
    }
    float sums[4][4] = {};
    multiply<0>(memory, rows, sums);
    multiply<1>(memory, rows, sums);
    multiply<2>(memory, rows, sums);
    multiply<3>(memory, rows, sums);
    if (gridDim.z > 1) {
      const size_t tile = size_t(blockIdx.y) * gridDim.x + blockIdx.x;
      // (slices, 4, 128) of four sums each: by slice, rows and thread.
      auto* partial = reinterpret_cast<float4*>(scratch.partial) + tile * gridDim.z * 512 + threadIdx.x;
#pragma unroll
      for (int m = 0; m < 4; m++)
        if (m * 16 < rows)
          partial[(blockIdx.z * 4 + m) * 128] = make_float4(sums[m][0], sums[m][1], sums[m][2], sums[m][3]);
      if (!last(memory, scratch.arrived + tile)) return;
#pragma unroll
      for (int m = 0; m < 4; m++) {
        if (m * 16 >= rows) continue;
        float total[4] = {};
        for (unsigned z = 0; z < gridDim.z; z++) {
          const float4 p = __ldcg(partial + (z * 4 + m) * 128);
          total[0] += p.x;
          total[1] += p.y;
          total[2] += p.z;
          total[3] += p.w;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) sums[m][i] = total[i];
      }
    }
    const int lane = threadIdx.x & 31, o = static_cast<int>(threadIdx.x >> 5) * 8 + (lane & 3) * 2;
    const auto tileSums = sharedPart<float2>(memory, 0, linear::kSkinnyRows * linear::kSkinnyOutputs / 2);
    __syncthreads();
#pragma unroll
    for (int m = 0; m < 4; m++) {
      SumTile<linear::kSkinnyOutputs>::put(tileSums, m * 16 + (lane >> 2), o, sums[m][0], sums[m][1]);
      SumTile<linear::kSkinnyOutputs>::put(tileSums, m * 16 + (lane >> 2) + 8, o, sums[m][2], sums[m][3]);
    }
    __syncthreads();
    SumTile<linear::kSkinnyOutputs>::template each<128>(
        tileSums, rows,
        [&](int r, int c, float v0, float v1) { finishPair(l, row0 + r, output0 + c, v0, v1); });
  }
};

}  // namespace

CLIP_KERNEL(256, clip_linear_bfloat16_square, const Linear l) { square<Bfloat16>(l); }
CLIP_KERNEL(256, clip_linear_float16_square, const Linear l) { square<Float16>(l); }
CLIP_KERNEL(128, clip_linear_bfloat16_skinny, const Linear l, const LinearScratch scratch) {
  Skinny<Bfloat16>::run(l, scratch);
}
CLIP_KERNEL(128, clip_linear_float16_skinny, const Linear l, const LinearScratch scratch) {
  Skinny<Float16>::run(l, scratch);
}

// Float32: the projections of pooled rows. A warp computes four outputs, and its lanes divide the inputs. It
// processes four rows at a time, of those assigned to its block; the sum of a row does not depend on the rows
// computed with it.
CLIP_KERNEL(128, clip_linear_float32, const Linear l) {
  constexpr int R = 4, O = 4;
  const int lane = threadIdx.x & 31, output0 = (blockIdx.x * 4 + static_cast<int>(threadIdx.x >> 5)) * O;
  if (output0 >= l.out) return;
  const float* w[O];
#pragma unroll
  for (int o = 0; o < O; o++)
    w[o] = static_cast<const float*>(l.w) + size_t(output0 + o < l.out ? output0 + o : output0) * l.in;
  for (int r0 = static_cast<int>(blockIdx.y) * R; r0 < l.rows; r0 += static_cast<int>(gridDim.y) * R) {
    const float* x[R];
#pragma unroll
    for (int r = 0; r < R; r++)
      x[r] = reinterpret_cast<const float*>(rowOf(l.x, r0 + r < l.rows ? r0 + r : r0));
    float sums[R][O] = {};
    for (int i = lane; i < l.in; i += 32) {
      float weights[O];
#pragma unroll
      for (int o = 0; o < O; o++) weights[o] = w[o][i];
#pragma unroll
      for (int r = 0; r < R; r++) {
        const float v = x[r][i];
#pragma unroll
        for (int o = 0; o < O; o++) sums[r][o] = fmaf(v, weights[o], sums[r][o]);
      }
    }
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
      for (int o = 0; o < O; o++) {
        const float sum = warpSum(sums[r][o]);
        if (lane == r * O + o && r0 + r < l.rows && output0 + o < l.out)
          storeNumber(rowOf(l.y, r0 + r), l.y.dtype, output0 + o, finish(l, r0 + r, output0 + o, sum));
      }
  }
}

}  // namespace clip::cuda
