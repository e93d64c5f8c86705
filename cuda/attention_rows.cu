// The preparation of attention (which block computes what) and its fallback (float32, one warp per query):
// both process rows one by one.
#include "attention.h"

#include "rows.cuh"

namespace clip::cuda {
namespace {

struct Sequence {
  const Attention& a;

  __device__ bool padding(int r) const { return a.mask == Mask::tree ? a.parent[r] < -1 : a.first[r] < 0; }
  __device__ int depth(int r) const {
    int d = 0;
    for (int p = a.parent[r]; p >= 0; p = a.parent[p]) d++;
    return d;
  }
  // One past the last row of r's sequence.
  __device__ int end(int r) const {
    int inside = r, outside = a.rows;
    while (outside - inside > 1) {
      const int middle = inside + (outside - inside) / 2;
      if (a.first[middle] == a.first[r])
        inside = middle;
      else
        outside = middle;
    }
    return outside;
  }
  // Whether query i begins a group; if so, sets `g` to that group.
  __device__ bool begins(int i, AttentionGroup& g) const {
    const int r = a.queryRow ? a.queryRow[i] : i;
    if (padding(r)) return false;
    const bool tree = a.mask == Mask::tree;
    g = {i, 1, tree ? depth(r) : r - a.first[r], 0, tree ? r : a.first[r], 0};
    if (!a.queryRow) {
      // A group begins where a chain of rows begins and at every 64th position, so that the warp that
      // computes a row depends only on the row's own position.
      const bool chained = tree ? r > 0 && a.parent[r] == r - 1 : r > a.first[r];
      if (chained && g.position % kGroupQueries != 0) return false;
      const int limit = kGroupQueries - g.position % kGroupQueries;
      if (tree) {
        while (g.queries < limit && r + g.queries < a.rows && a.parent[r + g.queries] == r + g.queries - 1)
          g.queries++;
      } else {
        const int rest = end(r) - r;
        g.queries = rest < limit ? rest : limit;
      }
    }
    g.keys = a.mask == Mask::full ? end(r) - g.begin : g.position + g.queries;
    return true;
  }
};

}  // namespace

// One block; the groups are in the order of the queries.
CLIP_KERNEL(256, clip_attention_groups, const Attention a, const AttentionGroups all) {
  DYNAMIC_SHARED(memory);
  const auto warpCount = sharedPart<int>(memory, 0, 8);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const Sequence sequence{a};
  int total = 0;
  for (int i0 = 0; i0 < a.queries; i0 += 256) {
    const int i = i0 + static_cast<int>(threadIdx.x);
    AttentionGroup g{};
    const bool begins = i < a.queries && sequence.begins(i, g);
    const unsigned ballot = __ballot_sync(kAllLanes, begins);
    if (lane == 0) warpCount[warp] = __popc(ballot);
    __syncthreads();
    int at = total + __popc(ballot & ((1u << lane) - 1));
    for (int w = 0; w < 8; w++) {
      const int n = warpCount[w];
      if (w < warp) at += n;
      total += n;
    }
    __syncthreads();
    if (!begins) continue;
    all.groups[at] = g;
    if (a.mask != Mask::tree) continue;
    int32_t* path = all.path + size_t(at) * all.pathStride;
    for (int p = a.parent[g.begin], d = g.position - 1; p >= 0; p = a.parent[p], d--) path[d] = p;
  }
  if (threadIdx.x == 0) *all.count = total;
}

// A warp computes one query after the other; its lanes divide the head dimension.
CLIP_KERNEL(128, clip_attention_float32, const Attention a, const AttentionGroups all) {
  if (static_cast<int>(blockIdx.x) >= *all.count) return;
  constexpr int kMost = 8;  // 256 / 32
  const AttentionGroup g = all.groups[blockIdx.x];
  const int32_t* path = all.path + size_t(blockIdx.x) * all.pathStride;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, column0 = blockIdx.y * a.dim;
  const float scaleLog2 = kLog2E / sqrtf(static_cast<float>(a.dim));
  for (int i = warp; i < g.queries; i += 4) {
    const float* q = reinterpret_cast<const float*>(rowOf(a.q, g.query + i)) + column0;
    const int keys = a.mask == Mask::full ? g.keys : g.position + i + 1;
    float mine[kMost], o[kMost] = {}, most = -INFINITY, sum = 0.f;
#pragma unroll
    for (int j = 0; j < kMost; j++) mine[j] = lane + 32 * j < a.dim ? q[lane + 32 * j] : 0.f;
    for (int p = 0; p < keys; p++) {
      const int row = a.mask != Mask::tree ? g.begin + p
                      : p < g.position     ? path[p]
                                           : g.begin + p - g.position;
      const float* k = reinterpret_cast<const float*>(rowOf(a.k, row)) + column0;
      const float* v = reinterpret_cast<const float*>(rowOf(a.v, row)) + column0;
      float dot = 0.f;
#pragma unroll
      for (int j = 0; j < kMost; j++)
        if (lane + 32 * j < a.dim) dot += mine[j] * k[lane + 32 * j];
      const float s = warpSum(dot), m = fmaxf(most, s), from = m == -INFINITY ? 0.f : m;
      const float shrink = exp2Approx((most - from) * scaleLog2), e = exp2Approx((s - from) * scaleLog2);
      most = m;
      sum = sum * shrink + e;
#pragma unroll
      for (int j = 0; j < kMost; j++)
        if (lane + 32 * j < a.dim) o[j] = o[j] * shrink + e * v[lane + 32 * j];
    }
    char* out = rowOf(a.out, g.query + i);
#pragma unroll
    for (int j = 0; j < kMost; j++)
      if (lane + 32 * j < a.dim) storeNumber(out, a.out.dtype, column0 + lane + 32 * j, o[j] / sum);
  }
}

}  // namespace clip::cuda
