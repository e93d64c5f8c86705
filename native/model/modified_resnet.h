#pragma once
// CLIP's other image tower (Radford et al. 2021, section 2.4): a ResNet-D with three stem convolutions,
// average pools before strided convolutions, and attention pooling. See ModifiedResNet in openai/CLIP
// model.py.
#include "model/image_batch.h"

namespace clip {

// Bytes of feature maps per image.
size_t resNetImageBytes(const ResNetConfig&, Dtype);

// Writes image i's result to out[i]. Returns false if stopped. 'pooled' is the result of the attention pool
// before its output projection; 'tokens' is the same for every position, with the mean token first.
bool encodeImageBatch(const Pass&, const ResNetConfig&, const ResNetWeights&, const ImageBatch&,
                      float* const* out);

}  // namespace clip
