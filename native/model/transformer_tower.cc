#include "model/transformer_tower.h"

#include "model/attention_pool.h"
#include "model/tail.h"
#include "model/transformer.h"

namespace clip {

std::optional<HostRows> runTransformer(const Pass& pass, const TransformerConfig& c,
                                       const TransformerWeights& w, const TowerRows& in,
                                       const std::function<RowTable(const Ops&)>& table) {
  Arena& arena = pass.arena;
  const Backend& backend = pass.backend;
  const Ops ops(backend, pass.context);
  const BlocksConfig& blocks = c.blocks;
  const int rows = static_cast<int>(in.id.size()), asking = static_cast<int>(in.pooled.size());
  const bool all = pass.output == Output::tokens,
             sequenceMean = !all && in.tower == GraphKey::text && c.pool == PoolKind::mean,
             mean = !all && asking > in.results, attention = !all && c.pool == PoolKind::attention,
             normFirst = attention || (mean && c.normFirst);
  const int results = all ? rows : in.results;

  // Inputs.
  const int32_t* id = arena.copy(in.id);
  const int32_t* position = arena.copy(in.position);
  const int32_t* pooledRow = arena.copy(in.pooled);
  std::vector<int32_t> pooledAngle;
  if (w.rope)
    for (const int32_t row : in.pooled) pooledAngle.push_back(in.angle[static_cast<size_t>(row)]);
  const int32_t* askingAngle = w.rope ? arena.copy(pooledAngle) : nullptr;
  const Sequences sequences{.rows = rows,
                            .mask = in.mask,
                            .first = arena.copy(in.first),
                            .parent = in.mask == Mask::tree ? arena.copy(in.parent) : nullptr,
                            .angles = w.rope,
                            .angle = w.rope ? arena.copy(in.angle) : nullptr};

  // Intermediate results.
  TransformerBuffers buffers(arena, blocks, rows, pass.dtype);
  const MatrixView embedded = c.preNorm ? arena.rows(rows, blocks.width, Dtype::float32) : buffers.x;
  const MatrixView means =
      mean || sequenceMean ? arena.rows(results, blocks.width, Dtype::float32) : MatrixView{};
  const MatrixView normed = arena.rows(results, blocks.width, Dtype::float32);
  MatrixView zeros = means;
  if (sequenceMean) {
    const std::vector<float> values(results * (means.stride / sizeof(float)));
    zeros.data = arena.copy(values);
  }
  const MatrixView normedRows =
      mean && normFirst ? arena.rows(rows, blocks.width, Dtype::float32) : MatrixView{};
  std::optional<AttentionPool> pool;
  if (attention) pool.emplace(arena, blocks, c.attentionPool, rows, results, pass.dtype);
  const Tail tail(pass, pool ? pool->y() : normed, results, blocks.width, w.projection, w.projectionHidden,
                  c.projectionMlp.activation);

  bool finished = true;
  const GraphKey key = graphKeyOf(pass, in.tower, rows, in.results, in.longest, in.calls);
  if (!backend.begin(pass.context, key)) {
    // e = table[id] + positions[position]
    const RowTable e = table(ops);
    backend.embed(pass.context, {.table = e.data,
                                 .tableStride = e.stride,
                                 .tableDtype = e.dtype,
                                 .ids = id,
                                 .positions = w.position,
                                 .position = position,
                                 .y = embedded,
                                 .rows = rows,
                                 .cols = blocks.width});
    // x = LN_pre(e)
    if (c.preNorm) ops.layerNorm(embedded, w.preNorm, buffers.x, rows, blocks);
    // x = the blocks; the last one only for the pooled rows, unless all rows are requested
    const Pooled pooled = all || normFirst || sequenceMean
                              ? Pooled{}
                              : Pooled{.count = asking, .row = pooledRow, .angle = askingAngle};
    MatrixView x;
    finished = runBlocks(ops, arena, blocks, w.blocks, sequences, pooled, buffers, pass.stopped, x);
    if (finished && attention) {
      // y = pool(LN_final(x))
      ops.layerNorm(x, w.finalNorm, buffers.h, rows, blocks);
      pool->run(ops, w.attentionPool, buffers.h, sequences, pooledRow);
      tail.run(ops);
    } else if (finished && normFirst) {
      // y = the mean of each result's rows of LN_final(x)
      ops.layerNorm(x, w.finalNorm, normedRows, rows, blocks);
      ops.mean(normedRows, normed, results, rows / results, blocks.width);
      tail.run(ops);
    } else if (finished) {
      // x = the mean of each result's rows
      if (mean) ops.mean(x, means, results, asking / results, blocks.width);
      if (sequenceMean) ops.sequenceMean(zeros, x, means, sequences, asking, pooledRow, blocks);
      const MatrixView& y = mean || sequenceMean ? means : x;
      // y = LN_final(x), or x
      if (c.finalNorm)
        ops.layerNorm(y, w.finalNorm, normed, results, blocks);
      else
        ops.copy(y, normed, results, blocks.width);
      tail.run(ops);
    }
  }
  backend.end(pass.context, finished);
  if (!finished) return std::nullopt;
  return tail.results(pass, all ? in.usedRows : in.usedResults);
}

}  // namespace clip
