// Attention over packed sequences of any lengths: FlashAttention-2's online softmax, with tiles adapted to
// short sequences. A block computes up to 64 queries of one sequence and head, 16 per warp; keys and values
// pass through shared memory in tiles, double-buffered. S = Q K' processes keys in steps of 8, and O' = V' P'
// (transposed, so that the fragments of S are those of P') processes queries in steps of 8. With 50 tokens,
// 26 % of the executed products are padding, compared with 39 % for plain tiles of 64 and for whole tiles of
// 16.
//
// The bits of a row are independent of the other rows: its keys come in the order of their positions, in
// tiles that begin at position 0, and what a warp computes beyond a row's own last key, for its other rows,
// is multiplied by zero.
#include "attention.h"

#include "rows.cuh"

namespace clip::cuda {
namespace {

template <class T, int D>
struct Attend {
  static constexpr int kThreads = 128;
  static constexpr int kTile = attention::keyTile(D), kChunks = D / 8, kPitch = D * 2;
  static constexpr int kSteps16 = D / 16, kStep8 = D / 8 % 2;  // of the head dimension, for S
  static constexpr int kParts = (D + 15) / 16;                 // of the head dimension, for O'
  static constexpr uint32_t kKeys = kGroupQueries * kPitch, kValues = kKeys + 2 * kTile * kPitch;

  // Byte offset of chunk c of row r. The swizzle avoids bank conflicts both for eight rows of one chunk
  // (ldmatrix) and for eight consecutive chunks (cp.async, storing rows). Rows with an odd number of chunks
  // have none anyway.
  static __device__ __forceinline__ uint32_t at(int r, int c) {
    static_assert(kChunks % 8 == 0 || kChunks % 4 == 2 || kChunks % 2 == 1);
    if constexpr (kChunks % 8 == 0)
      c ^= r & 7;
    else if constexpr (kChunks % 2 == 0)
      c ^= r >> 2 & 1;
    return static_cast<uint32_t>(r * kPitch + c * 16);
  }

  // Copies chunks of 8 columns of a row of the matrix; columns from `columns` on are zero, and so is the
  // whole row if row < 0.
  static __device__ __forceinline__ void copyChunk(SharedAddress to, const MatrixView& a, int row,
                                                   int column0, int c, int columns) {
    const bool inside = row >= 0 && c * 8 < columns;
    const char* from = rowOf(a, inside ? row : 0) + size_t(column0 + (inside ? c * 8 : 0)) * 2;
    copyAsync16(to, from, inside ? 16 : 0);
  }

  static __device__ __forceinline__ int keyRow(const AttentionGroup& g, const int32_t* path, bool tree,
                                               int p) {
    if (p >= g.keys) return -1;
    if (!tree) return g.begin + p;
    return p < g.position ? path[p] : g.begin + p - g.position;
  }

  static __device__ __forceinline__ void loadTile(SharedPointer<char> memory, const Attention& a,
                                                  const AttentionGroup& g, const int32_t* path, int column0,
                                                  int tile) {
    const uint32_t slot = (tile & 1) * kTile * kPitch;
#pragma unroll
    for (int i = 0; i < kTile * kChunks; i += kThreads) {
      const int e = i + static_cast<int>(threadIdx.x), r = e / kChunks, c = e % kChunks;
      if (kTile * kChunks % kThreads != 0 && e >= kTile * kChunks) break;
      const int row = keyRow(g, path, a.mask == Mask::tree, tile * kTile + r);
      copyChunk(addressOf(sharedPart<char>(memory, kKeys + slot, kTile * kPitch) + at(r, c)), a.k, row,
                column0, c, a.dim);
      copyChunk(addressOf(sharedPart<char>(memory, kValues + slot, kTile * kPitch) + at(r, c)), a.v, row,
                column0, c, a.dim);
    }
  }

  // s[n] = the warp's 16 queries times keys 8 n .. 8 n + 7 of the tile, for the keys before `left`.
  static __device__ __forceinline__ void scores(float (&s)[kTile / 8][4],
                                                const uint32_t (&q)[kSteps16 + 1][4], SharedAddress keys,
                                                int left) {
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int n = 0; n < kTile / 16; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) s[2 * n][i] = s[2 * n + 1][i] = 0.f;
      if (n * 16 >= left) continue;
      const bool both = n * 16 + 8 < left;
      const int row = n * 16 + (lane >> 4) * 8 + (lane & 7);
#pragma unroll
      for (int k = 0; k < kSteps16; k++) {
        uint32_t b[4];
        loadMatrices(b, keys + at(row, k * 2 + (lane >> 3 & 1)));
        multiplyAdd16<T>(s[2 * n], q[k], b[0], b[1]);
        if (both) multiplyAdd16<T>(s[2 * n + 1], q[k], b[2], b[3]);
      }
      if constexpr (kStep8) {
        uint32_t b[2];
        loadMatrices(b, keys + at(n * 16 + (lane & 15), kChunks - 1));
        multiplyAdd8<T>(s[2 * n], q[kSteps16][0], q[kSteps16][1], b[0]);
        if (both) multiplyAdd8<T>(s[2 * n + 1], q[kSteps16][0], q[kSteps16][1], b[1]);
      }
    }
  }

