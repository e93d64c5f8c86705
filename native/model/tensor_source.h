#pragma once
// The bytes of one tensor while it is packed.
#include <cstdint>
#include <vector>

#include "model/source_file.h"
#include "model/tensor.h"

namespace clip {

// Rows that are adjacent in the file are read by the thread that packs them, into memory that stays in its
// cache; any other view is read as a whole.
class TensorSource {
 public:
  using Piece = std::vector<float>;  // bytes, usually of floats

  TensorSource(const SourceFile& file, const TensorView& t) : file_(&file), t_(&t) {
    if (rowsSideBySide(t)) return;
    const size_t bytes = extentBytes(t, t.shape[0]);
    whole_.resize((bytes + 3) / 4);
    file.read(t.offset, whole_.data(), bytes);
  }

  // Returns a pointer to row `first`, followed by `count` rows in total; it is valid until `piece` is used
  // again.
  const uint8_t* rows(int64_t first, int64_t count, Piece& piece) const {
    const uint64_t skipped = static_cast<uint64_t>(first * t_->strides[0]) * bytesOf(t_->dtype);
    if (!whole_.empty()) return reinterpret_cast<const uint8_t*>(whole_.data()) + skipped;
    const size_t bytes = extentBytes(*t_, count);
    if (piece.size() < (bytes + 3) / 4) piece.resize((bytes + 3) / 4);
    file_->read(t_->offset + skipped, piece.data(), bytes);
    return reinterpret_cast<const uint8_t*>(piece.data());
  }

 private:
  const SourceFile* file_;
  const TensorView* t_;
  Piece whole_;
};

}  // namespace clip
