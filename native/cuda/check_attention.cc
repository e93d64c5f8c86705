#include <algorithm>

#include "check_support.h"
#include "ops.h"

namespace clip::cuda::check {
namespace {

// Two sequences, or a trie in depth-first order with three branches, and two rows of padding.
struct Rows {
  std::vector<int32_t> first, parent;
  int count;  // without padding
  explicit Rows(Mask mask) {
    if (mask == Mask::tree) {
      for (int r = 0; r < 40; r++) parent.push_back(r == 17 ? 5 : r == 29 ? 20 : r - 1);
      count = 40;
      first.assign(40, 0);
      parent.insert(parent.end(), 2, -2);
    } else {
      first.assign(70, 0);
      first.insert(first.end(), 5, 70);
      count = 75;
    }
    first.insert(first.end(), 2, -1);
  }
};

Attention callOf(Device& d, const Rows& rows, Mask mask, int heads, int dim) {
  return {.q = {},
          .k = {},
          .v = {},
          .out = {},
          .rows = rows.count + 2,
          .queries = rows.count + 2,
          .queryRow = nullptr,
          .heads = heads,
          .dim = dim,
          .mask = mask,
          .first = d.copy(rows.first),
          .parent = mask == Mask::tree ? d.copy(rows.parent) : nullptr};
}

double longestRow(const Values& x) {
  double most = 0;
  for (int r = 0; r < x.rows; r++) {
    double sum = 0;
    for (int c = 0; c < x.cols; c++) sum += double{x.row(r)[c]} * x.row(r)[c];
    most = std::max(most, sum);
  }
  return std::sqrt(most);
}

std::string attention(Device& d, Dtype dtype, int dim, Mask mask) {
  const Rows rows(mask);
  const int n = rows.count + 2;
  Values q = normal(1, n, dim, 1, dtype), k = normal(2, n, dim, 1, dtype), v = normal(3, n, dim, 1, dtype);
  Attention call = callOf(d, rows, mask, 1, dim);
  call.q = d.matrix(q, dtype);
  call.k = d.matrix(k, dtype);
  call.v = d.matrix(v, dtype);
  call.out = d.matrix(n, dim, dtype);
  ops::run(d.context(), call);
  const auto reference = [&](Values& values) {
    Values out(rows.count, dim);
    referenceBackend.attention(Device::reference(),
                               {.q = q.view(),
                                .k = k.view(),
                                .v = values.view(),
                                .out = out.view(),
                                .rows = rows.count,
                                .queries = rows.count,
                                .queryRow = nullptr,
                                .heads = 1,
                                .dim = dim,
                                .mask = mask,
                                .first = rows.first.data(),
                                .parent = mask == Mask::tree ? rows.parent.data() : nullptr});
    return out;
  };
  const Values want = reference(v);
  Values sizes = absolute(v);
  sizes = reference(sizes);  // sum of p |v|
  // The output, P and its sum are rounded once each; a logit is off by its products' roundings, which moves p
  // by that factor; sums of up to `count` float32 terms. float16 has no P below 2^-25 of the largest.
  const double keys = rows.count, logit = longestRow(q) * longestRow(k) / std::sqrt(dim);
  const double relative = 3 * epsilon(dtype) + (4 * (dim + 8) * (1 + logit) + 2 * keys) * 0x1p-24;
  const double least = dtype == Dtype::float16 ? keys * 0x1p-24 * longestRow(v) + 0x1p-24 : 1e-30;
  return compare(d.values(call.out, rows.count, dim), want,
                 [&](int r, int c) { return relative * sizes.row(r)[c] + least; });
}

// How the sequences above are cut into groups.
std::string groups(Device& d) {
  const Rows rows(Mask::causal);
  const Attention call = callOf(d, rows, Mask::causal, 1, 64);
  int bound = 0;
  const AttentionGroups all = d.stream().groups(call, &bound);
  int32_t count = 0;
  d.stream().download(&count, all.count, sizeof count);
  const AttentionGroup want[] = {{0, 64, 0, 64, 0, 0}, {64, 6, 64, 70, 0, 0}, {70, 5, 0, 5, 70, 0}};
  if (count != 3) return std::to_string(count) + " groups instead of 3";
  AttentionGroup got[3];
  d.stream().download(got, all.groups, sizeof got);
  for (int i = 0; i < 3; i++)
    if (got[i].query != want[i].query || got[i].queries != want[i].queries ||
        got[i].position != want[i].position || got[i].keys != want[i].keys || got[i].begin != want[i].begin)
      return "group " + std::to_string(i) + " begins at row " + std::to_string(got[i].query) + " with " +
             std::to_string(got[i].queries) + " queries of " + std::to_string(got[i].keys) + " keys";
  return "";
}

}  // namespace

void addAttention(std::vector<Check>& checks) {
  const auto add = [&](const char* kernel, Dtype dtype, int dim, Mask mask) {
    checks.push_back({{kernel}, [=](Device& d) { return attention(d, dtype, dim, mask); }});
  };
  checks.push_back({{"clip_attention_groups"}, groups});
  add("clip_attention_float32", Dtype::float32, 40, Mask::tree);
  add("clip_attention_bfloat16_64", Dtype::bfloat16, 64, Mask::full);
  add("clip_attention_bfloat16_80", Dtype::bfloat16, 80, Mask::causal);
  add("clip_attention_bfloat16_88", Dtype::bfloat16, 88, Mask::tree);
  add("clip_attention_bfloat16_104", Dtype::bfloat16, 96, Mask::full);
  add("clip_attention_bfloat16_128", Dtype::bfloat16, 128, Mask::causal);
  add("clip_attention_float16_64", Dtype::float16, 64, Mask::causal);
  add("clip_attention_float16_80", Dtype::float16, 72, Mask::full);
  add("clip_attention_float16_88", Dtype::float16, 88, Mask::causal);
  add("clip_attention_float16_104", Dtype::float16, 104, Mask::tree);
  add("clip_attention_float16_128", Dtype::float16, 128, Mask::full);
}

}  // namespace clip::cuda::check
