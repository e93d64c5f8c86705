// The kernels that compare queries with a matrix of classes.
#include "binding/kernel_call.h"
#include "top_k.h"

namespace clip::binding {
namespace {

// Float32Array, Uint16Array of bfloat16, or Int8Array with `classScales` of its rows or without.
struct LentClasses {
  Lent<const char> data;
  Dtype dtype;
  Lent<const float> scale;
  LentClasses(KernelCall& c, int count, int dim) : dtype(c.dtype("dtype")) {
    const size_t n = rowsOf(count), width = rowsOf(dim);
    if (dtype == Dtype::bfloat16)
      data = bytes(c.array<uint16_t>("classes", {n, width}));
    else if (dtype == Dtype::int8)
      data = bytes(c.array<int8_t>("classes", {n, width}));
    else
      data = bytes(c.array<float>("classes", {n, width}));
    if (dtype == Dtype::int8 && c.has("classScales")) scale = c.array<float>("classScales", {n});
  }
  Classes on(Arrays& at) const { return {.data = at(data), .dtype = dtype, .scale = at(scale)}; }

 private:
  template <class T>
  static Lent<const char> bytes(const Lent<const T>& array) {
    return {reinterpret_cast<const char*>(array.host), array.bytes};
  }
};

// Choosing and exponentiating a score is counted as 64 products.
double productsOf(int rows, int classCount, int dim) { return double(rows) * classCount * std::max(dim, 64); }

Napi::Value cosineSoftmax(KernelCall& c) {
  const int rows = c.integer("rows"), count = c.integer("classCount"), dim = c.integer("dim");
  const float scale = static_cast<float>(c.number("logitScale")), bias = logitBias(c);
  const Score score = c.choice<Score>("as", kScores);
  const auto queries = c.array<float>("queries", {rowsOf(rows), rowsOf(dim)});
  const LentClasses classes(c, count, dim);
  const auto out = c.output<float>("out", {rowsOf(rows), rowsOf(count)});
  return c.run(productsOf(rows, count, dim), [=](const Backend& b, Context& context, Arrays& at) {
    b.cosineSoftmax(context, {.queries = at(queries),
                              .classes = classes.on(at),
                              .y = at(out),
                              .rows = rows,
                              .classCount = count,
                              .dim = dim,
                              .scale = scale,
                              .score = score,
                              .bias = bias});
  });
}

Napi::Value cosineTopK(KernelCall& c) {
  const int rows = c.integer("rows"), count = c.integer("classCount"), dim = c.integer("dim");
  const int k = c.integer("k", 1, count);
  const float scale = static_cast<float>(c.number("logitScale")), bias = logitBias(c);
  const Score score = c.choice<Score>("as", kScores);
  const auto queries = c.array<float>("queries", {rowsOf(rows), rowsOf(dim)});
  const LentClasses classes(c, count, dim);
  // What is best is kept in this process's memory on every backend.
  int32_t* const index = c.output<int32_t>("index", {rowsOf(rows), rowsOf(k)}).host;
  float* const value = c.output<float>("value", {rowsOf(rows), rowsOf(k)}).host;
  return c.run(productsOf(rows, count, dim), [=](const Backend& b, Context& context, Arrays& at) {
    std::vector<TopK> best;
    best.reserve(rowsOf(rows));
    for (size_t r = 0; r < rowsOf(rows); ++r) best.push_back({value + r * k, index + r * k, k});
    const int blocks = blocksOf(count);
    std::vector<TopKSum> sums(product({rowsOf(rows), rowsOf(blocks)}));
    b.cosineTopK(context, {.queries = at(queries),
                           .classes = classes.on(at),
                           .best = best.data(),
                           .sums = sums.data(),
                           .rows = rows,
                           .classCount = count,
                           .dim = dim,
                           .firstClass = 0,
                           .scale = scale,
                           .score = score,
                           .bias = bias});
    finishTopK(best.data(), sums.data(), blocks, rows, score);
  });
}

}  // namespace

void addCosineKernels(const AddKernel& add) {
  add("cosineSoftmax", cosineSoftmax);
  add("cosineTopK", cosineTopK);
}

}  // namespace clip::binding
