#pragma once
// clip_cosine_* and clip_info_nce*: see CosineSoftmax and InfoNce in backend.h. TopClasses below corresponds
// to CosineTopK together with finishTopK. Classes are float32 or bfloat16.
//
//   clip_cosine_scores      (CosineSoftmax, const float* unit)   unit: the queries after clip_normalise
//   clip_softmax_rows       (CosineSoftmax)                      then, for Score::probability and sigmoid
//
//   clip_cosine_top_k       (TopClasses, TopKScratch)   after clip_normalise of the queries to scratch.unit;
//                                                       once over the classes, with an online softmax
//   clip_cosine_top_k_merge (TopClasses, TopKScratch)   then
//
//   clip_info_nce           (InfoNce, InfoNceScratch)   the loss alone, no gradients
//   clip_info_nce_loss      (InfoNce, InfoNceScratch)   then
//
// Classes are processed in chunks of kChunkClasses. The results of the chunks for a query are merged in the
// order of the chunks, so that a query's bits depend only on the classes.
#include "rows.h"

namespace clip::cuda {

constexpr const char* kCosineKernels[] = {
    "clip_cosine_scores",      "clip_softmax_rows", "clip_cosine_top_k",
    "clip_cosine_top_k_merge", "clip_info_nce",     "clip_info_nce_loss",
};

constexpr int kChunkClasses = 1024, kChunkQueries = 8;  // per block
constexpr int chunksOf(int classes) { return ceilDiv(classes, kChunkClasses); }

// Contiguous rows of floats, as arguments of clip_normalise.
constexpr Normalise denseNormalise(const float* x, float* y, int rows, int cols) {
  const size_t stride = size_t(cols) * sizeof(float);
  return {.x = {.data = const_cast<float*>(x), .stride = stride, .dtype = Dtype::float32},
          .y = {.data = y, .stride = stride, .dtype = Dtype::float32},
          .rows = rows,
          .cols = cols};
}

constexpr int kScoreClasses = 32;  // per block
constexpr Launch cosineScoresLaunch(const CosineSoftmax& c) {
  return {"clip_cosine_scores", static_cast<unsigned>(ceilDiv(c.classCount, kScoreClasses)), 1, 1, 128, 0};
}
constexpr Launch softmaxRowsLaunch(const CosineSoftmax& c) {
  return {"clip_softmax_rows", static_cast<unsigned>(c.rows), 1, 1, 256, 8 * sizeof(float)};
}

// The sums for each query and chunk: (chunks, rows) each.
struct ChunkSums {
  float* most;  // the largest score
  float* sum;   // of exp(score - most)
};

// The k best classes of each query, best first; equal scores by lower index, NaN above any number.
struct TopClasses {
  const float* queries;  // (rows, dim), dense
  Classes classes;       // (classCount, dim)
  int32_t* index;        // (rows, k)
  float* value;          // (rows, k); probabilities are relative to all classes
  int rows, classCount, dim, k;
  float scale;
  Score score;  // not sigmoid, whose scores are ranked as logits
  float bias = 0;
};
struct TopKScratch {
  float* unit;  // (rows, dim): the queries, normalized to length 1
  ChunkSums sums;
  float* value;    // (chunks, rows, keptOf(k)): the best of each chunk, best first
  int32_t* index;  // the same shape
  int32_t* head;   // (chunks, rows)
};
constexpr int keptOf(int k) { return k < kChunkClasses ? k : kChunkClasses; }

namespace cosine {
constexpr uint32_t kShared = kChunkQueries * kChunkClasses * sizeof(float);
}
constexpr Launch cosineTopKLaunch(const TopClasses& c) {
  return {"clip_cosine_top_k",
          static_cast<unsigned>(ceilDiv(c.rows, kChunkQueries)),
          static_cast<unsigned>(chunksOf(c.classCount)),
          1,
          256,
          cosine::kShared};
}
constexpr Launch cosineTopKMergeLaunch(const TopClasses& c) {
  return rowLaunch("clip_cosine_top_k_merge", c.rows);
}

struct InfoNceScratch {
  ChunkSums sums[2];  // images as queries, texts as queries: (chunks, rows) each
  float* diagonal;    // (rows): scale * images[i] . texts[i]
  float* loss;        // one number: becomes InfoNce::loss
};
constexpr Launch infoNceLaunch(const InfoNce& n) {
  return {"clip_info_nce",
          static_cast<unsigned>(ceilDiv(n.rows, kChunkQueries)),
          static_cast<unsigned>(chunksOf(n.rows)),
          2,
          256,
          cosine::kShared};
}
constexpr Launch infoNceLossLaunch() { return {"clip_info_nce_loss", 1, 1, 1, 256, 8 * sizeof(float)}; }

}  // namespace clip::cuda
