#include "model/image_batch.h"

#include <algorithm>

namespace clip {

UploadedImages::UploadedImages(const Pass& pass, const ImageBatch& batch, int images, int size)
    : pixelImages_(batch.planeImages > 0 ? batch.pixelImages : images),
      planeImages_(images - pixelImages_),
      size_(size) {
  const size_t values = size_t{3} * size * size;
  if (pixelImages_ > 0) {
    uint8_t* pixels = static_cast<uint8_t*>(pass.arena.take(pixelImages_ * values));
    pass.backend.upload(&pass.context, pixels, batch.pixels, batch.pixelImages * values);
    pixels_ = pixels;
  }
  if (planeImages_ > 0) {
    float* planes = static_cast<float*>(pass.arena.take(planeImages_ * values * sizeof(float)));
    for (int i = 0; i < batch.planeImages; i++)
      pass.backend.upload(&pass.context, planes + i * values, batch.planes[i], values * sizeof(float));
    planes_ = planes;
  }
  value_ = pass.arena.copy(batch.value, 3 * 256);
}

void UploadedImages::cut(const Pass& pass, int patch, const MatrixView& y) const {
  const int perImage = (size_ / patch) * (size_ / patch);
  if (pixels_)
    pass.backend.patches(pass.context, {.pixels = pixels_,
                                        .value = value_,
                                        .planes = nullptr,
                                        .y = y,
                                        .images = pixelImages_,
                                        .size = size_,
                                        .patch = patch});
  if (planes_)
    pass.backend.patches(pass.context, {.pixels = nullptr,
                                        .value = value_,
                                        .planes = planes_,
                                        .y = rowsFrom(y, pixelImages_ * perImage),
                                        .images = planeImages_,
                                        .size = size_,
                                        .patch = patch});
}

void deliver(const HostRows& results, int images, int perImage, float* const* out) {
  const int columns = results.columns();
  for (int i = 0; i < images; i++)
    for (int t = 0; t < perImage; t++)
      std::copy_n(results.row(i * perImage + t), columns, out[i] + static_cast<size_t>(t) * columns);
}

}  // namespace clip
