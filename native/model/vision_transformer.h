#pragma once
// CLIP's image tower (Radford et al. 2021; a ViT with a layer norm before the blocks).
#include "model/image_batch.h"

namespace clip {

// Writes image i's result to out[i]. False when stopped.
bool encodeImageBatch(const Pass&, const VisionConfig&, const VisionWeights&, int embedDim, const ImageBatch&,
                      float* const* out);

}  // namespace clip
