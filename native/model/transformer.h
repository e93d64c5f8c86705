#pragma once
// The residual attention blocks that both towers share (CLIP's ResidualAttentionBlock: layer norm first).
#include <vector>

#include "model/arena.h"
#include "model/ops.h"
#include "model/request.h"

namespace clip {

// Bytes of activations that each row of a pass takes.
size_t transformerRowBytes(const BlocksConfig&, Dtype);

// What the blocks of one pass write to. Everything lives in the arena until its next reset.
struct TransformerBuffers {
  TransformerBuffers(Arena&, const BlocksConfig&, int rows, Dtype);
  MatrixView x;     // (rows, width) float32: the residual stream
  MatrixView h;     // (rows, width): layer norms, the input of products
  MatrixView wide;  // (rows, max(3 * width, mlp)): q, k, v, then the MLP's hidden layer
  // int8 rows are quantised as a whole, after whatever makes them a piece at a time; otherwise these are h
  // and wide.
  MatrixView mixed;   // (rows, width) float32: the attention's output
  MatrixView hidden;  // (rows, mlp) int8: the MLP's hidden layer
};

// Which rows leave the last block.
struct Pooled {
  int count = 0;                 // 0: all rows
  const int32_t* row = nullptr;  // (count)
};

// Runs the blocks over buffers.x, asking `stopped` before each; false when it said so. Afterwards `result` is
// the residual stream of the pooled rows (count, width), or of all rows: equal bit for bit, since every op
// works on rows.
bool runBlocks(const Ops&, Arena&, const BlocksConfig&, const std::vector<BlockWeights>&, const Sequences&,
               const Pooled&, TransformerBuffers&, const Stopped&, MatrixView& result);

}  // namespace clip
