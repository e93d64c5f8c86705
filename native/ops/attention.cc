#include "ops/attention.h"

#include <algorithm>
#include <random>

#include "backend.h"
#include "ops/call.h"

namespace clip::ops::attention {
namespace {

// A Mask as a number in a case.
constexpr double kFull = double(Mask::full), kCausal = double(Mask::causal), kTree = double(Mask::tree);

// The shape of a tree. Some shapes have a parameter, treeRows.
enum Tree {
  kChain,       // one path
  kRoots,       // only roots
  kOneParent,   // every row is a child of the first
  kRandom,      // the parent is any of the last treeRows rows (all if not given); one row in 16 is a root
  kDepthFirst,  // depth-first order, as in text towers: paths of at most treeRows rows
  kLabels,      // treeRows rows that all texts begin with, then chains of one to four rows, children of the
                // last of them or of the start of the previous chain
  kComb,        // a path of treeRows rows, then branches of two rows
};
// Which rows are queries.
enum Asking {
  kAll,
  kEnds,     // the last row of each sequence, the leaves of a tree
  kOneEach,  // the last row of each sequence; the leaves of a tree
  kAny,      // as many as `queries` says, in any order, some of them twice
};

// std::mt19937 gives the same numbers on every platform. The distributions of <random> do not.
using Random = std::mt19937;
int below(Random& random, int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); }

std::vector<int32_t> parents(Tree tree, int rows, int treeRows, Random& random) {
  std::vector<int32_t> parent(rows), path;
  for (int r = 0, left = 0, start = 0; r < rows; r++) {
    switch (tree) {
      case kChain:
        parent[r] = r - 1;
        break;
      case kRoots:
        parent[r] = -1;
        break;
      case kOneParent:
        parent[r] = r ? 0 : -1;
        break;
      case kRandom:
        parent[r] = r == 0 || random() % 16 == 0 ? -1 : r - 1 - below(random, std::min(r, treeRows));
        break;
      case kDepthFirst:
        if (r > 0 && (random() % 5 == 0 || static_cast<int>(path.size()) >= treeRows))
          path.resize(below(random, static_cast<int>(path.size())));
        parent[r] = path.empty() ? -1 : path.back();
        path.push_back(r);
        break;
      case kLabels:
        parent[r] = r - 1;
        if (r < treeRows || left-- > 0) break;
        parent[r] = r > treeRows && random() % 3 == 0 ? start : treeRows - 1;
        start = r;
        left = below(random, 4);
        break;
      case kComb:
        parent[r] = r < treeRows || r % 2 ? r - 1 : below(random, treeRows);
        break;
    }
  }
  return parent;
}

std::vector<int32_t> asking(Asking which, int queries, const Lists& lists, Random& random) {
  std::vector<int32_t> row;
  if (which == kAny)
    for (int i = 0; i < queries; i++) row.push_back(i % 3 == 2 ? row.back() : below(random, lists.rows));
  for (int r = 0; r < lists.rows; r++) {
    const bool tree = lists.first.empty(), last = r + 1 == lists.rows;
    const bool end = tree ? std::find(lists.parent.begin(), lists.parent.end(), r) == lists.parent.end()
                          : last || lists.first[r + 1] == r + 1;
    if (end && which == kEnds) row.push_back(r);
    if (end && which == kOneEach) row.push_back(lists.first[r] + below(random, r - lists.first[r] + 1));
  }
  return row;
}

}  // namespace

Lists lists(const Case& c) {
  const int sequences = c["sequences"], length = c["length"];
  const bool tree = c["mask"] == kTree;
  Lists made;
  made.padding = c["padding"];
  for (int s = 0; s < sequences; s++) {
    const int begin = made.rows;
    made.rows += 1 + (length - 1 + s * c["ragged"]) % length;
    made.first.resize(made.rows, begin);
  }
  Random random(static_cast<uint32_t>(made.rows));
  if (tree) {
    made.first.clear();
    made.parent = parents(static_cast<Tree>(c["tree"]), made.rows,
                          static_cast<int>(c.number("treeRows", made.rows)), random);
  }
  made.queryRow = asking(static_cast<Asking>(c["asking"]), c["queries"], made, random);
  made.rows += made.padding;
  (tree ? made.parent : made.first).resize(made.rows, tree ? -2 : -1);
  return made;
}

