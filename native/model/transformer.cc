#include "model/transformer.h"

#include <algorithm>

namespace clip {
namespace {

int wideColumns(const BlocksConfig& c) { return std::max(3 * c.width, c.gate ? 2 * c.mlp : c.mlp); }

// The input of the products of a half of a block: LN(x), or x itself if the layer norm comes last.
MatrixView inputOf(const Ops& ops, const BlocksConfig& c, const NormWeight& norm, const MatrixView& x,
                   const MatrixView& h, int rows) {
  if (c.postNorm) return ops.as(x, h, rows, c.width);
  ops.layerNorm(x, norm, h, rows, c);
  return h;
}

// x += out(attention), x += fc2(f(fc1(LN2(x)))): the second half of a block, on `rows` rows of x; with
// postNorm x = LN1(x + out(attention)), x = LN2(x + fc2(f(fc1(x)))). b.mixed holds the attention's output; h
// is overwritten.
void finishBlock(const Ops& ops, const BlocksConfig& c, const BlockWeights& w, const MatrixView& x,
                 const MatrixView& h, const TransformerBuffers& b, int rows) {
  // x = x + a W_out + b_out, with innerNorms LN(a) in place of a
  if (c.innerNorms) ops.layerNorm(b.mixed, w.attentionNorm, h, rows, c);
  ops.linear(c.innerNorms ? h : ops.as(b.mixed, h, rows, c.width), w.out, x, rows, Activation::none, x);
  // x = LN1(x)
  if (c.postNorm) ops.layerNorm(x, w.norm1, x, rows, c);
  // h = LN2(x), or x
  const MatrixView input = inputOf(ops, c, w.norm2, x, h, rows);
  // m = f(h W_1 + b_1), or LN(f(h W_g + b_g) * (h W_1 + b_1))
  MatrixView m = b.hidden;
  if (c.gate) {
    ops.linear(input, w.fc1, b.wide, rows);
    ops.gate(b.wide, columns(b.wide, c.mlp), b.gated, rows, c.mlp, *c.gate);
    ops.layerNorm(b.gated, w.mlpNorm, m, rows, c.mlp, c.layerNormEps);
  } else {
    ops.linear(input, w.fc1, b.wide, rows, c.activation);
    m = ops.as(b.wide, b.hidden, rows, c.mlp);
  }
  // x = x + m W_2 + b_2
  ops.linear(m, w.fc2, x, rows, Activation::none, x);
  // x = LN2(x)
  if (c.postNorm) ops.layerNorm(x, w.norm2, x, rows, c);
}

// Rotates the heads of queries or keys, if this tower does.
void rotate(const Ops& ops, const BlocksConfig& c, const Sequences& s, const MatrixView& x,
            const int32_t* angle, int rows, int heads) {
  if (s.angles) ops.rope(x, s.angles, angle, rows, heads, c.width / c.heads);
}

void block(const Ops& ops, const BlocksConfig& c, const BlockWeights& w, const Sequences& s,
           const TransformerBuffers& b) {
  // [q k v] = LN1(x) W_qkv + b_qkv, or x W_qkv + b_qkv
  ops.linear(inputOf(ops, c, w.norm1, b.x, b.h, s.rows), w.queryKeyValue, b.wide, s.rows);
  // q and k are next to each other
  rotate(ops, c, s, b.wide, s.angle, s.rows, 2 * c.heads);
  // a = softmax(q k' / sqrt(d)) v, per head
  ops.attention(b.wide, columns(b.wide, c.width), columns(b.wide, 2 * c.width), b.mixed, s, s.rows, nullptr,
                c);
  finishBlock(ops, c, w, b.x, b.h, b, s.rows);
}

// Only pooled rows are read after the last block, so only they have queries and go through the MLP. All rows
// have keys and values.
MatrixView lastBlock(const Ops& ops, Arena& arena, const BlocksConfig& c, const BlockWeights& w,
                     const Sequences& s, const Pooled& p, const TransformerBuffers& b) {
  const bool all = p.count == 0;
  const int queries = all ? s.rows : p.count;
  // h = LN1(x), or x
  const MatrixView input = inputOf(ops, c, w.norm1, b.x, b.h, s.rows);
  // [k v] = h W_kv + b_kv
  const MatrixView q = all ? b.wide : arena.rows(queries, c.width, b.wide.dtype);
  const MatrixView k = columns(b.wide, c.width), v = columns(b.wide, 2 * c.width);
  ops.linear(input, w.keyValue, k, s.rows);
  rotate(ops, c, s, k, s.angle, s.rows, c.heads);
  if (all) {
    // q = h W_q + b_q
    ops.linear(input, w.query, q, queries);
    rotate(ops, c, s, q, s.angle, queries, c.heads);
    // a = softmax(q k' / sqrt(d)) v
    ops.attention(q, k, v, b.mixed, s, queries, nullptr, c);
    finishBlock(ops, c, w, b.x, b.h, b, queries);
    return b.x;
  }
  const MatrixView x = arena.rows(queries, c.width, Dtype::float32);
  const MatrixView h = arena.rows(queries, c.width, b.h.dtype);
  // x = the pooled rows; q = LN1(x) W_q + b_q, or x W_q + b_q
  ops.gather(b.x, p.row, x, queries, c.width);
  ops.linear(inputOf(ops, c, w.norm1, x, h, queries), w.query, q, queries);
  rotate(ops, c, s, q, p.angle, queries, c.heads);
  // a = softmax(q k' / sqrt(d)) v: query i is at row p.row[i]
  ops.attention(q, k, v, b.mixed, s, queries, p.row, c);
  finishBlock(ops, c, w, x, h, b, queries);
  return x;
}

// Bytes per row of the buffers that only gated blocks have. Those that int8 has anyway are counted there.
size_t innerBytes(const BlocksConfig& c, Dtype dtype) {
  if (!c.innerNorms) return 0;
  const size_t width = static_cast<size_t>(c.width), mlp = static_cast<size_t>(c.mlp);
  const size_t gated = lineStride(mlp * sizeof(float));
  if (dtype == Dtype::int8) return gated;
  return gated + lineStride(width * sizeof(float)) + lineStride(mlp * bytesOf(dtype));
}

}  // namespace

size_t transformerRowBytes(const BlocksConfig& c, Dtype dtype) {
  const size_t width = static_cast<size_t>(c.width), wide = static_cast<size_t>(wideColumns(c));
  const size_t bytes = lineStride(width * bytesOf(Dtype::float32)) + lineStride(width * bytesOf(dtype)) +
                       lineStride(wide * bytesOf(rowDtype(dtype))) + innerBytes(c, dtype);
  if (dtype != Dtype::int8) return bytes;
  const size_t scales = 2 * (sizeof(float) + sizeof(int32_t));
  return bytes + lineStride(width * sizeof(float)) + lineStride(static_cast<size_t>(c.mlp)) + scales;
}

TransformerBuffers::TransformerBuffers(Arena& arena, const BlocksConfig& c, int rows, Dtype dtype)
    : x(arena.rows(rows, c.width, Dtype::float32)),
      h(arena.rows(rows, c.width, dtype)),
      wide(arena.rows(rows, wideColumns(c), rowDtype(dtype))),
      mixed(dtype == Dtype::int8 || c.innerNorms ? arena.rows(rows, c.width, Dtype::float32) : h),
      hidden(dtype == Dtype::int8 || c.innerNorms ? arena.rows(rows, c.mlp, dtype) : wide),
      gated(c.gate ? arena.rows(rows, c.mlp, Dtype::float32) : MatrixView{}) {}

bool runBlocks(const Ops& ops, Arena& arena, const BlocksConfig& c, const std::vector<BlockWeights>& blocks,
               const Sequences& s, const Pooled& pooled, TransformerBuffers& b, const Stopped& stopped,
               MatrixView& result) {
  for (size_t i = 0; i + 1 < blocks.size(); i++) {
    if (stopped && stopped()) return false;
    block(ops, c, blocks[i], s, b);
  }
  if (stopped && stopped()) return false;
  result = lastBlock(ops, arena, c, blocks.back(), s, pooled, b);
  return true;
}

}  // namespace clip
