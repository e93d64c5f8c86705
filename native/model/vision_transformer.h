#pragma once
// CLIP's image tower (Radford et al. 2021; a ViT with a layer norm before the blocks).
#include "model/tower.h"

namespace clip {

// A batch: first the pictures that are pixels, then those that are planes already.
struct ImageBatch {
  int pixelImages = 0, planeImages = 0;
  const uint8_t* pixels = nullptr;   // (pixelImages, size, size, 3)
  std::vector<const float*> planes;  // planeImages times (3, size, size)
  const float* value = nullptr;      // (3, 256): normaliseTable
  int count() const { return pixelImages + planeImages; }
};

// Writes image i's result to out[i]. False when stopped.
bool encodeImageBatch(const Pass&, const VisionConfig&, const VisionWeights&, int embedDim, const ImageBatch&,
                      float* const* out);

}  // namespace clip
