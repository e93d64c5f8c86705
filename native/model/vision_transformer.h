#pragma once
// CLIP's image tower (Radford et al. 2021): a class token and the patches of an image go through a
// transformer.
#include "model/image_batch.h"

namespace clip {

// Writes image i's result to out[i]. Returns false if stopped.
bool encodeImageBatch(const Pass&, const ImageTransformerConfig&, const ImageTransformerWeights&,
                      const ImageBatch&, float* const* out);

}  // namespace clip
