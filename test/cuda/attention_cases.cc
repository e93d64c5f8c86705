// Compares clip_attention_* with native/reference/.
#include "attention.h"

#include <algorithm>

#include "cases.h"
#include "device.h"
#include "emulated.h"
#include "emulator/state.h"
#include "kernel_runs.h"
#include "matrices.h"
#include "ops/attention.h"

namespace {

using namespace clip;
using cuda::check::AttentionOp;
using device::Matrix;
using device::Values;
using ops::Case;
using ops::attention::Lists;

std::string run(const device::Machine& machine, const AttentionOp& op, const Case& c) {
  device::Emulated emulated(machine);
  const cuda::check::Made made = op.make(emulated, c, op);
  made.run();
  return made.difference();
}

// A shape of this file only: one or two sequences.
struct Shape {
  int length, dim;
  Mask mask;
  int other = 0, heads = 1;  // other: a second sequence
  bool nan = false;
};

Case caseOf(const Shape& s) {
  return {"",
          0,
          {{"sequences", s.other ? 2. : 1.},
           {"length", double(s.length)},
           {"ragged", double(s.other)},
           {"heads", double(s.heads)},
           {"headDim", double(s.dim)},
           {"mask", double(s.mask)},
           {"nan", double(s.nan)}}};
}

const AttentionOp& opOf(Dtype dtype, const Case& c) {
  for (const AttentionOp& op : cuda::check::attentionOps())
    if (op.kernel != std::string("clip_attention_groups") && op.dtype == dtype && op.takes(c)) return op;
  throw std::runtime_error("no such kernel");
}

std::string check(const device::Machine& machine, Dtype dtype, const Shape& s) {
  const Case c = caseOf(s);
  return run(machine, opOf(dtype, c), c);
}

// The output of a kernel.
Matrix outputs(const device::Machine& machine, Dtype dtype, Mask mask, int heads, const Lists& lists,
               const Values& q, const Values& k, const Values& v) {
  const Matrix qs(q, dtype, 8), ks(k, dtype, 16), vs(v, dtype);
  Matrix out(q.rows, q.cols, dtype, 8);
  const device::Memory first = device::copyOf(lists.first), parent = device::copyOf(lists.parent),
                       queryRow = device::copyOf(lists.queryRow);
  const Attention call{.q = qs.view(),
                       .k = ks.view(),
                       .v = vs.view(),
                       .out = out.view(),
                       .rows = k.rows,
                       .queries = q.rows,
                       .queryRow = lists.queryRow.empty() ? nullptr : queryRow.as<int32_t>(),
                       .heads = heads,
                       .dim = q.cols / heads,
                       .mask = mask,
                       .first = first.as<int32_t>(),
                       .parent = mask == Mask::tree ? parent.as<int32_t>() : nullptr};
  const int bound = cuda::attentionGroupBound(call, 0), depth = mask == Mask::tree ? call.rows : 0;
  const device::Memory count(4), groups(sizeof(cuda::AttentionGroup) * bound),
      path(size_t{4} * bound * depth);
  const cuda::AttentionGroups all{count.as<int32_t>(), groups.as<cuda::AttentionGroup>(), path.as<int32_t>(),
                                  depth};
  device::run(machine, cuda::attentionGroupsLaunch(), call, all);
  device::run(machine, cuda::attentionLaunch(call, bound), call, all);
  return out;
}

// Checks that the rows of a sequence have the same bits alone, in a batch, and as a path of a trie.
std::string sameBits(const device::Machine& machine, Dtype dtype, Mask mask) {
  const int length = 77, heads = 2, dim = 64;
  const Values q = device::normal(1, length, heads * dim), k = device::normal(2, length, heads * dim),
               v = device::normal(3, length, heads * dim);
  Lists alone;
  alone.first.assign(length, 0);
  const Matrix one = outputs(machine, dtype, mask, heads, alone, q, k, v);
  Lists batch;
  std::vector<int> at(length);
  if (mask == Mask::causal) {
    // In a trie: 23 rows, then a branch of 6 that is not on the path, then the rest.
    for (int r = 0; r < length; r++) at[r] = r < 23 ? r : r + 6;
    for (int r = 0; r < length + 6; r++) batch.parent.push_back(r == 29 ? 22 : r - 1);
  } else {
    // Between 7 rows of other sequences before it and 5 after it.
    for (int r = 0; r < length; r++) at[r] = r + 7;
    for (const int n : {3, 4, length, 5}) batch.first.resize(batch.first.size() + n, int(batch.first.size()));
  }
  const int rows = static_cast<int>(std::max(batch.first.size(), batch.parent.size()));
  const auto place = [&](const Values& x, uint32_t seed) {
    Values all = device::normal(seed, rows, x.cols);
    for (int r = 0; r < x.rows; r++) std::copy_n(x.row(r), x.cols, all.row(at[r]));
    return all;
  };
  const Matrix many = outputs(machine, dtype, mask == Mask::causal ? Mask::tree : mask, heads, batch,
                              place(q, 4), place(k, 5), place(v, 6));
  for (int r = 0; r < length; r++)
    if (one.row(r) != many.row(at[r])) return cases::format("row %d differs", r);
  // The last row as the only query.
  alone.queryRow = {length - 1};
  Values last(1, heads * dim);
  std::copy_n(q.row(length - 1), heads * dim, last.row(0));
  const Matrix pooled = outputs(machine, dtype, mask, heads, alone, last, k, v);
  return one.row(length - 1) == pooled.row(0) ? "" : "the row as the only query differs";
}

// Checks which part of the executed products is padding, as counted by the emulator.
std::string waste(int length, int dim, double most) {
  emulator::counters = {};
  if (const std::string wrong = check(device::fibers(), Dtype::bfloat16, {length, dim, Mask::full});
      !wrong.empty())
    return wrong;
  const double executed = double(emulator::counters.mma) * 16 * 8 * 8, useful = 2.0 * length * length * dim;
  if (emulator::counters.matrixLoadWaves != emulator::counters.matrixLoads)
    return "ldmatrix has bank conflicts";
  return executed >= useful && 1 - useful / executed < most
             ? ""
             : cases::format("%.1f %% of the products are padding", 100 * (1 - useful / executed));
}

void addShapes(const device::Machine& machine, const std::string& group) {
  const bool fibers = &machine == &device::fibers();
  for (const AttentionOp& op : cuda::check::attentionOps())
    for (const Case& c : ops::casesOf("attention", ops::kTested | ops::kEmulated)) {
      if (!op.takes(c)) continue;
      const double work = c.number("sequences") * c.number("length") * c.number("length") *
                          c.number("heads") * c.number("headDim");
      cases::add(
          group, cases::format("%s, %s", op.kernel, c.name),
          [&machine, &op, c] { return run(machine, op, c); }, work > (fibers ? 6e5 : 1.2e5));
    }
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16, Dtype::float32})
    for (const Mask mask : {Mask::full, Mask::causal})
      cases::add(group,
                 cases::format("%s %s, a row has the same bits alone, in a batch, in a trie and asking alone",
                               device::nameOf(dtype), mask == Mask::full ? "full" : "causal"),
                 [&machine, dtype, mask] { return sameBits(machine, dtype, mask); });
}

