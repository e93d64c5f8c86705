#pragma once
// Reads one tensor of a checkpoint: checks that the view has the shape that the architecture needs and is
// inside its file, and converts its values to float32. Every value is checked to be finite, because a single
// NaN in a weight would silently corrupt every embedding.
#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace clip {

using Shape = std::vector<int64_t>;

// Returns the tensor with this canonical name after checking that it exists, has this shape, is F32, F16,
// BF16 or F64, is inside its file and is not scattered over it. Throws ERR_CLIP_CHECKPOINT with the file and
// the checkpoint's own name of the tensor.
const TensorView& checkedTensor(const ModelConfig&, const std::string& name, const Shape&);

// The number of bytes from the first element of `rows` consecutive rows to the end of the last of them.
size_t extentBytes(const TensorView&, int64_t rows);
// Whether each row ends before the next one begins, with little in between, so that some rows can be read
// without the others.
bool rowsSideBySide(const TensorView&);

// The view as a matrix: the first dimension gives the rows, all others together the columns.
int64_t columnsOf(const TensorView&);
// Whether the columns are contiguous in the file.
bool contiguousColumns(const TensorView&);

// Converts rows [firstRow, firstRow + count) to float32, dense, from `bytes`, which points to the first of
// them. Throws ERR_CLIP_CHECKPOINT if a value is not finite.
void readRows(const ModelConfig&, const TensorView&, const uint8_t* bytes, int64_t firstRow, int64_t count,
              float* dst);
// Copies the same rows in their stored dtype. Values are not checked.
void copyRows(const TensorView&, const uint8_t* bytes, int64_t count, uint8_t* dst);
// Throws like readRows if a value is not finite.
void checkFinite(const ModelConfig&, const TensorView&, const float* rows, int64_t firstRow, int64_t count);

}  // namespace clip
