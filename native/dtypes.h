#pragma once
// How numbers are stored, and what a matrix product makes of two stored matrices.
#include <cstddef>
#include <cstdint>

namespace clip {

// float64: only in files.
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

// What a model can be loaded with, and what the rows of a kernel can be.
constexpr Dtype kModelDtypes[] = {Dtype::float32, Dtype::float16, Dtype::bfloat16, Dtype::int8};
constexpr Dtype kRowDtypes[] = {Dtype::float32, Dtype::bfloat16, Dtype::int8};

// The format of a matrix product: how its weights are stored, and what the rows are that they are multiplied
// with, which is what a model is loaded with.
struct Format {
  Dtype weights, rows;
  constexpr bool operator==(const Format&) const = default;
};
constexpr Format uniform(Dtype t) { return {t, t}; }

// Every format that a kernel may exist for. A backend says in its table which it has (backend.h, Products).
constexpr Format kFormats[] = {
    uniform(Dtype::float32),  {Dtype::float16, Dtype::float32},  // of weights that float16 holds exactly: the sums of the same float32s
    uniform(Dtype::bfloat16), uniform(Dtype::float16),          uniform(Dtype::int8),
};
constexpr int kFormatCount = sizeof(kFormats) / sizeof(kFormats[0]);
// -1: none
constexpr int indexOf(Format format) {
  for (int i = 0; i < kFormatCount; i++)
    if (kFormats[i] == format) return i;
  return -1;
}

}  // namespace clip