const cases::Registration registration([] {
  addShapes(device::fibers(), "attention");
  for (uint64_t seed = 1; seed < 3; seed++)
    for (const Mask mask : {Mask::full, Mask::causal})
      cases::add("attention", cases::format("mask %d, shuffled, seed %d", int(mask), int(seed)), [=] {
        emulator::options.seed = seed;
        emulator::options.sum = seed == 1 ? emulator::Sum::exact : emulator::Sum::aligned;
        emulator::options.copiesLandEarly = seed == 1;
        const std::string wrong = check(device::fibers(), Dtype::bfloat16, {77, 64, mask, 50, 2});
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
        const Case c = caseOf({length, 64, mask, 0, 1, mask == Mask::causal});
        const AttentionOp& op = opOf(dtype, c);
        device::Emulated emulated(device::fibers());
        op.make(emulated, c, op).run();
      });
  return runs;
}

std::string attentionHolds(const device::Machine& machine) {
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16})
    for (const Mask mask : {Mask::full, Mask::causal})
      for (const int dim : {64, 88})
        if (const std::string wrong = check(machine, dtype, {41, dim, mask, 13}); !wrong.empty())
          return wrong;
  return "";
}

std::string attentionOfModels(const device::Machine& machine) {
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16})
    for (const int dim : {64, 80, 88, 104, 128})
      for (const auto& [length, mask] : {std::pair{50, Mask::full}, {77, Mask::causal}})
        // A NaN among the values takes the path that removes it and restores it.
        if (const std::string wrong = check(machine, dtype, {length, dim, mask, 0, 1, mask == Mask::causal});
            !wrong.empty())
          return wrong;
  return "";
}
