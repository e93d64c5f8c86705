#pragma once
// ConvNeXt (Liu et al. 2022), as timm computes it: a convolutional image tower whose convolutions are depthwise 7 x 7, or
// matrix products of patches that do not overlap.
#include "model/image_batch.h"

namespace clip {

// Bytes of feature maps per image.
size_t convNextImageBytes(const ConvNextConfig&, Dtype);

// Writes image i's result to out[i]. Returns false if stopped. 'pooled' is the normed mean of the last feature map;
// 'tokens' are the pixels of that map, each normed.
bool encodeImageBatch(const Pass&, const ConvNextConfig&, const ConvNextWeights&, const ImageBatch&,
                      float* const* out);

}  // namespace clip
