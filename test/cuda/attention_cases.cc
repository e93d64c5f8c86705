// Compares clip_attention_* with native/reference/.
#include "attention.h"

#include <cmath>

#include "cases.h"
#include "device.h"
#include "emulator/state.h"
#include "kernel_runs.h"
#include "matrices.h"

namespace {

using namespace clip;
using device::Matrix;
using device::Values;

struct Shape {
  const char* name;
  std::vector<int> lengths;  // of the sequences; ignored for trees
  int heads, dim;
  Mask mask;
  std::vector<int32_t> queryRow = {};
  std::vector<int32_t> parent = {};
  float scale = 1;
  int padding = 0;        // padding rows at the end
  bool otherOut = false;  // out is float32 (or bfloat16 if the inputs are float32)
};

struct Inputs {
  int rows = 0;
  std::vector<int32_t> first, parent;
  explicit Inputs(const Shape& s) : parent(s.parent) {
    for (const int length : s.lengths) {
      for (int i = 0; i < length; i++) first.push_back(rows);
      rows += length;
    }
    if (s.mask == Mask::tree) {
      rows = static_cast<int>(parent.size());
      first.assign(rows, 0);
    }
  }
};

// A trie in depth-first order, like those of text towers: paths that branch off earlier rows.
std::vector<int32_t> trie(uint32_t seed, int rows, int mostDepth) {
  std::mt19937 random(seed);
  std::vector<int32_t> parent(rows), path;
  for (int r = 0; r < rows; r++) {
    if (r > 0 && (random() % 5 == 0 || static_cast<int>(path.size()) >= mostDepth))
      path.resize(random() % path.size());
    parent[r] = path.empty() ? -1 : path.back();
    path.push_back(r);
  }
  return parent;
}

struct Run {
  Attention call;
  Matrix q, k, v, out;
  Run(const Shape& s, const Inputs& in, Dtype dtype, const Values& qv, const Values& kv, const Values& vv)
      : call{},
        q(qv, dtype, 8),
        k(kv, dtype, 16),
        v(vv, dtype),
        out(qv.rows, qv.cols,
            !s.otherOut               ? dtype
            : dtype == Dtype::float32 ? Dtype::bfloat16
                                      : Dtype::float32,
            8),
        first_(device::copyOf(padded(in.first, s.padding, -1))),
        parent_(device::copyOf(padded(in.parent, s.mask == Mask::tree ? s.padding : 0, -2))),
        queryRow_(device::copyOf(s.queryRow)) {
    call = {.q = q.view(),
            .k = k.view(),
            .v = v.view(),
            .out = out.view(),
            .rows = kv.rows,
            .queries = qv.rows,
            .queryRow = s.queryRow.empty() ? nullptr : queryRow_.as<int32_t>(),
            .heads = s.heads,
            .dim = s.dim,
            .mask = s.mask,
            .first = first_.as<int32_t>(),
            .parent = s.mask == Mask::tree ? parent_.as<int32_t>() : nullptr};
  }
  void go(const device::Machine& machine) const {
    const int bound = cuda::attentionGroupBound(call, 0), depth = call.mask == Mask::tree ? call.rows : 0;
    const device::Memory count(4), groups(sizeof(cuda::AttentionGroup) * bound),
        path(size_t{4} * bound * depth);
    const cuda::AttentionGroups all{count.as<int32_t>(), groups.as<cuda::AttentionGroup>(),
                                    path.as<int32_t>(), depth};
    device::run(machine, cuda::attentionGroupsLaunch(), call, all);
    device::run(machine, cuda::attentionLaunch(call, bound), call, all);
  }

