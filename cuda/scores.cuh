#pragma once
// Cosine scores of queries of length 1 with rows of any length, and the sums over a chunk of them.
#include "cosine.h"
#include "exponential.cuh"
#include "row_work.cuh"

namespace clip::cuda {

// The number added to a scaled cosine. -0 changes nothing, not even the sign of a zero.
template <class Op>
__device__ __forceinline__ float biasOf(const Op& c) {
  return c.score == Score::cosine || c.bias == 0.f ? -0.f : c.bias;
}

// Calls put(q, factor * (unit[q] · row) + bias) for up to 8 queries; the product is divided by |row| if
// `cosine`. Executed by one warp.
template <class Put>
__device__ __forceinline__ void scoreClass(const float* unit, int queries, const void* row, Dtype dtype,
                                           int dim, float factor, float bias, bool cosine, const Put& put) {
  float sums[kChunkQueries] = {}, squared = 0.f;
  for (int i = laneOf(); i < dim; i += 32) {
    const float c = loadNumber(row, dtype, i);
    squared = fmaf(c, c, squared);
#pragma unroll
    for (int q = 0; q < kChunkQueries; q++)
      if (q < queries) sums[q] = fmaf(unit[size_t(q) * dim + i], c, sums[q]);
  }
  const float length = cosine ? lengthOf(warpSum(squared)) : 1.f;
#pragma unroll
  for (int q = 0; q < kChunkQueries; q++) {
    if (q >= queries) break;
    const float score = fmaf(factor, warpSum(sums[q]) / length, bias);
    if (laneOf() == q) put(q, score);
  }
}

__device__ __forceinline__ const void* classRow(const Classes& classes, int j, int dim) {
  return static_cast<const char*>(classes.data) + size_t(j) * dim * (classes.dtype == Dtype::float32 ? 4 : 2);
}

// Computes the scores of a block's queries with its chunk of classes, as (kChunkQueries, kChunkClasses) in
// shared memory. Ends with a barrier of the block.
__device__ __forceinline__ void scoreChunk(SharedPointer<float> scores, const float* unit, int queries,
                                           const Classes& classes, int first, int count, int dim,
                                           float factor, float bias, bool cosine) {
  for (int j = threadIdx.x >> 5; j < count; j += 8)
    scoreClass(unit, queries, classRow(classes, first + j, dim), classes.dtype, dim, factor, bias, cosine,
               [&](int q, float score) { scores[q * kChunkClasses + j] = score; });
  __syncthreads();
}

// The largest score of a warp's query, and the sum of exp(score - largest). A NaN may be missing from the
// maximum, but never from the sum.
__device__ __forceinline__ void sumChunk(SharedPointer<float> scores, int count, float& most, float& sum) {
  most = -INFINITY;
  for (int j = laneOf(); j < count; j += 32) most = fmaxf(most, scores[j]);
  most = warpMax(most);
  sum = 0.f;
  for (int j = laneOf(); j < count; j += 32) sum += exponential(scores[j] - most);
  sum = warpSum(sum);
}

// Merges the chunks' sums of one query. Executed by one warp.
__device__ __forceinline__ void mergeChunks(const ChunkSums& sums, int chunks, int rows, int row, float& most,
                                            float& total) {
  most = -INFINITY;
  for (int c = laneOf(); c < chunks; c += 32) most = fmaxf(most, sums.most[size_t(c) * rows + row]);
  most = warpMax(most);
  total = 0.f;
  for (int c = laneOf(); c < chunks; c += 32)
    total += sums.sum[size_t(c) * rows + row] * exponential(sums.most[size_t(c) * rows + row] - most);
  total = warpSum(total);
}

// Reduces one value per thread over a block of 256 to a sum or a maximum, which every thread gets.
template <class Warp, class Both>
__device__ __forceinline__ float overBlock(SharedPointer<float> eight, float v, const Warp& warp,
                                           const Both& both) {
  v = warp(v);
  __syncthreads();
  if (laneOf() == 0) eight[threadIdx.x >> 5] = v;
  __syncthreads();
  v = eight[0];
  for (int w = 1; w < 8; w++) v = both(v, eight[w]);
  return v;
}

}  // namespace clip::cuda
