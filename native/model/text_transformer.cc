#include "model/text_transformer.h"

#include <algorithm>

#include "model/transformer.h"

namespace clip {
namespace {

// On the backend's side, `padding` behind the values.
const int32_t* copyPadded(Arena& arena, std::vector<int32_t> values, int count, int32_t padding) {
  values.resize(count, padding);
  return arena.copy(values);
}

}  // namespace

bool encodeTextChunk(const Pass& pass, const TextConfig& c, const TextWeights& w, int embedDim,
                     const TrieChunk& chunk, float* const* out) {
  Arena& arena = pass.arena;
  const Backend& backend = pass.backend;
  const Ops ops(backend, pass.context);
  const int rows = backend.bucket(chunk.rows());
  const bool all = pass.output == Output::tokens, joint = pass.output == Output::embedding;

  // Texts that are equal share their end row: in the chunk's order they are neighbours.
  std::vector<int32_t> ends, endOf;
  for (const int32_t row : chunk.end) {
    if (ends.empty() || ends.back() != row) ends.push_back(row);
    endOf.push_back(static_cast<int32_t>(ends.size()) - 1);
  }
  const int pooledRows = backend.bucket(static_cast<int>(ends.size())), results = all ? rows : pooledRows;

  // What comes from outside. A padding query asks what the last one asks.
  const int32_t* ids = copyPadded(arena, chunk.ids, rows, -1);
  const int32_t* position = copyPadded(arena, chunk.position, rows, 0);
  const int32_t* end = copyPadded(arena, ends, pooledRows, ends.back());
  const Sequences sequences{.rows = rows,
                            .mask = chunk.plain ? Mask::causal : Mask::tree,
                            .first = copyPadded(arena, chunk.first, rows, -1),
                            .parent = chunk.plain ? nullptr : copyPadded(arena, chunk.parent, rows, -2)};

  TransformerBuffers buffers(arena, c, rows, pass.dtype);
  const Activations normed = arena.rows(results, c.width, Dtype::float32);
  const Activations embedding = arena.rows(pooledRows, embedDim, Dtype::float32);

  bool finished = true;
  const Plan plan = planOf(pass, Plan::text, rows, pooledRows, c.contextLength, chunk.plain ? 1 : 0);
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
  backend.end(pass.context, finished);
  if (!finished) return false;

  if (!all) {
    const HostRows host(pass, joint ? embedding : normed, static_cast<int>(ends.size()));
    for (int i = 0; i < chunk.texts; i++) std::copy_n(host.row(endOf[i]), joint ? embedDim : c.width, out[i]);
    return true;
  }
  // A text's tokens are the path from its end up to the root.
  const HostRows host(pass, normed, chunk.rows());
  for (int i = 0; i < chunk.texts; i++)
    for (int32_t row = chunk.end[i]; row >= 0; row = chunk.parent[row])
      std::copy_n(host.row(row), c.width, out[i] + static_cast<size_t>(chunk.position[row]) * c.width);
  return true;
}

}  // namespace clip