 private:
  static std::vector<int32_t> padded(std::vector<int32_t> v, int count, int32_t with) {
    v.insert(v.end(), static_cast<size_t>(count), with);
    return v;
  }
  device::Memory first_, parent_, queryRow_;
};

// The same computation by native/reference/, in float32, from the rounded inputs.
Values reference(const Shape& s, const Inputs& in, Values& q, Values& k, Values& v) {
  Values out(q.rows - (s.queryRow.empty() ? s.padding : 0), q.cols);
  referenceBackend.attention(device::referenceContext(),
                             {.q = q.view(),
                              .k = k.view(),
                              .v = v.view(),
                              .out = out.view(),
                              .rows = in.rows,
                              .queries = out.rows,
                              .queryRow = s.queryRow.empty() ? nullptr : s.queryRow.data(),
                              .heads = s.heads,
                              .dim = s.dim,
                              .mask = s.mask,
                              .first = in.first.data(),
                              .parent = in.parent.data()});
  return out;
}

double largestNorm(const Values& x, int heads) {
  double most = 0;
  const int dim = x.cols / heads;
  for (int r = 0; r < x.rows; r++)
    for (int h = 0; h < heads; h++) {
      double sum = 0;
      for (int d = 0; d < dim; d++) sum += double{x.row(r)[h * dim + d]} * x.row(r)[h * dim + d];
      if (std::isfinite(sum)) most = std::max(most, sum);
    }
  return std::sqrt(most);
}

void poison(Values& x, int row, int col) { x.row(row)[col] = std::nanf(""); }

std::string check(const device::Machine& machine, const Shape& s, Dtype dtype, bool withNan = false) {
  const Inputs in(s);
  const int rows = in.rows + s.padding;
  const int queries = s.queryRow.empty() ? rows : static_cast<int>(s.queryRow.size());
  const int cols = s.heads * s.dim;
  Values q = device::rounded(device::normal(1, queries, cols, s.scale), dtype);
  Values k = device::rounded(device::normal(2, rows, cols, s.scale), dtype);
  Values v = device::rounded(device::normal(3, rows, cols), dtype);
  for (int r = in.rows; r < rows; r++) {
    for (int c = 0; c < cols; c++) poison(k, r, c), poison(v, r, c);
  }
  if (withNan) {
    poison(q, queries / 3, 0);
    poison(k, rows / 2, cols - 1);
    poison(v, rows / 2, 1);
    poison(v, rows - 1, cols / 2);
  }
  const Run run(s, in, dtype, q, k, v);
  run.go(machine);
  const Values want = reference(s, in, q, k, v);
  Values size = v;
  for (float& x : size.data) x = std::fabs(x);
  const Values sizes = reference(s, in, q, k, size);  // sum of p |v|
  // The output, P and its sum are each rounded once. A logit has the rounding error of its products, which
  // changes p by that factor. Sums have up to `keys` float32 terms. float16 has no P below 2^-25 of the
  // largest.
  const double keys = in.rows, logit = largestNorm(q, s.heads) * largestNorm(k, s.heads) / std::sqrt(s.dim);
  const double relative = 3 * device::epsilon(s.otherOut ? Dtype::bfloat16 : dtype) +
                          (4 * (s.dim + 8) * (1 + logit) + 2 * keys) * 0x1p-24;
  const double absolute = dtype == Dtype::float16 ? keys * 0x1p-24 * largestNorm(v, v.cols) + 0x1p-24 : 1e-30;
  Values got = run.out.values();
  if (const std::string wrong = run.out.canary(); !wrong.empty()) return wrong;
  return device::compare(got, want, [&](int r, int c) { return relative * sizes.row(r)[c] + absolute; });
}

// Checks that the rows of a sequence have the same bits alone, in a batch, and as a path of a trie.
std::string sameBits(const device::Machine& machine, Dtype dtype, Mask mask) {
  const int length = 77, heads = 2, dim = 64;
  const Values q = device::normal(1, length, heads * dim), k = device::normal(2, length, heads * dim),
               v = device::normal(3, length, heads * dim);
  const Shape alone{"", {length}, heads, dim, mask};
  const Inputs aloneIn(alone);
  const Run one(alone, aloneIn, dtype, q, k, v);
  one.go(machine);
  const auto place = [](const Values& x, int rows, const std::vector<int>& at, uint32_t seed) {
    Values all = device::normal(seed, rows, x.cols);
    for (int r = 0; r < x.rows; r++) std::copy_n(x.row(r), x.cols, all.row(at[r]));
    return all;
  };
  // Between 7 rows of other sequences before it and 5 after it.
  Shape batch{"", {3, 4, length, 5}, heads, dim, mask};
  std::vector<int> at(length);
  for (int r = 0; r < length; r++) at[r] = r + 7;
  if (mask == Mask::causal) {
    // In a trie: 23 rows, then a branch of 6 that is not on the path, then the rest.
    batch.mask = Mask::tree;
    for (int r = 0; r < 23; r++) at[r] = r;
    for (int r = 23; r < length; r++) at[r] = r + 6;
    batch.parent.resize(length + 6);
    for (int r = 0; r < length + 6; r++) batch.parent[r] = r == 29 ? 22 : r - 1;
  }
  const Inputs batchIn(batch);
  const Run many(batch, batchIn, dtype, place(q, batchIn.rows, at, 4), place(k, batchIn.rows, at, 5),
                 place(v, batchIn.rows, at, 6));
  many.go(machine);
  for (int r = 0; r < length; r++)
    if (one.out.row(r) != many.out.row(at[r])) return cases::format("row %d differs", r);
  // One query per sequence.
  Shape asking = alone;
  asking.queryRow = {length - 1};
  Values last(1, heads * dim);
  std::copy_n(q.row(length - 1), heads * dim, last.row(0));
  const Run pooled(asking, aloneIn, dtype, last, k, v);
  pooled.go(machine);
  return one.out.row(length - 1) == pooled.out.row(0) ? "" : "the asking row differs";
}

// Checks which part of the executed products is padding, as counted by the emulator.
std::string waste(int length, int dim, double most) {
  Shape s{"", {length}, 1, dim, Mask::full};
  const Inputs in(s);
  const Values x = device::normal(1, length, dim);
  const Run run(s, in, Dtype::bfloat16, x, x, x);
  emulator::counters = {};
  run.go(device::fibers());
  const double executed = double(emulator::counters.mma) * 16 * 8 * 8, useful = 2.0 * length * length * dim;
  if (emulator::counters.matrixLoadWaves != emulator::counters.matrixLoads)
    return "ldmatrix meets bank conflicts";
  return executed >= useful && 1 - useful / executed < most
             ? ""
             : cases::format("%.1f %% of the products are padding", 100 * (1 - useful / executed));
}

void addShapes(const device::Machine& machine, const std::string& group) {
  const bool fibers = &machine == &device::fibers();
  std::vector<std::pair<Shape, bool>> shapes;  // with whether it is long
  for (const Mask mask : {Mask::full, Mask::causal}) {
    const char* name = mask == Mask::full ? "full" : "causal";
    for (const int dim : {64, 80, 88, 104, 128}) shapes.push_back({{name, {19, 33}, 2, dim, mask}, false});
    for (const int dim : {8, 32, 72, 96, 120}) shapes.push_back({{name, {19}, 3, dim, mask}, false});
    for (const int n : {1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 77})
      shapes.push_back({{name, {n}, 1, 64, mask}, n > 17 && n < 77});
    shapes.push_back({{"many short", {1, 3, 2, 5, 20, 1, 9, 4}, 2, 64, mask}, false});
    shapes.push_back({{"50 twice", {50, 50}, 2, 64, mask}, false});
    shapes.push_back({{"padding rows", {7, 21}, 1, 64, mask, {}, {}, 1, 4}, false});
    shapes.push_back({{"logits of +-1000", {20, 17}, 2, 64, mask, {}, {}, 16}, false});
    shapes.push_back({{"out of another type", {9, 37}, 2, 72, mask, {}, {}, 1, 0, true}, false});
    shapes.push_back({{"asking rows", {21, 21, 21}, 2, 64, mask, {20, 21, 50, 50, 3}}, false});
    shapes.push_back({{name, {197}, 1, 64, mask}, true});
    shapes.push_back({{name, {257, 3}, 1, 80, mask}, true});
    shapes.push_back({{name, {577}, 1, 64, mask}, true});
  }
  shapes.push_back({{"197", {197}, 1, 64, Mask::full}, false});
  shapes.push_back({{"tree", {}, 2, 64, Mask::tree, {}, trie(1, 90, 30)}, false});
  shapes.push_back({{"deep tree", {}, 1, 64, Mask::tree, {}, trie(2, 200, 150), 1, 3}, true});
  shapes.push_back({{"tree", {}, 2, 80, Mask::tree, {}, trie(3, 70, 70)}, false});
  shapes.push_back({{"tree, asking rows", {}, 1, 64, Mask::tree, {3, 40, 69}, trie(4, 70, 20)}, false});
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16, Dtype::float32})
    for (const auto& [shape, isLong] : shapes) {
      if (!fibers && (shape.lengths.size() == 1 && shape.lengths[0] != 17 && shape.lengths[0] != 77))
        continue;
      std::string lengths;
      for (const int n : shape.lengths) lengths += (lengths.empty() ? "" : "+") + std::to_string(n);
      const std::string name = cases::format("%s %s, %s rows, %d heads of %d", device::nameOf(dtype),
                                             shape.name, lengths.c_str(), shape.heads, shape.dim);
      cases::add(
          group, name, [&machine, shape = shape, dtype] { return check(machine, shape, dtype); }, isLong);
    }
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16, Dtype::float32})
    for (const Mask mask : {Mask::full, Mask::causal}) {
      const std::string name =
          std::string(device::nameOf(dtype)) + (mask == Mask::full ? " full" : " causal");
      const Shape shape{"", {13, 30}, 2, 64, mask};
      cases::add(group, name + ", NaN in gives NaN out, and only there",
                 [&machine, shape, dtype] { return check(machine, shape, dtype, true); });
      cases::add(group, name + ", a row has the same bits alone, in a batch, in a trie and asking alone",
                 [&machine, dtype, mask] { return sameBits(machine, dtype, mask); });
    }
}

