// Attention, on the cases of ops/attention.cc.
#include <algorithm>

#include "attention.h"
#include "check_support.h"
#include "ops/attention.h"

namespace clip::cuda::check {
namespace {

using ops::Case;
using ops::attention::Lists;

std::string text(int n) { return std::to_string(n); }
std::string plural(int n, const char* what) { return text(n) + " " + what + (n == 1 ? "" : "s"); }

// A case as lists in this process, without a kernel.
struct Sequences {
  Lists lists;
  Mask mask;
  int rows, queries;  // not counting padding

  explicit Sequences(const Case& c)
      : lists(ops::attention::lists(c)),
        mask(static_cast<Mask>(c["mask"])),
        rows(lists.rows - lists.padding),
        queries(lists.queryRow.empty() ? rows : static_cast<int>(lists.queryRow.size())) {}
  int rowOf(int query) const { return lists.queryRow.empty() ? query : lists.queryRow[query]; }
  // The rows that a row sees, in ascending order.
  std::vector<int> seenBy(int row) const {
    std::vector<int> seen;
    if (mask == Mask::tree) {
      for (int r = row; r >= 0; r = lists.parent[r]) seen.push_back(r);
      std::reverse(seen.begin(), seen.end());
    } else {
      for (int r = lists.first[row]; r < rows && lists.first[r] == lists.first[row]; r++)
        if (mask == Mask::full || r <= row) seen.push_back(r);
    }
    return seen;
  }
  // Whether a row continues the path of the row before it.
  bool continues(int row) const {
    return row > 0 &&
           (mask == Mask::tree ? lists.parent[row] == row - 1 : lists.first[row] == lists.first[row - 1]);
  }
};

// The call of a case, without its matrices.
Attention callOf(Machine& m, const Case& c, const Lists& lists) {
  const bool tree = lists.first.empty(), all = lists.queryRow.empty();
  return {.q = {},
          .k = {},
          .v = {},
          .out = {},
          .rows = lists.rows,
          .queries = all ? lists.rows : static_cast<int>(lists.queryRow.size()),
          .queryRow = all ? nullptr : m.copy(lists.queryRow),
          .heads = c["heads"],
          .dim = c["headDim"],
          .mask = static_cast<Mask>(c["mask"]),
          .first = tree ? nullptr : m.copy(lists.first),
          .parent = tree ? m.copy(lists.parent) : nullptr};
}

AttentionGroups groupsOf(Machine& m, const Attention& call, int bound) {
  const int stride = call.mask == Mask::tree ? call.rows : 0;
  const auto n = static_cast<size_t>(bound);
  return {.count = static_cast<int32_t*>(m.take(sizeof(int32_t))),
          .groups = static_cast<AttentionGroup*>(m.take(n * sizeof(AttentionGroup))),
          .path = static_cast<int32_t*>(m.take(n * static_cast<size_t>(stride) * sizeof(int32_t))),
          .pathStride = stride};
}

std::string shapeOf(const Sequences& s, const Case& c) {
  const char* const masks[] = {"", ", causal", ", a tree"};
  return plural(c["sequences"], "sequence") + " of " + text(c["length"]) + ", " + plural(c["heads"], "head") +
         " of " + text(c["headDim"]) + masks[int(s.mask)] +
         (s.lists.queryRow.empty() ? "" : ", asked by " + plural(s.queries, "row"));
}

// The largest norm of a row's part that belongs to one head. Parts that contain a NaN or an infinity are
// skipped.
double longest(const Values& x, int heads) {
  double most = 0;
  const int dim = x.cols / heads;
  for (int r = 0; r < x.rows; r++)
    for (int h = 0; h < heads; h++) {
      double sum = 0;
      for (int d = h * dim; d < (h + 1) * dim; d++) sum += double{x.row(r)[d]} * x.row(r)[d];
      if (std::isfinite(sum)) most = std::max(most, sum);
    }
  return std::sqrt(most);
}

// Both as parts of one matrix, like q, k and v in a model.
Values beside(const Values& a, const Values& b) {
  Values both(a.rows, a.cols + b.cols);
  for (int r = 0; r < a.rows; r++) std::copy_n(b.row(r), b.cols, std::copy_n(a.row(r), a.cols, both.row(r)));
  return both;
}

Made attention(Machine& m, const Case& c, const AttentionOp& op) {
  const Sequences s(c);
  const Dtype dtype = op.dtype, to = !c["otherOut"]            ? dtype
                                     : dtype == Dtype::float32 ? Dtype::bfloat16
                                                               : Dtype::float32;
  const int heads = c["heads"], dim = c["headDim"], cols = heads * dim;
  Attention call = callOf(m, c, s.lists);
  const auto scale = static_cast<float>(c.number("scale", 1));
  Values q = normal(1, call.queries, cols, scale, dtype), k = normal(2, call.rows, cols, scale, dtype),
         v = normal(3, call.rows, cols, 1, dtype);
  const float nan = std::nanf("");
  if (c["nan"]) {
    q.row(s.queries / 3)[0] = nan;
    k.row(s.rows / 2)[cols - 1] = nan;
    v.row(s.rows / 2)[1] = nan;
    v.row(s.rows / 3)[2] = INFINITY;
    v.row(s.rows - 1)[cols / 2] = nan;
  }
  for (int r = s.rows; r < call.rows; r++) std::fill_n(k.row(r), cols, nan), std::fill_n(v.row(r), cols, nan);
  call.q = m.matrix(q, dtype);
  call.k = call.v = m.matrix(beside(k, v), dtype);
  call.v.data = static_cast<char*>(call.v.data) + static_cast<size_t>(cols) * bytesOf(dtype);
  call.out = m.matrix(call.queries, cols, to);
  const int bound = attentionGroupBound(call, 0);
  const AttentionGroups groups = groupsOf(m, call, bound);
  m.run(attentionGroupsLaunch(), {&call, &groups});

  const auto difference = [=, &m]() mutable {
    const auto reference = [&](Values& values) {
      Values out(s.queries, cols);
      Attention here = call;
      here.q = q.view(), here.k = k.view(), here.v = values.view(), here.out = out.view();
      here.rows = s.rows, here.queries = s.queries;
      here.queryRow = s.lists.queryRow.empty() ? nullptr : s.lists.queryRow.data();
      here.first = s.lists.first.data(), here.parent = s.lists.parent.data();
      referenceBackend.attention(Machine::reference(), here);
      return out;
    };
    Values want = reference(v);
    // If some queries of a tile do not see all its keys, the 16-bit kernels remove infinite values from the
    // tile, and the result of a query that sees one is a NaN.
    if (dtype != Dtype::float32 && s.mask != Mask::full) {
      const Values got = m.values(call.out, s.queries, cols);
      for (size_t i = 0; i < got.data.size(); i++)
        if (std::isinf(want.data[i]) && std::isnan(got.data[i])) want.data[i] = nan;
    }
    Values sizes = absolute(v);
    sizes = reference(sizes);  // sum of p |v|
    // P, its sum and the output are each rounded once. A logit has the rounding error of its products, which
    // changes p by that factor. Sums have up to `rows` float32 terms. float16 has no P below 2^-25 of the largest.
    const double rows = s.rows, logit = longest(q, heads) * longest(k, heads) / std::sqrt(dim);
    const double relative =
        2 * epsilon(dtype) + epsilon(to) + (4 * (dim + 8) * (1 + logit) + 2 * rows) * 0x1p-24;
    const double least =
        dtype == Dtype::float16 || to == Dtype::float16 ? rows * 0x1p-24 * longest(v, 1) + 0x1p-24 : 1e-30;
    return m.compareMatrix(call.out, want, [&](int r, int i) { return relative * sizes.row(r)[i] + least; });
  };
  double pairs = 0;
  for (int i = 0; i < s.queries; i++) pairs += double(s.seenBy(s.rowOf(i)).size());
  return {[=, &m] {
            m.run(attentionLaunch(call, bound), {&call, &groups});
          },
          difference, shapeOf(s, c), 4 * pairs * cols,
          (double{2} * s.rows * double(bytesOf(dtype)) + s.queries * double(bytesOf(dtype) + bytesOf(to))) *
              cols};
}

// Returns "" or the first query for which the groups are wrong.
std::string groupsDiffer(const Sequences& s, const std::vector<AttentionGroup>& groups,
                         const std::vector<int32_t>& path, int stride) {
  int query = 0;
  for (size_t n = 0; n < groups.size(); n++) {
    const AttentionGroup& g = groups[n];
    const std::string name = "group " + std::to_string(n);
    if (g.query != query || g.queries < 1 || g.queries > kGroupQueries || query + g.queries > s.queries)
      return name + " has " + text(g.queries) + " queries from " + text(g.query) + " on, not from " +
             text(query);
    for (int i = 0; i < g.queries; i++, query++) {
      const std::vector<int> seen = s.seenBy(s.rowOf(query));
      const int keys = s.mask == Mask::full ? g.keys : g.position + i + 1;
      if (keys != static_cast<int>(seen.size()))
        return name + " has " + text(keys) + " keys for query " + text(query);
      for (int p = 0; p < keys; p++) {
        const int row = s.mask == Mask::tree && p < g.position
                            ? path[n * static_cast<size_t>(stride) + static_cast<size_t>(p)]
                        : s.mask == Mask::tree ? g.begin + p - g.position
                                               : g.begin + p;
        if (row != seen[p])
          return name + ": key " + text(p) + " of query " + text(query) + " is row " + text(row);
      }
    }
    if (s.mask != Mask::full && g.keys != g.position + g.queries)
      return name + " has " + text(g.keys) + " keys";
    // A row's warp must depend on its own position only, and there must be no more groups than that needs.
    if (s.lists.queryRow.empty() &&
        (g.position % kGroupQueries + g.queries > kGroupQueries ||
         (query < s.queries && s.continues(query) && (g.position + g.queries) % kGroupQueries != 0)))
      return name + " has the queries of " + text(g.queries) + " positions from " + text(g.position) + " on";
  }
  return query == s.queries ? "" : "the groups have " + text(query) + " of " + text(s.queries) + " queries";
}

Made groups(Machine& m, const Case& c, const AttentionOp&) {
  const Sequences s(c);
  Attention call = callOf(m, c, s.lists);
  call.q.dtype = call.k.dtype = Dtype::float32;
  const int bound = attentionGroupBound(call, 0);
  const AttentionGroups all = groupsOf(m, call, bound);
  const auto difference = [=, &m]() -> std::string {
    int32_t count = 0;
    m.download(&count, all.count, sizeof count);
    if (count < 0 || count > bound) return text(count) + " groups of at most " + text(bound);
    std::vector<AttentionGroup> got(count);
    std::vector<int32_t> path(static_cast<size_t>(count) * static_cast<size_t>(all.pathStride));
    if (count > 0) m.download(got.data(), all.groups, got.size() * sizeof(AttentionGroup));
    if (!path.empty()) m.download(path.data(), all.path, path.size() * sizeof(int32_t));
    return groupsDiffer(s, got, path, all.pathStride);
  };
  return {[=, &m] {
            m.run(attentionGroupsLaunch(), {&call, &all});
          },
          difference, shapeOf(s, c), 0, 4. * s.rows + double(sizeof(AttentionGroup)) * c["sequences"]};
}

}  // namespace

bool AttentionOp::takes(const Case& c) const {
  const int headDim = c["headDim"];
  if (make == groups) return true;
  return attentionRuns(dtype, headDim) && (dtype == Dtype::float32 || attentionInstance(headDim) == dim);
}

const std::vector<AttentionOp>& attentionOps() {
  static const std::vector<AttentionOp> all = {
      {"clip_attention_groups", groups, Dtype::float32, 0},
      {"clip_attention_float32", attention, Dtype::float32, 0},
      {"clip_attention_bfloat16_64", attention, Dtype::bfloat16, 64},
      {"clip_attention_bfloat16_80", attention, Dtype::bfloat16, 80},
      {"clip_attention_bfloat16_88", attention, Dtype::bfloat16, 88},
      {"clip_attention_bfloat16_104", attention, Dtype::bfloat16, 104},
      {"clip_attention_bfloat16_128", attention, Dtype::bfloat16, 128},
      {"clip_attention_float16_64", attention, Dtype::float16, 64},
      {"clip_attention_float16_80", attention, Dtype::float16, 80},
      {"clip_attention_float16_88", attention, Dtype::float16, 88},
      {"clip_attention_float16_104", attention, Dtype::float16, 104},
      {"clip_attention_float16_128", attention, Dtype::float16, 128},
  };
  return all;
}

}  // namespace clip::cuda::check
