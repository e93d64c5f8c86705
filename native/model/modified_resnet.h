#pragma once
// CLIP's other image tower (Radford et al. 2021, section 2.4): a ResNet-D with three stem convolutions,
// average pools in front of strided convolutions, and attention pooling. openai/CLIP model.py,
// ModifiedResNet.
#include "model/image_batch.h"

namespace clip {

// Bytes of feature maps that one image takes.
size_t resNetImageBytes(const ResNetConfig&, Dtype);

// Writes image i's result to out[i]. False when stopped. 'pooled' is what the attention pool gives before its
// output projection; 'tokens' the same for every position, the mean token first.
bool encodeImageBatch(const Pass&, const ResNetConfig&, const ResNetWeights&, const ImageBatch&,
                      float* const* out);

}  // namespace clip
