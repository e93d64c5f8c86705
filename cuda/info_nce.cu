#include "cosine.h"

#include "scores.cuh"

namespace clip::cuda {

// A block computes 8 images and a chunk of the texts (z = 0), or 8 texts and a chunk of the images (z = 1).
CLIP_KERNEL(256, clip_info_nce, const InfoNce n, const InfoNceScratch scratch) {
  DYNAMIC_SHARED(memory);
  const auto scores = sharedPart<float>(memory, 0, kChunkQueries * kChunkClasses);
  const bool imagesAsk = blockIdx.z == 0;
  const int q0 = static_cast<int>(blockIdx.x) * kChunkQueries,
            first = static_cast<int>(blockIdx.y) * kChunkClasses;
  const int queries = n.rows - q0 < kChunkQueries ? n.rows - q0 : kChunkQueries;
  const int count = n.rows - first < kChunkClasses ? n.rows - first : kChunkClasses;
  scoreChunk(scores, (imagesAsk ? n.images : n.texts) + size_t(q0) * n.dim, queries,
             Classes{imagesAsk ? n.texts : n.images}, first, count, n.dim, n.scale, -0.f, false);
  const int warp = threadIdx.x >> 5, row = q0 + warp;
  if (warp >= queries) return;
  const auto mine = scores + warp * kChunkClasses;
  float most, sum;
  sumChunk(mine, count, most, sum);
  if (laneOf() != 0) return;
  const ChunkSums sums = imagesAsk ? scratch.sums[0] : scratch.sums[1];
  sums.most[size_t(blockIdx.y) * n.rows + row] = most;
  sums.sum[size_t(blockIdx.y) * n.rows + row] = sum;
  if (imagesAsk && row >= first && row < first + count) scratch.diagonal[row] = mine[row - first];
}

// One block; a warp computes one pair after the other.
CLIP_KERNEL(256, clip_info_nce_loss, const InfoNce n, const InfoNceScratch scratch) {
  DYNAMIC_SHARED(memory);
  const auto eight = sharedPart<float>(memory, 0, 8);
  const int chunks = chunksOf(n.rows);
  float loss = 0.f;
  for (int row = threadIdx.x >> 5; row < n.rows; row += 8) {
    float both = 0.f;
#pragma unroll
    for (int z = 0; z < 2; z++) {
      float most, total;
      mergeChunks(scratch.sums[z], chunks, n.rows, row, most, total);
      both += most + logf(total) - scratch.diagonal[row];
    }
    loss += both;
  }
  // All lanes of a warp have the same sum.
  loss = overBlock(
      eight, loss, [](float v) { return v; }, [](float a, float b) { return a + b; });
  if (threadIdx.x == 0) *scratch.loss = loss / (2.f * static_cast<float>(n.rows));
}

}  // namespace clip::cuda
