#pragma once
// clip_linear_*: see Linear in backend.h.
//
//   clip_linear_{bfloat16,float16}_skinny  (Linear, LinearScratch)  blocks of 64 rows x 32 outputs x a slice of
//                                                                   the inputs: few rows, so that every
//                                                                   multiprocessor streams weights
//   clip_linear_{bfloat16,float16}_square  (Linear)                 blocks of 128 rows x 128 outputs
//   clip_linear_float32                    (Linear)
//
// Both families of 16-bit kernels add 16 inputs at a time with the same instruction. They restart from zero
// at every slice of kSliceInputs inputs and then add the slices in order. A row therefore has the same bits
// in both, and linearLaunch may choose either.
//
// 16-bit: x and w have one type; x begins at a multiple of 16 bytes, and so do its rows; w is packed as (out,
// packedInputs(in)), with zeros after `in`; y is float32, or has x's type and then begins at a multiple of 4
// bytes, and so do its rows. float32: w is (out, in), y is float32.
#include "launch.h"

namespace clip::cuda {

constexpr const char* kLinearKernels[] = {
    "clip_linear_bfloat16_skinny", "clip_linear_float16_skinny", "clip_linear_bfloat16_square",
    "clip_linear_float16_square",  "clip_linear_float32",
};

constexpr int kSliceInputs = 256;

constexpr int packedInputs(int in) { return ceilDiv(in, 64) * 64; }
constexpr size_t linearPackedSize(Dtype dtype, int in, int out) {
  return dtype == Dtype::float32 ? size_t(in) * out * 4 : size_t(packedInputs(in)) * out * 2;
}

namespace linear {
constexpr int kSkinnyRows = 64, kSkinnyOutputs = 32, kSquare = 128;
constexpr int kSkinnyShared = (kSkinnyRows + kSkinnyOutputs) * kSliceInputs * 2;
constexpr int kStages = 4, kBlockInputs = 32;
constexpr int kSquareShared = kStages * 2 * kSquare * kBlockInputs * 2;
constexpr int slices(int in) { return ceilDiv(in, kSliceInputs); }
constexpr int skinnyTiles(const Linear& l) {
  return ceilDiv(l.rows, kSkinnyRows) * ceilDiv(l.out, kSkinnyOutputs);
}
}  // namespace linear

// Scratch memory in which the blocks of a skinny product leave their sums for the last block of their tile.
struct LinearScratch {
  float* partial;     // (skinnyTiles, slices, 64 * 32), 16-byte aligned
  unsigned* arrived;  // (skinnyTiles), zero before the first launch; every launch leaves zeros
};
constexpr size_t linearPartialBytes(const Linear& l) {
  return size_t(linear::skinnyTiles(l)) * linear::slices(l.in) * linear::kSkinnyRows *
         linear::kSkinnyOutputs * 4;
}
constexpr size_t linearArrivedBytes(const Linear& l) { return size_t(linear::skinnyTiles(l)) * 4; }

// With this number of blocks or more, square ones keep a GPU busy.
constexpr int kBusyBlocks = 96;
constexpr bool linearIsSkinny(const Linear& l) {
  return l.x.dtype != Dtype::float32 &&
         ceilDiv(l.rows, linear::kSquare) * ceilDiv(l.out, linear::kSquare) < kBusyBlocks;
}

constexpr Launch linearSkinnyLaunch(const Linear& l) {
  return {l.x.dtype == Dtype::bfloat16 ? "clip_linear_bfloat16_skinny" : "clip_linear_float16_skinny",
          static_cast<unsigned>(ceilDiv(l.out, linear::kSkinnyOutputs)),
          static_cast<unsigned>(ceilDiv(l.rows, linear::kSkinnyRows)),
          static_cast<unsigned>(linear::slices(l.in)),
          128,
          linear::kSkinnyShared};
}
constexpr Launch linearSquareLaunch(const Linear& l) {
  return {l.x.dtype == Dtype::bfloat16 ? "clip_linear_bfloat16_square" : "clip_linear_float16_square",
          static_cast<unsigned>(ceilDiv(l.out, linear::kSquare)),
          static_cast<unsigned>(ceilDiv(l.rows, linear::kSquare)),
          1,
          256,
          linear::kSquareShared};
}
// Blocks of 16 rows each, up to the largest possible grid; each block reads its outputs' weights.
constexpr Launch linearFloat32Launch(const Linear& l) {
  const int blocks = ceilDiv(l.rows, 16);
  return {"clip_linear_float32",
          static_cast<unsigned>(ceilDiv(l.out, 16)),
          static_cast<unsigned>(blocks < 65535 ? blocks : 65535),
          1,
          128,
          0};
}
constexpr Launch linearLaunch(const Linear& l) {
  return l.x.dtype == Dtype::float32 ? linearFloat32Launch(l)
         : linearIsSkinny(l)         ? linearSkinnyLaunch(l)
                                     : linearSquareLaunch(l);
}

}  // namespace clip::cuda
