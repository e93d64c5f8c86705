#pragma once
// The attention pool of SigLIP's image towers ("MAP head"): one query, which is the same for all images,
// attends to all rows of an image; an MLP with a residual connection follows.
#include "model/arena.h"
#include "model/ops.h"

namespace clip {

class AttentionPool {
 public:
  // rows: those of all images; results: one per image. Allocates the memory that the pool needs.
  AttentionPool(Arena&, const BlocksConfig& tower, const AttentionPoolConfig&, int rows, int results, Dtype);

  // The pooled rows (results, width), float32, after `run`.
  const MatrixView& y() const { return y_; }

  // x: (rows, width), the rows after the final norm, in the model's dtype. askingRow: one row of each image,
  // which gives the query's position.
  void run(const Ops&, const AttentionPoolWeights&, const MatrixView& x, const Sequences&,
           const int32_t* askingRow) const;

 private:
  const BlocksConfig blocks_, heads_;  // of the MLP and of the attention
  const int rows_, results_;
  const int32_t* zero_;       // (results)
  MatrixView keyValue_;       // (rows, 2 * width)
  MatrixView query_;          // (results, width) float32
  MatrixView queryIn_;        // the same in the dtype of attention
  MatrixView mixed_, h_;      // (results, width): the attention's output, and the inputs of products
  MatrixView wide_, hidden_;  // (results, mlp): the MLP's hidden layer, and the same as an input of a product
  MatrixView y_;
};

}  // namespace clip
