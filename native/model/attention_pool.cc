#include "model/attention_pool.h"

#include <vector>

namespace clip {
namespace {

BlocksConfig withMlp(BlocksConfig c, int mlp) {
  c.mlp = mlp;
  return c;
}
BlocksConfig withHeads(BlocksConfig c, int heads) {
  c.heads = heads;
  return c;
}

}  // namespace

AttentionPool::AttentionPool(Arena& arena, const BlocksConfig& tower, const AttentionPoolConfig& c, int rows,
                             int results, Dtype dtype)
    : blocks_(withMlp(tower, c.mlp)),
      heads_(withHeads(tower, c.heads)),
      rows_(rows),
      results_(results),
      zero_(arena.copy(std::vector<int32_t>(static_cast<size_t>(results), 0))),
      keyValue_(arena.rows(rows, 2 * tower.width, rowDtype(dtype))),
      query_(arena.rows(results, tower.width, Dtype::float32)),
      queryIn_(rowDtype(dtype) == Dtype::float32 ? query_
                                                 : arena.rows(results, tower.width, rowDtype(dtype))),
      mixed_(arena.rows(results, tower.width, rowDtype(dtype))),
      h_(arena.rows(results, tower.width, dtype)),
      wide_(arena.rows(results, c.mlp, rowDtype(dtype))),
      hidden_(dtype == Dtype::int8 ? arena.rows(results, c.mlp, dtype) : wide_),
      y_(arena.rows(results, tower.width, Dtype::float32)) {}

void AttentionPool::run(const Ops& ops, const AttentionPoolWeights& w, const MatrixView& x,
                        const Sequences& s, const int32_t* askingRow) const {
  const int width = blocks_.width;
  // [k v] = x W_kv + b_kv
  ops.linear(x, w.keyValue, keyValue_, rows_);
  // q = W_q latent + b_q, which was computed when the weights were read
  ops.gather({.data = const_cast<float*>(w.query), .stride = query_.stride}, zero_, query_, results_, width);
  // a = softmax(q k' / sqrt(d)) v, per head
  ops.attention(ops.as(query_, queryIn_, results_, width), keyValue_, columns(keyValue_, width), mixed_, s,
                results_, askingRow, heads_);
  // y = a W_out + b_out
  ops.linear(ops.as(mixed_, h_, results_, width), w.out, y_, results_);
  // y = y + f(LN(y) W_1 + b_1) W_2 + b_2
  ops.layerNorm(y_, w.norm, h_, results_, blocks_);
  ops.linear(h_, w.fc1, wide_, results_, blocks_.activation);
  ops.linear(ops.as(wide_, hidden_, results_, blocks_.mlp), w.fc2, y_, results_, Activation::none, y_);
}

}  // namespace clip
