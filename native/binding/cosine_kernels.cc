// The kernels that compare queries with a matrix of classes.
#include "binding/kernel_call.h"
#include "top_k.h"

namespace clip::binding {
namespace {

// Float32Array, Uint16Array of bfloat16, or Int8Array with `classScales` of its rows or without.
Classes readClasses(Call& c, int count, int dim) {
  const size_t n = rowsOf(count), width = rowsOf(dim);
  switch (c.dtype("dtype")) {
    case Dtype::bfloat16:
      return {.data = c.array<uint16_t>("classes", {n, width}), .dtype = Dtype::bfloat16};
    case Dtype::int8:
      return {.data = c.array<int8_t>("classes", {n, width}),
              .dtype = Dtype::int8,
              .scale = c.has("classScales") ? c.array<float>("classScales", {n}) : nullptr};
    default:
      return {.data = c.array<float>("classes", {n, width}), .dtype = Dtype::float32};
  }
}

Napi::Value cosineSoftmax(Call& c) {
  const int rows = c.integer("rows"), count = c.integer("classCount"), dim = c.integer("dim");
  const float scale = static_cast<float>(c.number("logitScale"));
  const Score score = c.choice<Score>("as", kScores);
  const auto* queries = c.array<float>("queries", {rowsOf(rows), rowsOf(dim)});
  const Classes classes = readClasses(c, count, dim);
  auto* out = c.output<float>("out", {rowsOf(rows), rowsOf(count)});
  return c.run([=](const Backend& b, Context& context) {
    b.cosineSoftmax(context, {.queries = queries,
                              .classes = classes,
                              .y = out,
                              .rows = rows,
                              .classCount = count,
                              .dim = dim,
                              .scale = scale,
                              .score = score});
  });
}

Napi::Value cosineTopK(Call& c) {
  const int rows = c.integer("rows"), count = c.integer("classCount"), dim = c.integer("dim");
  const int k = c.integer("k", 1, count);
  const float scale = static_cast<float>(c.number("logitScale"));
  const Score score = c.choice<Score>("as", kScores);
  const auto* queries = c.array<float>("queries", {rowsOf(rows), rowsOf(dim)});
  const Classes classes = readClasses(c, count, dim);
  auto* index = c.output<int32_t>("index", {rowsOf(rows), rowsOf(k)});
  auto* value = c.output<float>("value", {rowsOf(rows), rowsOf(k)});
  return c.run([=](const Backend& b, Context& context) {
    std::vector<TopK> best;
    best.reserve(rowsOf(rows));
    for (size_t r = 0; r < rowsOf(rows); ++r) best.push_back({value + r * k, index + r * k, k});
    const int blocks = blocksOf(count);
    std::vector<TopKSum> sums(product({rowsOf(rows), rowsOf(blocks)}));
    b.cosineTopK(context, {.queries = queries,
                           .classes = classes,
                           .best = best.data(),
                           .sums = sums.data(),
                           .rows = rows,
                           .classCount = count,
                           .dim = dim,
                           .firstClass = 0,
                           .scale = scale,
                           .score = score});
    finishTopK(best.data(), sums.data(), blocks, rows, score);
  });
}

}  // namespace

void addCosineKernels(const AddKernel& add) {
  add("cosineSoftmax", cosineSoftmax);
  add("cosineTopK", cosineTopK);
}

}  // namespace clip::binding
