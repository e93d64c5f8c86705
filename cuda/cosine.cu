#include "cosine.h"

#include "scores.cuh"

namespace clip::cuda {
namespace {

// A score's rank as an integer: larger is better, NaN is best, -0 ranks like 0.
__device__ __forceinline__ uint32_t rankOf(float score) {
  if (score != score) return 0xffffffffu;
  const uint32_t bits = __float_as_uint(score == 0.f ? 0.f : score);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// A candidate. Worse ones have a lower rank, or the same rank and a higher index.
struct Candidate {
  uint32_t rank;
  int index;
  __device__ __forceinline__ bool before(const Candidate& other) const {
    return rank > other.rank || (rank == other.rank && index < other.index);
  }
};
constexpr int kNobody = 0x7fffffff;

__device__ __forceinline__ Candidate bestOfWarp(Candidate c) {
#pragma unroll
  for (int bits = 16; bits; bits >>= 1) {
    const Candidate other{__shfl_xor_sync(kAllLanes, c.rank, bits),
                          __shfl_xor_sync(kAllLanes, c.index, bits)};
    if (other.before(c)) c = other;
  }
  return c;
}

}  // namespace

CLIP_KERNEL(128, clip_cosine_scores, const CosineSoftmax c, const float* unit) {
  const float factor = c.score == Score::cosine ? 1.f : c.scale;
  const int first = static_cast<int>(blockIdx.x) * kScoreClasses + static_cast<int>(threadIdx.x >> 5);
  for (int j = first; j < first + kScoreClasses && j < c.classCount; j += 4) {
    if (j >= static_cast<int>(blockIdx.x + 1) * kScoreClasses) break;
    for (int q0 = 0; q0 < c.rows; q0 += kChunkQueries)
      scoreClass(unit + size_t(q0) * c.dim, c.rows - q0 < kChunkQueries ? c.rows - q0 : kChunkQueries,
                 classRow(c.classes, j, c.dim), c.classes.dtype, c.dim, factor, biasOf(c), true,
                 [&](int q, float score) { c.y[size_t(q0 + q) * c.classCount + j] = score; });
  }
}

// One block per row of y, in place: turns logits into probabilities, by the softmax or by the sigmoid.
CLIP_KERNEL(256, clip_softmax_rows, const CosineSoftmax c) {
  DYNAMIC_SHARED(memory);
  const auto eight = sharedPart<float>(memory, 0, 8);
  float* y = c.y + size_t(blockIdx.x) * c.classCount;
  if (c.score == Score::sigmoid) {
    for (int j = threadIdx.x; j < c.classCount; j += 256) {
      const float z = y[j], e = exponential(-fabsf(z));
      y[j] = (z < 0.f ? e : 1.f) / (1.f + e);
    }
    return;
  }
  const auto larger = [](float a, float b) { return fmaxf(a, b); };
  const auto plus = [](float a, float b) { return a + b; };
  float most = -INFINITY, sum = 0.f;
  for (int j = threadIdx.x; j < c.classCount; j += 256) most = fmaxf(most, y[j]);
  most = overBlock(
      eight, most, [](float v) { return warpMax(v); }, larger);
  for (int j = threadIdx.x; j < c.classCount; j += 256) {
    const float e = exponential(y[j] - most);
    y[j] = e;
    sum += e;
  }
  sum = overBlock(
      eight, sum, [](float v) { return warpSum(v); }, plus);
  for (int j = threadIdx.x; j < c.classCount; j += 256) y[j] /= sum;
}

// A block scores 8 queries and a chunk of the classes; then each warp processes one query: its sums and its
// best classes.
CLIP_KERNEL(256, clip_cosine_top_k, const TopClasses c, const TopKScratch scratch) {
  DYNAMIC_SHARED(memory);
  const auto scores = sharedPart<float>(memory, 0, kChunkQueries * kChunkClasses);
  const int q0 = static_cast<int>(blockIdx.x) * kChunkQueries, chunk = static_cast<int>(blockIdx.y);
  const int queries = c.rows - q0 < kChunkQueries ? c.rows - q0 : kChunkQueries,
            first = chunk * kChunkClasses;
  const int count = c.classCount - first < kChunkClasses ? c.classCount - first : kChunkClasses;
  scoreChunk(scores, scratch.unit + size_t(q0) * c.dim, queries, c.classes, first, count, c.dim,
             c.score == Score::cosine ? 1.f : c.scale, biasOf(c), true);
  const int warp = threadIdx.x >> 5;
  if (warp >= queries) return;
  const auto mine = scores + warp * kChunkClasses;
  float most, sum;
  sumChunk(mine, count, most, sum);
  const size_t at = size_t(chunk) * c.rows + q0 + warp;
  if (laneOf() == 0) {
    scratch.sums.most[at] = most;
    scratch.sums.sum[at] = sum;
  }
  const int kept = keptOf(c.k);
  Candidate last{0xffffffffu, -1};
  for (int i = 0; i < kept && i < count; i++) {
    // The best of those that rank after the last one found.
    Candidate best{0, kNobody};
    for (int j = laneOf(); j < count; j += 32) {
      const Candidate candidate{rankOf(mine[j]), j};
      if (last.before(candidate) && candidate.before(best)) best = candidate;
    }
    last = bestOfWarp(best);
    if (laneOf() == 0) {
      scratch.value[at * kept + i] = mine[last.index];
      scratch.index[at * kept + i] = first + last.index;
    }
  }
}

// One warp per query. The lists of its chunks are sorted, so it only keeps the head of each.
CLIP_KERNEL(128, clip_cosine_top_k_merge, const TopClasses c, const TopKScratch scratch) {
  const int row = warpRow(), chunks = chunksOf(c.classCount), kept = keptOf(c.k);
  if (row >= c.rows) return;
  float most, total;
  mergeChunks(scratch.sums, chunks, c.rows, row, most, total);
  for (int chunk = laneOf(); chunk < chunks; chunk += 32) scratch.head[size_t(chunk) * c.rows + row] = 0;
  for (int i = 0; i < c.k; i++) {
    Candidate best{0, kNobody};
    int from = -1;
    for (int chunk = laneOf(); chunk < chunks; chunk += 32) {
      const size_t at = size_t(chunk) * c.rows + row;
      const int head = scratch.head[at], rest = c.classCount - chunk * kChunkClasses;
      if (head >= kept || head >= rest) continue;
      const Candidate candidate{rankOf(scratch.value[at * kept + head]), scratch.index[at * kept + head]};
      if (!candidate.before(best)) continue;
      best = candidate;
      from = chunk;
    }
    const Candidate winner = bestOfWarp(best);
    if (from < 0 || best.index != winner.index) continue;
    const size_t at = size_t(from) * c.rows + row;
    const float v = scratch.value[at * kept + scratch.head[at]];
    c.index[size_t(row) * c.k + i] = winner.index;
    c.value[size_t(row) * c.k + i] = c.score == Score::probability ? exponential(v - most) / total : v;
    scratch.head[at]++;
  }
}

}  // namespace clip::cuda
