#pragma once
// What both image towers begin and end with: images become rows of patches, result rows become the
// caller's.
#include <vector>

#include "model/pass.h"

namespace clip {

// A batch: first the images that are pixels, then those that are planes already.
struct ImageBatch {
  int pixelImages = 0, planeImages = 0;
  const uint8_t* pixels = nullptr;   // (pixelImages, size, size, 3)
  std::vector<const float*> planes;  // planeImages times (3, size, size)
  const float* value = nullptr;      // (3, 256): normaliseTable
  int count() const { return pixelImages + planeImages; }
};

// The batch on the backend's side, padded to `images` images of whatever was there.
class UploadedImages {
 public:
  UploadedImages(const Pass&, const ImageBatch&, int images, int size);
  // Cuts all images into patches: y (count * (size / patch)^2, 3 * patch^2), columns ordered (channel, y,
  // x).
  void cut(const Pass&, int patch, const MatrixView& y) const;
  // What the calls of `cut` depend on.
  uint32_t calls() const { return static_cast<uint32_t>(pixelImages_); }

 private:
  int pixelImages_, planeImages_, size_;
  const uint8_t* pixels_ = nullptr;
  const float *planes_ = nullptr, *value_;
};

// Copies rows [i * perImage, (i + 1) * perImage) of `results` to out[i].
void deliver(const HostRows& results, int images, int perImage, float* const* out);

}  // namespace clip