  // An infinity or a NaN of V times the zero of a query that does not see it would be NaN. If a tile contains
  // such a number and some query does not see it, all threads of the block replace it by zero and remember
  // the first position that had one, each thread for its dimension: causal queries see a position and all
  // before it.
  static __device__ __forceinline__ bool hasInfinite(SharedPointer<char> values) {
    bool found = false;
    for (int e = threadIdx.x; e < kTile * kChunks; e += kThreads) {
      const uint4 v = sharedPart<uint4>(values, at(e / kChunks, e % kChunks), 1)[0];
      const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int i = 0; i < 4; i++)
        found =
            found || (words[i] & T::exponent) == T::exponent || (words[i] >> 16 & T::exponent) == T::exponent;
    }
    return found;
  }
  static __device__ __forceinline__ void takeOut(SharedPointer<char> values, int position0,
                                                 int& firstInfinite) {
    const int d = threadIdx.x;
    if (d >= D) return;
    for (int r = 0; r < kTile; r++) {
      const auto chunk = sharedPart<uint16_t>(values, at(r, d / 8), 8);
      if ((uint16_t(chunk[d % 8]) & T::exponent) != T::exponent) continue;
      chunk[d % 8] = uint16_t{0};
      if (position0 + r < firstInfinite) firstInfinite = position0 + r;
    }
  }

  // o[m][n] += V' P', for dimensions 16 m .. and the warp's queries 8 n .., over the keys before `left`.
  // edge: the bits must be those of rows with other lengths.
  static __device__ __forceinline__ void mix(float (&o)[kParts][2][4], const float (&s)[kTile / 8][4],
                                             SharedAddress values, int left, bool upper, bool edge) {
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int n = 0; n < kTile / 16; n++) {
      if (n * 16 >= left) break;
      // False if only 8 keys are left.
      const bool both = n * 16 + 8 < left || edge;
      uint32_t p[2][2];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        p[0][i] = packHalves<T>(s[2 * n + i][0], s[2 * n + i][1]);
        p[1][i] = packHalves<T>(s[2 * n + i][2], s[2 * n + i][3]);
      }
