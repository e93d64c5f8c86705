#pragma once
// The entries of the table that are kernels. In a namespace of their own: linear and attention are more.
#include "backend.h"

namespace clip::cuda::ops {

// ops.cc
void linear(Context&, const Linear&);
void layerNorm(Context&, const LayerNorm&);
void convert(Context&, const Convert&);
void attention(Context&, const Attention&);
void embed(Context&, const Embed&);
void gather(Context&, const Gather&);
void patches(Context&, const Patches&);
void conv(Context&, const Conv&);
void pool(Context&, const Pooling&);
void normalise(Context&, const Normalise&);

// cosine.cc: queries, classes, y, images, texts and their gradients lie on the device; `best`, `sums`, losses
// and the scale's gradient in this process.
void cosineSoftmax(Context&, const CosineSoftmax&);
void cosineTopK(Context&, const CosineTopK&);
void infoNce(Context&, const InfoNce&);

}  // namespace clip::cuda::ops
