#pragma once
// clip_cosine_* and clip_info_nce_*: backend.h, CosineSoftmax and CosineTopK; InfoNce below.
//
//   cosineSoftmax: clip_normalise (queries to unit, dense)
//                  clip_cosine_scores      (CosineSoftmax, const float* unit)
//                  clip_softmax_rows       (CosineSoftmax)               for Score::probability only
//   cosineTopK:    clip_normalise (queries to scratch.unit)
//                  clip_cosine_top_k       (CosineTopK, TopKScratch)     once over the classes, online
//                  softmax clip_cosine_top_k_merge (CosineTopK, TopKScratch)
//   infoNCE:       clip_normalise, twice (to scratch.unitImages, scratch.unitTexts)
//                  clip_info_nce           (InfoNce, InfoNceScratch)
//                  clip_info_nce_loss      (InfoNce, InfoNceScratch)
//
// Classes come in chunks of kChunkClasses; what a chunk says of a query is merged in the order of the chunks,
// so that a query's bits depend on the classes alone.
#include "rows.h"

namespace clip::cuda {

constexpr int kChunkClasses = 1024, kChunkQueries = 8;  // of a block
constexpr int chunksOf(int classes) { return ceilDiv(classes, kChunkClasses); }

// Rows of floats without gaps, as clip_normalise takes them.
constexpr Normalise denseNormalise(const float* x, float* y, int rows, int cols) {
  const size_t stride = size_t(cols) * sizeof(float);
  return {.x = {.data = const_cast<float*>(x), .stride = stride, .dtype = Dtype::float32},
          .y = {.data = y, .stride = stride, .dtype = Dtype::float32},
          .rows = rows,
          .cols = cols};
}

constexpr int kScoreClasses = 32;  // of a block
constexpr Launch cosineScoresLaunch(const CosineSoftmax& c) {
  return {"clip_cosine_scores", static_cast<unsigned>(ceilDiv(c.classCount, kScoreClasses)), 1, 1, 128, 0};
}
constexpr Launch softmaxRowsLaunch(const CosineSoftmax& c) {
  return {"clip_softmax_rows", static_cast<unsigned>(c.rows), 1, 1, 256, 8 * sizeof(float)};
}

// What is known of a query and a chunk: (chunks, rows) each.
struct ChunkSums {
  float* most;  // the largest score
  float* sum;   // of exp(score - most)
};

struct TopKScratch {
  float* unit;  // (rows, dim): the queries, of length 1
  ChunkSums sums;
  float* value;    // (chunks, rows, keptOf(k)): each chunk's best, best first
  int32_t* index;  // likewise
  int32_t* head;   // (chunks, rows)
};
constexpr int keptOf(int k) { return k < kChunkClasses ? k : kChunkClasses; }

namespace cosine {
constexpr uint32_t kShared = kChunkQueries * kChunkClasses * sizeof(float);
}
constexpr Launch cosineTopKLaunch(const CosineTopK& c) {
  return {"clip_cosine_top_k",
          static_cast<unsigned>(ceilDiv(c.rows, kChunkQueries)),
          static_cast<unsigned>(chunksOf(c.classCount)),
          1,
          256,
          cosine::kShared};
}
constexpr Launch cosineTopKMergeLaunch(const CosineTopK& c) {
  return rowLaunch("clip_cosine_top_k_merge", c.rows);
}

// loss = mean over pairs i of (log sum_j exp(s_ij) + log sum_j exp(s_ji)) / 2 - s_ii, where s_ij = scale *
// cosine(images[i], texts[j]): Radford et al. 2021, figure 3.
struct InfoNce {
  const float *images, *texts;  // (pairs, dim), dense
  float* loss;                  // one number
  int pairs, dim;
  float scale;
};
struct InfoNceScratch {
  float *unitImages, *unitTexts;  // (pairs, dim)
  ChunkSums sums[2];              // images asking, texts asking: (chunks, pairs) each
  float* diagonal;                // (pairs): s_ii
};
constexpr Launch infoNceLaunch(const InfoNce& n) {
  return {"clip_info_nce",
          static_cast<unsigned>(ceilDiv(n.pairs, kChunkQueries)),
          static_cast<unsigned>(chunksOf(n.pairs)),
          2,
          256,
          cosine::kShared};
}
constexpr Launch infoNceLossLaunch() { return {"clip_info_nce_loss", 1, 1, 1, 256, 8 * sizeof(float)}; }

}  // namespace clip::cuda
