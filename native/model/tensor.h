#pragma once
// Reading one tensor of a checkpoint: is the view what the architecture needs, does it lie inside its file,
// and its values as float32. Every value is checked to be finite: one NaN in a weight would silently spoil
// every embedding.
#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace clip {

using Shape = std::vector<int64_t>;

// The tensor of this canonical name, checked: present, of this shape, F32, F16 or BF16, inside its file and
// not scattered over it.
// Throws ERR_CLIP_CHECKPOINT naming the file and the checkpoint's own name of the tensor.
const TensorView& checkedTensor(const ModelConfig&, const std::string& name, const Shape&);

// Bytes from the first element of `rows` consecutive rows to the end of their last one.
size_t extentBytes(const TensorView&, int64_t rows);
// Each row ends before the next one begins, with little in between: some rows can be read without the others.
bool rowsSideBySide(const TensorView&);

// The view as a matrix: its first dimension are the rows, all others together the columns.
int64_t columnsOf(const TensorView&);
// Columns lie one after the other in the file.
bool contiguousColumns(const TensorView&);

// Rows [firstRow, firstRow + count) as float32, dense, from `bytes`, where the first of them lies.
// Throws ERR_CLIP_CHECKPOINT at a value that is not finite.
void readRows(const ModelConfig&, const TensorView&, const uint8_t* bytes, int64_t firstRow, int64_t count,
              float* dst);
// The same rows in their stored dtype. Values are not checked.
void copyRows(const TensorView&, const uint8_t* bytes, int64_t count, uint8_t* dst);
// Throws as readRows does.
void checkFinite(const ModelConfig&, const TensorView&, const float* rows, int64_t firstRow, int64_t count);

}  // namespace clip
