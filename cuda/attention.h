#pragma once
// clip_attention_*: see Attention in backend.h.
//
//   clip_attention_groups(Attention, AttentionGroups)     once per `first`, `parent` and `queryRow`: what
//                                                         every block of the following is to do
//   clip_attention_{bfloat16,float16}_{64,80,88,104,128}  (Attention, AttentionGroups)
//   clip_attention_float32                                (Attention, AttentionGroups)
//
// 16-bit: q, k and v have one type; out has the same type or float32. 16-bit matrices begin at multiples of
// 16 bytes, and so do their rows; dim is a multiple of 8 up to 128 and uses the next larger instance, padded
// with zeros. float32: any dim up to 256, out of any type. A row with first[r] < 0 (tree: parent[r] < -1) is
// padding: it has no query, and no query sees it; padding comes after the sequences.
#include "launch.h"

namespace clip::cuda {

constexpr const char* kAttentionKernels[] = {
    "clip_attention_groups",       "clip_attention_float32",     "clip_attention_bfloat16_64",
    "clip_attention_bfloat16_80",  "clip_attention_bfloat16_88", "clip_attention_bfloat16_104",
    "clip_attention_bfloat16_128", "clip_attention_float16_64",  "clip_attention_float16_80",
    "clip_attention_float16_88",   "clip_attention_float16_104", "clip_attention_float16_128",
};

constexpr int kGroupQueries = 64;  // per block: 16 per warp

// Neighbouring queries that see the same keys, except at the causal edge.
struct AttentionGroup {
  int32_t query, queries;  // the first query, and the number of queries, up to kGroupQueries
  int32_t position;        // position of the first query in its sequence (tree: its depth); causal and tree
  int32_t keys;            // number of positions that the last query sees
  int32_t begin;           // the row of position 0; tree: of position `position`
  int32_t reserved;
};

// In device memory, written by clip_attention_groups.
struct AttentionGroups {
  int32_t* count;          // one number
  AttentionGroup* groups;  // (attentionGroupBound)
  int32_t* path;           // tree: (attentionGroupBound, pathStride): the rows of positions 0 .. position - 1
  int pathStride;          // at least the depth of the deepest row
};

// The largest possible number of groups. sequences: an upper bound of the number of sequences, or 0 if none
// is known.
constexpr int attentionGroupBound(const Attention& a, int sequences) {
  if (a.queryRow || a.mask == Mask::tree || sequences == 0) return a.queries;
  const int bound = a.rows / kGroupQueries + sequences;
  return bound < a.queries ? bound : a.queries;
}

constexpr Launch attentionGroupsLaunch() { return {"clip_attention_groups", 1, 1, 1, 256, 8 * 4 + 4}; }

// The instance of a 16-bit type that supports a head dimension; 0 if there is none.
constexpr int attentionInstance(int dim) {
  if (dim % 8) return 0;
  for (const int d : {64, 80, 88, 104, 128})
    if (dim <= d) return d;
  return 0;
}

namespace attention {
// Keys per tile of shared memory and per step of the online softmax.
constexpr int keyTile(int d) { return d == 64 ? 64 : 32; }
// Rows of shared memory are contiguous, and their chunks of 16 bytes are swizzled (Attend::at).
constexpr uint32_t sharedBytes(int d) {
  return static_cast<uint32_t>((kGroupQueries + 4 * keyTile(d)) * d * 2);
}
}  // namespace attention

constexpr int kMostFloat32Dim = 256;
// Whether a kernel supports heads of this dimension in this type.
constexpr bool attentionRuns(Dtype dtype, int dim) {
  return dtype == Dtype::float32 ? dim <= kMostFloat32Dim : attentionInstance(dim) != 0;
}

// groups: as given by attentionGroupBound. Returns {} unless attentionRuns.
constexpr Launch attentionLaunch(const Attention& a, int groups) {
  const auto x = static_cast<unsigned>(groups), heads = static_cast<unsigned>(a.heads);
  if (a.q.dtype == Dtype::float32)
    return a.dim <= kMostFloat32Dim ? Launch{"clip_attention_float32", x, heads, 1, 128, 0} : Launch{};
  const bool b = a.q.dtype == Dtype::bfloat16;
  const int d = attentionInstance(a.dim);
  const char* name = nullptr;
  switch (d) {
    case 64:
      name = b ? "clip_attention_bfloat16_64" : "clip_attention_float16_64";
      break;
    case 80:
      name = b ? "clip_attention_bfloat16_80" : "clip_attention_float16_80";
      break;
    case 88:
      name = b ? "clip_attention_bfloat16_88" : "clip_attention_float16_88";
      break;
    case 104:
      name = b ? "clip_attention_bfloat16_104" : "clip_attention_float16_104";
      break;
    case 128:
      name = b ? "clip_attention_bfloat16_128" : "clip_attention_float16_128";
      break;
    default:
      return {};
  }
  return {name, x, heads, 1, 128, attention::sharedBytes(d)};
}

}  // namespace clip::cuda
