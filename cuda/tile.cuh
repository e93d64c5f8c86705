#pragma once
// A block's tile of a 16-bit matrix product: BM rows by BN outputs, 8 warps, in stages of 32 inputs that pass
// through shared memory by cp.async. The caller determines what the rows are: rows of a matrix, or windows of
// an image.
#include "epilogue.cuh"

namespace clip::cuda {

// kSlice: the number of stages after which the sum restarts from zero and is added to the total; 0: never.
template <class T, int BM, int BN, int kWarpRows, int kStages, int kSlice>
struct Tile {
  static constexpr int kThreads = 256, kWarpColumns = 8 / kWarpRows;
  static constexpr int kRowTiles = BM / kWarpRows / 16, kColumnTiles = BN / kWarpColumns / 8;
  static constexpr uint32_t kStageBytes = (BM + BN) * 64;
  using Sums = float[kRowTiles][kColumnTiles][4];

  // Byte offset of chunk c (0 to 3) of row r of 64 bytes, without bank conflicts for ldmatrix.
  static __device__ __forceinline__ uint32_t at(int r, int c) {
    return static_cast<uint32_t>(r * 64 + ((c ^ (r >> 1 & 3)) << 4));
  }

  static __device__ __forceinline__ void multiply(SharedAddress rows, SharedAddress weights, Sums& sums) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int row0 = warp / kWarpColumns * (kRowTiles * 16),
              column0 = warp % kWarpColumns * (kColumnTiles * 8);
#pragma unroll
    for (int k = 0; k < 2; k++) {
      uint32_t a[kRowTiles][4], b[kColumnTiles / 2][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; m++)
        loadMatrices(a[m], rows + at(row0 + m * 16 + (lane & 15), k * 2 + (lane >> 4)));
#pragma unroll
      for (int n = 0; n < kColumnTiles / 2; n++)
        loadMatrices(b[n],
                     weights + at(column0 + n * 16 + (lane >> 4) * 8 + (lane & 7), k * 2 + (lane >> 3 & 1)));
#pragma unroll
      for (int m = 0; m < kRowTiles; m++)
#pragma unroll
        for (int n = 0; n < kColumnTiles; n++)
          multiplyAdd16<T>(sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
    }
  }

  // load(rows, weights, stage number) starts the copies of one stage to shared memory. active: whether this
  // warp has rows.
  template <class Load>
  static __device__ __forceinline__ void run(SharedPointer<char> memory, int stages, bool active,
                                             const Load& load, Sums& total) {
    const auto rows = [&](int s) { return sharedPart<char>(memory, s % kStages * kStageBytes, BM * 64); };
    const auto weights = [&](int s) {
      return sharedPart<char>(memory, s % kStages * kStageBytes + BM * 64, BN * 64);
    };
#pragma unroll
    for (int s = 0; s < kStages - 1; s++) {
      if (s < stages) load(rows(s), weights(s), s);
      commitCopies();
    }
    Sums sums = {};
    for (int s = 0; s < stages; s++) {
      waitForCopies<kStages - 2>();
      __syncthreads();  // stage s has arrived, and all threads have finished stage s - 1
      if (s + kStages - 1 < stages) load(rows(s + kStages - 1), weights(s + kStages - 1), s + kStages - 1);
      commitCopies();
      if (active) multiply(addressOf(rows(s)), addressOf(weights(s)), kSlice ? sums : total);
      if constexpr (kSlice > 0) {
        if ((s + 1) % kSlice != 0 && s + 1 != stages) continue;
#pragma unroll
        for (int m = 0; m < kRowTiles; m++)
#pragma unroll
          for (int n = 0; n < kColumnTiles; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
              total[m][n][i] += sums[m][n][i];
              sums[m][n][i] = 0.f;
            }
      }
    }
  }

  // Calls store(row, output, v0, v1) for every pair of sums in the first `rows` rows of the tile.
  template <class Store>
  static __device__ __forceinline__ void finish(SharedPointer<char> memory, const Sums& total, int rows,
                                                const Store& store) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int row0 = warp / kWarpColumns * (kRowTiles * 16) + (lane >> 2);
    const int column0 = warp % kWarpColumns * (kColumnTiles * 8) + (lane & 3) * 2;
    const auto sums = sharedPart<float2>(memory, 0, BM * BN / 2);
    __syncthreads();
#pragma unroll
    for (int m = 0; m < kRowTiles; m++)
#pragma unroll
      for (int n = 0; n < kColumnTiles; n++) {
        SumTile<BN>::put(sums, row0 + m * 16, column0 + n * 8, total[m][n][0], total[m][n][1]);
        SumTile<BN>::put(sums, row0 + m * 16 + 8, column0 + n * 8, total[m][n][2], total[m][n][3]);
      }
    __syncthreads();
    SumTile<BN>::template each<kThreads>(sums, rows < BM ? rows : BM, store);
  }
};

}  // namespace clip::cuda
