#pragma once
// The beginning and the end of both image towers: images become rows of patches, and result rows are copied
// to the caller's memory.
#include <vector>

#include "model/pass.h"

namespace clip {

// A batch: first the images given as pixels, then those given as preprocessed planes.
struct ImageBatch {
  int pixelImages = 0, planeImages = 0;
  const uint8_t* pixels = nullptr;   // (pixelImages, size, size, 3)
  std::vector<const float*> planes;  // planeImages times (3, size, size)
  const float* value = nullptr;      // (3, 256): normaliseTable
  int count() const { return pixelImages + planeImages; }
};

// The batch in memory of the backend, padded to `images` images with undefined contents.
class UploadedImages {
 public:
  UploadedImages(const Pass&, const ImageBatch&, int images, int size);
  // Cuts all images into patches: y (count * (size / patch)^2, 3 * patch^2), with columns ordered (channel,
  // y, x).
  void cut(const Pass&, int patch, const MatrixView& y) const;
  // The number on which the calls made by `cut` depend.
  uint32_t calls() const { return static_cast<uint32_t>(pixelImages_); }

 private:
  int pixelImages_, planeImages_, size_;
  const uint8_t* pixels_ = nullptr;
  const float *planes_ = nullptr, *value_;
};

// Copies rows [i * perImage, (i + 1) * perImage) of `results` to out[i].
void deliver(const HostRows& results, int images, int perImage, float* const* out);

}  // namespace clip
