#include "model/text_transformer.h"

#include <algorithm>

#include "model/transformer.h"

namespace clip {

bool encodeTextChunk(const Pass& pass, const TextConfig& c, const TextWeights& w, int embedDim,
                     const TrieChunk& chunk, float* const* out) {
  Arena& arena = pass.arena;
  const Backend& backend = pass.backend;
  const Ops ops(backend, pass.context);
  const int rows = chunk.rows();
  const bool all = pass.output == Output::tokens, joint = pass.output == Output::embedding;

  // Texts that are equal share their end row: in the chunk's order they are neighbours.
  std::vector<int32_t> ends, endOf;
  for (const int32_t row : chunk.end) {
    if (ends.empty() || ends.back() != row) ends.push_back(row);
    endOf.push_back(static_cast<int32_t>(ends.size()) - 1);
  }
  const int pooledRows = static_cast<int>(ends.size()), results = all ? rows : pooledRows;

  // What comes from outside.
  const int32_t* ids = arena.copy(chunk.ids);
  const int32_t* position = arena.copy(chunk.position);
  const int32_t* end = arena.copy(ends);
  const Sequences sequences{.rows = rows,
                            .mask = chunk.plain ? Mask::causal : Mask::tree,
                            .first = arena.copy(chunk.first),
                            .parent = chunk.plain ? nullptr : arena.copy(chunk.parent)};

  TransformerBuffers buffers(arena, c, rows, pass.dtype);
  const Activations normed = arena.rows(results, c.width, Dtype::float32);
  const Activations embedding = arena.rows(pooledRows, embedDim, Dtype::float32);

  bool finished = true;
  const Plan plan{.tower = Plan::text, .rowsBucket = rows, .sequencesBucket = pooledRows};
  if (!backend.begin(pass.context, plan)) {
    // x = token[id] + position[depth]
    backend.embed(pass.context, {.table = w.token,
                                 .tableStride = w.tokenStride,
                                 .tableDtype = w.tokenDtype,
                                 .ids = ids,
                                 .positions = w.position,
                                 .position = position,
                                 .y = buffers.x,
                                 .rows = rows,
                                 .cols = c.width});
    // x = the blocks; of the last one only the end tokens' rows, unless all are asked for
    const Pooled pooled = all ? Pooled{} : Pooled{.count = pooledRows, .row = end};
    Activations x;
    finished = runBlocks(ops, arena, c, w.blocks, sequences, pooled, buffers, pass.stopped, x);
    if (finished) {
      // y = LN_final(x)
      ops.layerNorm(x, w.finalNorm, normed, results, c);
      // z = y W_projection
      if (joint) ops.linear(normed, w.projection, embedding, pooledRows);
      // z / |z|
      if (pass.normalise) ops.normalise(joint ? embedding : normed, results, joint ? embedDim : c.width);
    }
  }
  backend.end(pass.context);
  if (!finished) return false;

  if (!all) {
    const HostRows host(backend, joint ? embedding : normed, pooledRows);
    for (int i = 0; i < chunk.texts; i++) std::copy_n(host.row(endOf[i]), joint ? embedDim : c.width, out[i]);
    return true;
  }
  // A text's tokens are the path from its end up to the root.
  const HostRows host(backend, normed, rows);
  for (int i = 0; i < chunk.texts; i++)
    for (int32_t row = chunk.end[i]; row >= 0; row = chunk.parent[row])
      std::copy_n(host.row(row), c.width, out[i] + static_cast<size_t>(chunk.position[row]) * c.width);
  return true;
}

}  // namespace clip