const cases::Registration registration([] {
  addShapes(device::fibers(), "attention");
  for (uint64_t seed = 1; seed < 3; seed++)
    for (const Mask mask : {Mask::full, Mask::causal})
      cases::add("attention", cases::format("mask %d, shuffled, seed %d", int(mask), int(seed)), [=] {
        emulator::options.seed = seed;
        emulator::options.sum = seed == 1 ? emulator::Sum::exact : emulator::Sum::aligned;
        emulator::options.copiesLandEarly = seed == 1;
        const std::string wrong = check(device::fibers(), {"", {77, 50}, 2, 64, mask}, Dtype::bfloat16);
        emulator::options = {};
        return wrong;
      });
  for (const int dim : {64, 80, 88, 104, 128})
    for (const auto& [length, most] :
         {std::pair{50, 0.30}, {77, 0.15}, {197, 0.15}, {257, 0.15}, {577, 0.15}})
      cases::add(
          "attention",
          cases::format("%d tokens, heads of %d: less than %g %% padding", length, dim, 100 * most),
          [length = length, dim, most = most] { return waste(length, dim, most); },
          length == 577 || (length > 77 && dim != 64));
  if (device::ptx()) addShapes(*device::ptx(), "attention-ptx");
});

}  // namespace

std::vector<std::function<void()>> attentionRuns() {
  std::vector<std::function<void()>> runs;
  const std::pair<int, Mask> shapes[] = {
      {50, Mask::full},   {77, Mask::causal}, {77, Mask::full},    {197, Mask::full},  {257, Mask::full},
      {1, Mask::full},    {15, Mask::causal}, {16, Mask::full},    {17, Mask::causal}, {63, Mask::full},
      {64, Mask::causal}, {65, Mask::causal}, {129, Mask::causal}, {145, Mask::full}};
  for (const auto& [length, mask] : shapes)
    for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16})
      runs.push_back([length = length, mask = mask, dtype] {
        const Shape s{"", {length}, 1, 64, mask};
        const Inputs in(s);
        Values v = device::normal(3, length, 64);
        if (mask == Mask::causal) poison(v, length - 1, 3);
        Run(s, in, dtype, device::normal(1, length, 64), device::normal(2, length, 64), v)
            .go(device::fibers());
      });
  return runs;
}

std::string attentionHolds(const device::Machine& machine) {
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16})
    for (const Mask mask : {Mask::full, Mask::causal})
      for (const int dim : {64, 88})
        if (const std::string wrong = check(machine, {"", {13, 41}, 1, dim, mask}, dtype); !wrong.empty())
          return wrong;
  return "";
}

std::string attentionOfModels(const device::Machine& machine) {
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16})
    for (const int dim : {64, 80, 88, 104, 128})
      for (const auto& [length, mask] : {std::pair{50, Mask::full}, {77, Mask::causal}})
        // A NaN among the values takes the path that removes it and restores it.
        if (const std::string wrong =
                check(machine, {"", {length}, 1, dim, mask}, dtype, mask == Mask::causal);
            !wrong.empty())
          return wrong;
  return "";
}