#pragma unroll
      for (int m = 0; m < kParts; m++) {
        int c = m * 2 + (lane >> 3 & 1);
        if (c >= kChunks) c = kChunks - 1;  // dimensions beyond the last: any numbers
        uint32_t v[4];
        loadTransposed(v, values + at(n * 16 + (lane >> 4) * 8 + (lane & 7), c));
        if (both) {
          multiplyAdd16<T>(o[m][0], v, p[0][0], p[0][1]);
          if (upper) multiplyAdd16<T>(o[m][1], v, p[1][0], p[1][1]);
        } else {
          multiplyAdd8<T>(o[m][0], v[0], v[1], p[0][0]);
          if (upper) multiplyAdd8<T>(o[m][1], v[0], v[1], p[1][0]);
        }
      }
    }
  }

  // Distributes the numbers of queries lane / 4 (low) and lane / 4 + 8 (high) to the lanes in which O' needs
  // them: queries 2 (lane % 4) and the next, in both halves.
  static __device__ __forceinline__ void spread(float (&to)[2][2], float low, float high) {
    const int lane = (threadIdx.x & 3) * 8;
    to[0][0] = __shfl_sync(kAllLanes, low, lane);
    to[0][1] = __shfl_sync(kAllLanes, low, lane + 4);
    to[1][0] = __shfl_sync(kAllLanes, high, lane);
    to[1][1] = __shfl_sync(kAllLanes, high, lane + 4);
  }
  static __device__ __forceinline__ void scale(float (&o)[kParts][2][4], const float (&by)[2][2]) {
#pragma unroll
    for (int m = 0; m < kParts; m++)
#pragma unroll
      for (int h = 0; h < 2; h++)
#pragma unroll
        for (int i = 0; i < 4; i++) o[m][h][i] *= by[h][i & 1];
  }

  static __device__ __forceinline__ void run(const Attention& a, const AttentionGroups& all) {
    DYNAMIC_SHARED(memory);
    if (static_cast<int>(blockIdx.x) >= *all.count) return;
    const AttentionGroup g = all.groups[blockIdx.x];
    const int32_t* path = all.path + size_t(blockIdx.x) * all.pathStride;
    const bool causal = a.mask != Mask::full;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, column0 = blockIdx.y * a.dim;
    const float scaleLog2 = kLog2E / sqrtf(static_cast<float>(a.dim));

    for (int e = threadIdx.x; e < kGroupQueries * kChunks; e += kThreads) {
      const int r = e / kChunks, c = e % kChunks;
      copyChunk(addressOf(sharedPart<char>(memory, 0, kGroupQueries * kPitch) + at(r, c)), a.q,
                r < g.queries ? g.query + r : -1, column0, c, a.dim);
    }
    loadTile(memory, a, g, path, column0, 0);
    commitCopies();

    // For this warp: the number of queries, and the number of positions that its last query sees; in causal
    // attention, query i sees the positions before `first` + i.
    const int queries = g.queries - warp * 16, first = g.position + warp * 16 + 1;
    const int keys = causal && first + 15 < g.keys ? first + 15 : g.keys;
    const bool upper = queries > 8;
    const int tiles = (g.keys + kTile - 1) / kTile;

    float o[kParts][2][4] = {}, most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f};
    uint32_t q[kSteps16 + 1][4];
    constexpr int kNone = 0x7fffffff;
    int firstInfinite = kNone;
    bool infinite = false;
    for (int tile = 0; tile < tiles; tile++) {
      if (tile + 1 < tiles) {
        loadTile(memory, a, g, path, column0, tile + 1);
        commitCopies();
        waitForCopies<1>();
      } else {
        waitForCopies<0>();
      }
      __syncthreads();
      const uint32_t slot = (tile & 1) * kTile * kPitch;
      if (causal && g.position + 1 - tile * kTile < kTile) {
        const auto values = sharedPart<char>(memory, kValues + slot, kTile * kPitch);
        if (__syncthreads_or(hasInfinite(values))) {
          takeOut(values, tile * kTile, firstInfinite);
          infinite = true;
          __syncthreads();
        }
      }
      const int left = keys - tile * kTile;
      if (queries > 0 && left > 0) {
        if (tile == 0) {
          const auto rows = addressOf(sharedPart<char>(memory, 0, kGroupQueries * kPitch));
#pragma unroll
          for (int k = 0; k < kSteps16; k++)
            loadMatrices(q[k], rows + at(warp * 16 + (lane & 15), k * 2 + (lane >> 4)));
          if constexpr (kStep8) {
            uint32_t last[2];
            loadMatrices(last, rows + at(warp * 16 + (lane & 15), kChunks - 1));
            q[kSteps16][0] = last[0];
            q[kSteps16][1] = last[1];
          }
        }
        float s[kTile / 8][4];
        scores(s, q, addressOf(sharedPart<char>(memory, kKeys + slot, kTile * kPitch)), left);
        const int seen = first - tile * kTile;  // number of keys of this tile that query 0 of the warp sees
        const bool edge = causal && seen < kTile;
        if (edge || left < kTile) {
#pragma unroll
          for (int n = 0; n < kTile / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
              const int key = n * 8 + (lane & 3) * 2 + (i & 1), query = (lane >> 2) + (i >> 1) * 8;
              if (key >= left || (causal && key >= seen + query)) s[n][i] = -INFINITY;
            }
        }
        float shrink[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
          float m = most[h];
#pragma unroll
          for (int n = 0; n < kTile / 8; n++) m = fmaxf(m, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
          m = fmaxf(m, __shfl_xor_sync(kAllLanes, m, 1));
          m = fmaxf(m, __shfl_xor_sync(kAllLanes, m, 2));
          const float from = m == -INFINITY ? 0.f : m;  // no key seen yet
          shrink[h] = exp2Approx((most[h] - from) * scaleLog2);
          most[h] = m;
          float t = 0.f;
#pragma unroll
          for (int n = 0; n < kTile / 8; n++)
#pragma unroll
            for (int i = 2 * h; i < 2 * h + 2; i++) {
              // Rounded before it enters either sum, as specified at Attention in backend.h.
              s[n][i] = roundedHalf<T>(exp2Approx(s[n][i] * scaleLog2 - from * scaleLog2));
              t += s[n][i];
            }
          sum[h] = sum[h] * shrink[h] + t;
        }
        float by[2][2];
        spread(by, shrink[0], shrink[1]);
        scale(o, by);
        mix(o, s, addressOf(sharedPart<char>(memory, kValues + slot, kTile * kPitch)), left, upper, edge);
      }
      if (tile + 1 < tiles) __syncthreads();  // the other buffer is free for the tile after the next
    }
    if (infinite) {
      __syncthreads();
      if (threadIdx.x < D) sharedPart<int>(memory, kKeys, D)[threadIdx.x] = firstInfinite;
      __syncthreads();
    }
    if (queries <= 0) return;

#pragma unroll
    for (int h = 0; h < 2; h++) {
      sum[h] += __shfl_xor_sync(kAllLanes, sum[h], 1);
      sum[h] += __shfl_xor_sync(kAllLanes, sum[h], 2);
    }
    float by[2][2];
    spread(by, 1.f / sum[0], 1.f / sum[1]);
    scale(o, by);
    if (infinite) {
#pragma unroll
      for (int m = 0; m < kParts; m++)
#pragma unroll
        for (int i = 0; i < 8; i++) {
          const int d = m * 16 + (i >> 1 & 1) * 8 + (lane >> 2),
                    query = (i >> 2) * 8 + (lane & 3) * 2 + (i & 1);
          if (d < D && sharedPart<int>(memory, kKeys, D)[d] < first + query)
            o[m][i >> 2][i & 3] = notANumber();
        }
    }
    if (a.out.dtype == Dtype::float32) {
#pragma unroll
      for (int m = 0; m < kParts; m++)
#pragma unroll
        for (int i = 0; i < 8; i++) {
          const int d = m * 16 + (i >> 1 & 1) * 8 + (lane >> 2),
                    query = (i >> 2) * 8 + (lane & 3) * 2 + (i & 1);
          if (d < a.dim && query < queries)
            reinterpret_cast<float*>(rowOf(a.out, g.query + warp * 16 + query))[column0 + d] =
                o[m][i >> 2][i & 3];
        }
      return;
    }
    // Stores through this warp's own rows of Q, so that rows are written in pieces of 16 bytes.
    __syncwarp();
#pragma unroll
    for (int m = 0; m < kParts; m++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int c = m * 2 + (i >> 1);
        if (c >= kChunks) continue;
        const uint32_t halves = storedHalves<T>(o[m][0][i], o[m][1][i]);
        const int row = warp * 16 + (lane & 3) * 2 + (i & 1);
        sharedPart<uint16_t>(memory, at(row, c), 8)[lane >> 2] = static_cast<uint16_t>(halves);
        sharedPart<uint16_t>(memory, at(row + 8, c), 8)[lane >> 2] = static_cast<uint16_t>(halves >> 16);
      }
    __syncwarp();
    for (int e = lane; e < 16 * kChunks; e += 32) {
      const int r = e / kChunks, c = e % kChunks;
      if (r >= queries || c * 8 >= a.dim) continue;
      const uint4 chunk = sharedPart<uint4>(memory, at(warp * 16 + r, c), 1)[0];
      *reinterpret_cast<uint4*>(rowOf(a.out, g.query + warp * 16 + r) + size_t(column0 + c * 8) * 2) = chunk;
    }
  }
};

}  // namespace

