#pragma once
// How numbers are stored, and which pairs of stored matrices a matrix product can multiply.
#include <cstddef>
#include <cstdint>

namespace clip {

// float64 occurs only in files.
enum class Dtype : uint8_t { float32, float16, bfloat16, int8, uint8, float64 };
constexpr size_t bytesOf(Dtype t) {
  return t == Dtype::float64                           ? 8
         : t == Dtype::float32                         ? 4
         : t == Dtype::float16 || t == Dtype::bfloat16 ? 2
                                                       : 1;
}
constexpr const char* nameOf(Dtype t) {
  return t == Dtype::float32    ? "float32"
         : t == Dtype::float16  ? "float16"
         : t == Dtype::bfloat16 ? "bfloat16"
         : t == Dtype::int8     ? "int8"
         : t == Dtype::uint8    ? "uint8"
                                : "float64";
}

// The dtypes with which a model can be loaded, and those of the rows of a kernel.
constexpr Dtype kModelDtypes[] = {Dtype::float32, Dtype::float16, Dtype::bfloat16, Dtype::int8};
constexpr Dtype kRowDtypes[] = {Dtype::float32, Dtype::bfloat16, Dtype::int8};

// The format of a matrix product: the dtype in which its weights are stored, and the dtype of the rows by
// which they are multiplied, which is the dtype with which a model is loaded.
struct Format {
  Dtype weights, rows;
  constexpr bool operator==(const Format&) const = default;
};
constexpr Format uniform(Dtype t) { return {t, t}; }

// Every format for which a kernel may exist. The table of a backend lists those that it supports (backend.h,
// Products). {int8, bfloat16}, weights alone in int8, was measured and left out: docs/benchmarks.md says why.
constexpr Format kFormats[] = {
    uniform(Dtype::float32),  {Dtype::float16, Dtype::float32},  // of weights that float16 holds exactly: the sums of the same float32s
    uniform(Dtype::bfloat16), uniform(Dtype::float16),          uniform(Dtype::int8),
};
constexpr int kFormatCount = sizeof(kFormats) / sizeof(kFormats[0]);
// Returns -1 if there is no such format.
constexpr int indexOf(Format format) {
  for (int i = 0; i < kFormatCount; i++)
    if (kFormats[i] == format) return i;
  return -1;
}

}  // namespace clip
