#include <algorithm>

#include "ops/call.h"
#include "ops/cases.h"
#include "top_k.h"

namespace clip::ops {
namespace {

// A Float32Array, a Uint16Array of bfloat16, or an Int8Array with or without the `classScales` of its rows.
struct LentClasses {
  Lent<const char> data;
  Dtype dtype;
  Lent<const float> scale;
  LentClasses(Call& c, int count, int dim) : dtype(c.rowDtype("dtype")) {
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

// Selecting and exponentiating a score is counted as 64 products.
double productsOf(int rows, int classCount, int dim) { return double(rows) * classCount * std::max(dim, 64); }

}  // namespace
}  // namespace clip::ops

namespace clip::ops::cosineSoftmax {

// The cases of cosineSoftmax, and of cosineTopK for the best k (by default 5, or all if there are fewer).
// logitScale: by default 100; logitBias: by default 0. bfloat16: classes of that type. nan: one in a query
// and, for cosineSoftmax, one in a class. Under the emulators some classes are equal, and the third query is
// all zeros.
std::vector<Case> cases() {
  const Shapes cosine{{"rows", "classCount", "dim"}};
  return {
      cosine("icon-clip, 40 labels", kTested, {3, 40, 192}),
      cosine("ViT-B/32, 1000 classes", kTested, {2, 1000, 512}),
      cosine("one of everything", kTested, {1, 1, 1}),
      cosine("one class", kTested, {3, 1, 64}),
      cosine("one query", kTested, {1, 300, 512}),
      cosine("all classes asked for", kTested, {2, 19, 33}, {{"k", 19}}),
      cosine("odd sizes", kTested, {7, 37, 65}, {{"k", 4}}),
      cosine("one short of the vectors", kTested, {5, 31, 15}, {{"k", 2}}),
      cosine("one short of two vectors", kTested, {5, 31, 31}),
      cosine("blocks and a rest", kTested, {3, 600, 96}),
      cosine("logits of +-1000", kTested, {4, 50, 8}, {{"logitScale", 1000}, {"k", 6}}),
      cosine("scale 0: equal logits", kTested, {2, 33, 16}, {{"logitScale", 0}, {"k", 3}}),
      cosine("more classes than one block", kTested, {2, 5003, 24}, {{"k", 10}}),
      cosine("more than one block, few rows of a wide matrix", kTested, {9, 700, 512}, {{"k", 7}}),
      cosine("more than a stretch of exact sums", kTested, {2, 9, 2065}),
      cosine("more queries than a unit", kTested, {67, 70, 40}),
      cosine("SigLIP 2's scale and bias", kTested, {3, 77, 96},
             {{"logitScale", 112.7}, {"logitBias", -16.8}}),
      cosine("a bias and more classes than one block", kTested | kFirstLoad, {9, 333, 70},
             {{"logitScale", 10}, {"logitBias", 2.5}, {"k", 4}}),
      cosine("3 x 10 x 64", kEmulated, {3, 10, 64}),
      cosine("9 x 33 x 70, the best 33", kEmulated, {9, 33, 70}, {{"k", 33}}),
      cosine("2 x 500 x 16", kEmulated, {2, 500, 16}),
      cosine("one past a chunk", kEmulated, {2, 1025, 8}, {{"k", 4}}),
      cosine("more of the best than a chunk has", kEmulated, {1, 2100, 4}, {{"k", 1030}}),
      cosine("NaN stays in its row", kEmulated, {3, 50, 32}, {{"logitScale", 10}, {"k", 6}, {"nan", 1}}),
      cosine("classes in bfloat16", kEmulated | kFirstLoad, {5, 30, 70}, {{"bfloat16", 1}}),
      cosine("two chunks, two blocks of queries", kEmulated | kFirstLoad, {9, 1100, 64}, {{"k", 7}}),
      cosine("64 images and ImageNet's classes", kTimed, {64, 1000, 512}),
      cosine("an image and 100000 classes", kTimed, {1, 100000, 512}),
  };
}

Job prepare(Call& c) {
  const int rows = c.integer("rows"), count = c.integer("classCount"), dim = c.integer("dim");
  const float scale = static_cast<float>(c.number("logitScale")), bias = logitBias(c);
  const Score score = c.choice<Score>("as", kScores);
  const auto queries = c.array<float>("queries", {rowsOf(rows), rowsOf(dim)});
  const LentClasses classes(c, count, dim);
  const auto out = c.output<float>("out", {rowsOf(rows), rowsOf(count)});
  const auto run = [=](const Backend& b, Context& context, Arrays& at) {
    b.cosineSoftmax(context, {.queries = at(queries),
                              .classes = classes.on(at),
                              .y = at(out),
                              .rows = rows,
                              .classCount = count,
                              .dim = dim,
                              .scale = scale,
                              .score = score,
                              .bias = bias});
  };
  return {run, productsOf(rows, count, dim)};
}

}  // namespace clip::ops::cosineSoftmax

namespace clip::ops::cosineTopK {

std::vector<Case> cases() { return cosineSoftmax::cases(); }

Job prepare(Call& c) {
  const int rows = c.integer("rows"), count = c.integer("classCount"), dim = c.integer("dim");
  const int k = c.integer("k", 1, count);
  const float scale = static_cast<float>(c.number("logitScale")), bias = logitBias(c);
  const Score score = c.choice<Score>("as", kScores);
  const auto queries = c.array<float>("queries", {rowsOf(rows), rowsOf(dim)});
  const LentClasses classes(c, count, dim);
  // The best classes are kept in this process's memory on every backend.
  int32_t* const index = c.output<int32_t>("index", {rowsOf(rows), rowsOf(k)}).host;
  float* const value = c.output<float>("value", {rowsOf(rows), rowsOf(k)}).host;
  const auto run = [=](const Backend& b, Context& context, Arrays& at) {
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
  };
  return {run, productsOf(rows, count, dim)};
}

}  // namespace clip::ops::cosineTopK