// Two blocks per multiprocessor: the limit given by the registers of the widest instance. Without this bound,
// ptxas for sm_100 aims at three blocks and spills.
#define CLIP_TWO_BLOCKS 128, 2
CLIP_KERNEL(128, clip_attention_bfloat16_64, const Attention a, const AttentionGroups groups) {
  Attend<Bfloat16, 64>::run(a, groups);
}
CLIP_KERNEL(128, clip_attention_bfloat16_80, const Attention a, const AttentionGroups groups) {
  Attend<Bfloat16, 80>::run(a, groups);
}
CLIP_KERNEL(128, clip_attention_bfloat16_88, const Attention a, const AttentionGroups groups) {
  Attend<Bfloat16, 88>::run(a, groups);
}
CLIP_KERNEL(128, clip_attention_bfloat16_104, const Attention a, const AttentionGroups groups) {
  Attend<Bfloat16, 104>::run(a, groups);
}
CLIP_KERNEL(CLIP_TWO_BLOCKS, clip_attention_bfloat16_128, const Attention a, const AttentionGroups groups) {
  Attend<Bfloat16, 128>::run(a, groups);
}
CLIP_KERNEL(128, clip_attention_float16_64, const Attention a, const AttentionGroups groups) {
  Attend<Float16, 64>::run(a, groups);
}
CLIP_KERNEL(128, clip_attention_float16_80, const Attention a, const AttentionGroups groups) {
  Attend<Float16, 80>::run(a, groups);
}
CLIP_KERNEL(128, clip_attention_float16_88, const Attention a, const AttentionGroups groups) {
  Attend<Float16, 88>::run(a, groups);
}
CLIP_KERNEL(128, clip_attention_float16_104, const Attention a, const AttentionGroups groups) {
  Attend<Float16, 104>::run(a, groups);
}
CLIP_KERNEL(CLIP_TWO_BLOCKS, clip_attention_float16_128, const Attention a, const AttentionGroups groups) {
  Attend<Float16, 128>::run(a, groups);
}

}  // namespace clip::cuda
