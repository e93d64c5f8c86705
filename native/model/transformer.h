#pragma once
// The residual attention blocks that both towers share: CLIP's ResidualAttentionBlock, with layer norm first,
// and BERT's layer, with layer norm last.
#include <vector>

#include "model/arena.h"
#include "model/ops.h"
#include "model/request.h"

namespace clip {

// Bytes of activations per row of a pass.
size_t transformerRowBytes(const BlocksConfig&, Dtype);

// The buffers to which the blocks of one pass write. They are in the arena and valid until its next reset.
struct TransformerBuffers {
  TransformerBuffers(Arena&, const BlocksConfig&, int rows, Dtype);
  MatrixView x;     // (rows, width) float32: the residual stream
  MatrixView h;     // (rows, width): results of layer norms or casts, inputs of products
  MatrixView wide;  // (rows, max(3 * width, mlp)): q, k, v, then the MLP's hidden layer (2 * mlp with a gate)
  // A row is quantised to int8 only when all of it is known, after an op that computes it piece by piece; for
  // other dtypes these are h and wide.
  MatrixView mixed;   // (rows, width) float32: the attention's output
  MatrixView hidden;  // (rows, mlp) int8: the MLP's hidden layer
  // Inner norms, too, read all of a row: with them, mixed and hidden are never h and wide.
  MatrixView gated;  // (rows, mlp) float32: the gated hidden layer before its norm
};

// The rows for which the last block gives results.
struct Pooled {
  int count = 0;                   // 0: all rows
  const int32_t* row = nullptr;    // (count)
  const int32_t* angle = nullptr;  // (count): Sequences::angle of these rows
};

// Runs the blocks on buffers.x and calls `stopped` before each; returns false if that returned true.
// Afterwards `result` is the residual stream of the pooled rows (count, width), or of all rows. Both have the
// same bits, since every op works on rows.
bool runBlocks(const Ops&, Arena&, const BlocksConfig&, const std::vector<BlockWeights>&, const Sequences&,
               const Pooled&, TransformerBuffers&, const Stopped&, MatrixView& result);

}  // namespace clip