// mask: the number of a Mask. ragged: the number of rows of the second sequence; each following sequence has
// that many more, modulo length. If it is not given, all sequences have `length` rows. tree, treeRows: see
// Tree; a tree is one sequence. asking, queries: see Asking. scale: the deviation of q and k. nan: q, k and v
// each have a NaN, and v has an infinity. otherOut: out is float32, or bfloat16 if the inputs are float32.
// padding: the number of padding rows at the end; they contain NaN.
std::vector<Case> cases() {
  const Shapes attention{{"sequences", "length", "heads", "headDim", "mask"}};
  return {
      attention("full, heads of 8", kTested, {2, 33, 2, 8, kFull}, {{"ragged", 19}}),
      attention("full, heads of 13", kTested, {2, 33, 2, 13, kFull}, {{"ragged", 19}}),
      attention("full, heads of 16", kTested, {2, 33, 2, 16, kFull}, {{"ragged", 19}}),
      attention("full, heads of 24", kTested, {2, 33, 2, 24, kFull}, {{"ragged", 19}}),
      attention("full, heads of 32", kTested, {2, 33, 2, 32, kFull}, {{"ragged", 19}}),
      attention("full, heads of 40", kTested, {2, 33, 2, 40, kFull}, {{"ragged", 19}}),
      attention("full, heads of 64", kTested, {2, 33, 2, 64, kFull}, {{"ragged", 19}}),
      attention("full, heads of 72", kTested, {2, 33, 2, 72, kFull}, {{"ragged", 19}}),
      attention("full, heads of 80", kTested, {2, 33, 2, 80, kFull}, {{"ragged", 19}}),
      attention("full, heads of 88", kTested, {2, 33, 2, 88, kFull}, {{"ragged", 19}}),
      attention("full, heads of 96", kTested, {2, 33, 2, 96, kFull}, {{"ragged", 19}}),
      attention("full, heads of 104", kTested, {2, 33, 2, 104, kFull}, {{"ragged", 19}}),
      attention("full, heads of 120", kTested, {2, 33, 2, 120, kFull}, {{"ragged", 19}}),
      attention("full, heads of 128", kTested, {2, 33, 2, 128, kFull}, {{"ragged", 19}}),
      attention("full, heads of 192", kTested, {2, 33, 2, 192, kFull}, {{"ragged", 19}}),
      attention("full, one token", kTested, {2, 1, 1, 64, kFull}),
      attention("full, 2 tokens", kTested, {2, 2, 1, 64, kFull}),
      attention("full, 3 tokens", kTested, {2, 3, 1, 64, kFull}),
      attention("full, 7 tokens", kTested, {2, 7, 1, 64, kFull}),
      attention("full, 8 tokens", kTested, {2, 8, 1, 64, kFull}),
      attention("full, 9 tokens", kTested, {2, 9, 1, 64, kFull}),
      attention("full, 15 tokens", kTested, {2, 15, 1, 64, kFull}),
      attention("full, 16 tokens", kTested, {2, 16, 1, 64, kFull}),
      attention("full, 17 tokens", kTested, {2, 17, 1, 64, kFull}),
      attention("full, 31 tokens", kTested, {2, 31, 1, 64, kFull}),
      attention("full, 32 tokens", kTested, {2, 32, 1, 64, kFull}),
      attention("full, 33 tokens", kTested, {2, 33, 1, 64, kFull}),
      attention("full, 63 tokens", kTested, {2, 63, 1, 64, kFull}),
      attention("full, 64 tokens", kTested, {2, 64, 1, 64, kFull}),
      attention("full, 65 tokens", kTested, {2, 65, 1, 64, kFull}),
      attention("full, 77 tokens", kTested, {2, 77, 1, 64, kFull}),
      attention("full, 50 tokens, twice", kTested, {2, 50, 2, 64, kFull}),
      attention("full, 129 tokens", kTested, {1, 129, 1, 64, kFull}),
      attention("full, 197 tokens", kTested, {1, 197, 1, 64, kFull}),
      attention("full, 257 tokens and 3", kTested, {2, 257, 1, 80, kFull}, {{"ragged", 3}}),
      attention("full, 577 tokens", kTested, {1, 577, 1, 64, kFull}),
      attention("full, many short sequences", kTested, {50, 3, 3, 64, kFull}),
      attention("full, short sequences of many lengths", kTested, {8, 20, 2, 64, kFull}, {{"ragged", 3}}),
      attention("full, logits of +-1000", kTested, {2, 20, 2, 64, kFull}, {{"ragged", 17}, {"scale", 16}}),
      attention("full, equal logits", kTested, {1, 35, 2, 64, kFull}, {{"scale", 0}}),
      attention("full, logits that underflow", kTested, {1, 35, 2, 64, kFull}, {{"scale", 1e-30}}),
      attention("full, NaN and infinity", kTested, {2, 30, 2, 64, kFull}, {{"ragged", 13}, {"nan", 1}}),
      attention("full, NaN and infinity, heads of 80", kTested, {2, 70, 2, 80, kFull},
                {{"ragged", 13}, {"nan", 1}}),
      attention("full, out of another type", kTested, {2, 37, 2, 72, kFull},
                {{"ragged", 9}, {"otherOut", 1}}),
      attention("full, the last rows ask", kTested, {5, 21, 2, 64, kFull}, {{"asking", kEnds}}),
      attention("full, the last rows of many lengths ask", kTested, {6, 77, 1, 64, kFull},
                {{"ragged", 20}, {"asking", kEnds}}),
      attention("full, one row of each sequence asks", kTested, {5, 21, 2, 64, kFull},
                {{"asking", kOneEach}}),
      attention("full, rows ask in any order, some twice", kTested, {2, 10, 2, 32, kFull},
                {{"asking", kAny}, {"queries", 7}}),
      attention("full, rows of padding", kEmulated, {2, 21, 1, 64, kFull}, {{"ragged", 7}, {"padding", 4}}),
      attention("causal, heads of 8", kTested, {2, 33, 2, 8, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 13", kTested, {2, 33, 2, 13, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 16", kTested, {2, 33, 2, 16, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 24", kTested, {2, 33, 2, 24, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 32", kTested, {2, 33, 2, 32, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 40", kTested, {2, 33, 2, 40, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 64", kTested, {2, 33, 2, 64, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 72", kTested, {2, 33, 2, 72, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 80", kTested, {2, 33, 2, 80, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 88", kTested, {2, 33, 2, 88, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 96", kTested, {2, 33, 2, 96, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 104", kTested, {2, 33, 2, 104, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 120", kTested, {2, 33, 2, 120, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 128", kTested, {2, 33, 2, 128, kCausal}, {{"ragged", 19}}),
      attention("causal, heads of 192", kTested, {2, 33, 2, 192, kCausal}, {{"ragged", 19}}),
      attention("causal, one token", kTested, {2, 1, 1, 64, kCausal}),
      attention("causal, 2 tokens", kTested, {2, 2, 1, 64, kCausal}),
      attention("causal, 3 tokens", kTested, {2, 3, 1, 64, kCausal}),
      attention("causal, 7 tokens", kTested, {2, 7, 1, 64, kCausal}),
      attention("causal, 8 tokens", kTested, {2, 8, 1, 64, kCausal}),
      attention("causal, 9 tokens", kTested, {2, 9, 1, 64, kCausal}),
      attention("causal, 15 tokens", kTested, {2, 15, 1, 64, kCausal}),
      attention("causal, 16 tokens", kTested, {2, 16, 1, 64, kCausal}),
      attention("causal, 17 tokens", kTested, {2, 17, 1, 64, kCausal}),
      attention("causal, 31 tokens", kTested, {2, 31, 1, 64, kCausal}),
      attention("causal, 32 tokens", kTested, {2, 32, 1, 64, kCausal}),
      attention("causal, 33 tokens", kTested, {2, 33, 1, 64, kCausal}),
      attention("causal, 63 tokens", kTested, {2, 63, 1, 64, kCausal}),
      attention("causal, 64 tokens", kTested, {2, 64, 1, 64, kCausal}),
      attention("causal, 65 tokens", kTested, {2, 65, 1, 64, kCausal}),
      attention("causal, 77 tokens", kTested, {2, 77, 1, 64, kCausal}),
      attention("causal, 50 tokens, twice", kTested, {2, 50, 2, 64, kCausal}),
      attention("causal, 129 tokens", kTested, {1, 129, 1, 64, kCausal}),
      attention("causal, 197 tokens", kTested, {1, 197, 1, 64, kCausal}),
      attention("causal, 257 tokens and 3", kTested, {2, 257, 1, 80, kCausal}, {{"ragged", 3}}),
      attention("causal, 577 tokens", kTested, {1, 577, 1, 64, kCausal}),
      attention("causal, many short sequences", kTested, {50, 3, 3, 64, kCausal}),
      attention("causal, short sequences of many lengths", kTested, {8, 20, 2, 64, kCausal}, {{"ragged", 3}}),
      attention("causal, logits of +-1000", kTested, {2, 20, 2, 64, kCausal},
                {{"ragged", 17}, {"scale", 16}}),
      attention("causal, equal logits", kTested, {1, 35, 2, 64, kCausal}, {{"scale", 0}}),
      attention("causal, logits that underflow", kTested, {1, 35, 2, 64, kCausal}, {{"scale", 1e-30}}),
      attention("causal, NaN and infinity", kTested, {2, 30, 2, 64, kCausal}, {{"ragged", 13}, {"nan", 1}}),
      attention("causal, NaN and infinity, heads of 80", kTested, {2, 70, 2, 80, kCausal},
                {{"ragged", 13}, {"nan", 1}}),
      attention("causal, out of another type", kTested, {2, 37, 2, 72, kCausal},
                {{"ragged", 9}, {"otherOut", 1}}),
      attention("causal, the last rows ask", kTested, {5, 21, 2, 64, kCausal}, {{"asking", kEnds}}),
      attention("causal, the last rows of many lengths ask", kTested, {6, 77, 1, 64, kCausal},
                {{"ragged", 20}, {"asking", kEnds}}),
      attention("causal, one row of each sequence asks", kTested, {5, 21, 2, 64, kCausal},
                {{"asking", kOneEach}}),
      attention("causal, rows ask in any order, some twice", kTested, {2, 10, 2, 32, kCausal},
                {{"asking", kAny}, {"queries", 7}}),
      attention("causal, rows of padding", kEmulated, {2, 21, 1, 64, kCausal},
                {{"ragged", 7}, {"padding", 4}}),
      attention("icon-clip, an image", kTested, {1, 37, 3, 64, kFull}),
      attention("ViT-B/32, an image", kTested, {1, 50, 12, 64, kFull}),
      attention("tree, of any shape", kTested, {1, 90, 2, 64, kTree}, {{"tree", kRandom}}),
      attention("tree, of any shape, heads of 80", kTested, {1, 40, 1, 80, kTree}, {{"tree", kRandom}}),
      attention("tree, of any shape, heads of 24", kTested, {1, 121, 2, 24, kTree}, {{"tree", kRandom}}),
      attention("tree, parents near", kTested, {1, 120, 2, 24, kTree}, {{"tree", kRandom}, {"treeRows", 4}}),
      attention("tree, a chain", kTested, {1, 77, 1, 64, kTree}, {{"tree", kChain}}),
      attention("tree, only roots", kTested, {1, 33, 1, 64, kTree}, {{"tree", kRoots}}),
      attention("tree, only roots, heads of 24", kTested, {1, 40, 2, 24, kTree}, {{"tree", kRoots}}),
      attention("tree, one parent", kTested, {1, 50, 2, 64, kTree}, {{"tree", kOneParent}}),
      attention("tree, depth first", kTested, {1, 90, 2, 64, kTree},
                {{"tree", kDepthFirst}, {"treeRows", 30}}),
      attention("tree, depth first, heads of 80", kTested, {1, 70, 2, 80, kTree},
                {{"tree", kDepthFirst}, {"treeRows", 70}}),
      attention("tree, labels below five tokens", kTested, {1, 150, 2, 64, kTree},
                {{"tree", kLabels}, {"treeRows", 5}}),
      attention("tree, labels below four tokens, heads of 24", kTested, {1, 150, 2, 24, kTree},
                {{"tree", kLabels}, {"treeRows", 4}}),
      attention("tree, labels below twenty tokens", kTested, {1, 120, 2, 64, kTree},
                {{"tree", kLabels}, {"treeRows", 20}}),
      attention("tree, more keys than a block of sums", kTested, {1, 860, 1, 24, kTree},
                {{"tree", kComb}, {"treeRows", 830}}),
      attention("tree, NaN and infinity", kTested, {1, 120, 2, 24, kTree},
                {{"tree", kLabels}, {"treeRows", 5}, {"nan", 1}}),
      attention("tree, NaN and infinity, depth first", kTested, {1, 70, 2, 64, kTree},
                {{"tree", kDepthFirst}, {"treeRows", 20}, {"nan", 1}}),
      attention("tree, the leaves ask", kTested, {1, 60, 2, 64, kTree},
                {{"tree", kRandom}, {"asking", kEnds}}),
      attention("tree, the ends of labels ask", kTested, {1, 150, 1, 64, kTree},
                {{"tree", kLabels}, {"treeRows", 5}, {"asking", kEnds}}),
      attention("tree, rows ask in any order", kTested, {1, 70, 1, 64, kTree},
                {{"tree", kDepthFirst}, {"treeRows", 20}, {"asking", kAny}, {"queries", 5}}),
      attention("tree, deep, rows of padding", kEmulated, {1, 200, 1, 64, kTree},
                {{"tree", kDepthFirst}, {"treeRows", 150}, {"padding", 3}}),
      attention("full, 70 tokens, 5 and padding, heads of 64", kEmulated | kFirstLoad, {2, 70, 1, 64, kFull},
                {{"ragged", 5}, {"padding", 2}}),
      attention("causal, 70 tokens, 5 and padding, heads of 80", kEmulated | kFirstLoad,
                {2, 70, 1, 80, kCausal}, {{"ragged", 5}, {"padding", 2}}),
      attention("tree of 40 and padding, heads of 88", kEmulated | kFirstLoad, {1, 40, 1, 88, kTree},
                {{"tree", kDepthFirst}, {"treeRows", 20}, {"padding", 2}}),
      attention("full, 70 tokens, 5 and padding, heads of 96", kEmulated | kFirstLoad, {2, 70, 1, 96, kFull},
                {{"ragged", 5}, {"padding", 2}}),
      attention("causal, 70 tokens, 5 and padding, heads of 128", kEmulated | kFirstLoad,
                {2, 70, 1, 128, kCausal}, {{"ragged", 5}, {"padding", 2}}),
      attention("ViT-B/32", kTimed, {1, 50, 12, 64, kFull}),
      attention("ViT-B/16", kTimed, {1, 197, 12, 64, kFull}),
      attention("ViT-L/14", kTimed, {1, 257, 16, 64, kFull}),
      attention("ViT-H-14", kTimed, {1, 257, 16, 80, kFull}),
      attention("text of 77", kTimed, {1, 77, 8, 64, kCausal}),
      attention("ten texts of 10", kTimed, {10, 10, 8, 64, kCausal}),
      attention("64 images of ViT-B/32", kTimed, {64, 50, 12, 64, kFull}),
      attention("16 images of ViT-H-14", kTimed, {16, 257, 16, 80, kFull}),
      attention("16 images of ViT-g-14", kTimed, {16, 257, 16, 88, kFull}),
      attention("16 images of ViT-bigG-14", kTimed, {16, 257, 16, 104, kFull}),
      attention("16 images, heads of 128", kTimed, {16, 257, 16, 128, kFull}),
  };
}

Job prepare(Call& c) {
  const int heads = c.integer("heads", 1, 4096), dim = c.integer("headDim", 1, 1024), cols = heads * dim;
  const Mask mask =
      c.choice<Mask>("mask", {{"full", Mask::full}, {"causal", Mask::causal}, {"tree", Mask::tree}});
  Lists lists;
  int rows = 0;
  if (mask != Mask::tree && c.has("first")) {
    const size_t n = c.length<int32_t>("first");
    if (n == 0 || n > INT32_MAX) wrong("first", "have at least one element", std::to_string(n));
    rows = static_cast<int>(n);
    lists.first = c.indices("first", n, 0, rows - 1);
    for (int r = 0; r < rows; ++r)
      if (lists.first[r] != r && (r == 0 || lists.first[r] != lists.first[r - 1]))
        wrong("first[" + std::to_string(r) + "]", "be " + std::to_string(r) + " or the number before it",
              std::to_string(lists.first[r]));
  } else {
    const int sequences = c.integer("sequences"), length = c.integer("length");
    rows = checkedRows("length", sequences, length);
    if (mask == Mask::tree) {
      lists.parent = c.indices("parent", rows, -1, rows - 1);
      for (int r = 0; r < rows; ++r)
        if (lists.parent[r] >= r)
          wrong("parent[" + std::to_string(r) + "]", "be less than " + std::to_string(r),
                std::to_string(lists.parent[r]));
    } else {
      lists.first.resize(rows);
      for (int r = 0; r < rows; ++r) lists.first[r] = r - r % length;
    }
  }
  int queries = rows;
  if (c.has("queryRow")) {
    const size_t n = c.length<int32_t>("queryRow");
    if (n == 0 || n > INT32_MAX) wrong("queryRow", "have at least one element", std::to_string(n));
    lists.queryRow = c.indices("queryRow", n, 0, rows - 1);
    queries = static_cast<int>(n);
  }
  const Dtype dtype = c.rowDtype("dtype");
  requireFloats("dtype", dtype);
  const Dtype outDtype = c.has("outDtype") ? c.rowDtype("outDtype") : dtype;
  requireFloats("outDtype", outDtype);
  const LentMatrix q = c.matrix("q", queries, cols, dtype), k = c.matrix("k", rows, cols, dtype);
  const LentMatrix v = c.matrix("v", rows, cols, dtype), out = c.outputMatrix("out", queries, cols, outDtype);
  return [=, lists = std::move(lists)](const Backend& b, Context& context, Arrays& at) {
    b.attention(context, {.q = at(q),
                          .k = at(k),
                          .v = at(v),
                          .out = at(out),
                          .rows = rows,
                          .queries = queries,
                          .queryRow = at(lists.queryRow),
                          .heads = heads,
                          .dim = dim,
                          .mask = mask,
                          .first = at(lists.first),
                          .parent = at(lists.parent)});
  };
}

}  // namespace clip::ops::attention
