#pragma once
// The entries of the table that launch kernels.
#include "context.h"
#include "rows.h"

namespace clip::cuda::ops {

// An op that a single kernel computes, with a launchOf in cuda/.
template <class Arguments>
requires requires(const Arguments& a) { launchOf(a); }
void run(Context& c, const Arguments& a) { Stream::of(c).run(launchOf(a), a); }

// ops.cc
void run(Context&, const Linear&);
void run(Context&, const Attention&);
void run(Context&, const Conv&);
void run(Context&, const Resize&);  // on memory of this process

// cosine.cc: queries, classes, y, images, texts and their gradients are on the device; `best`, `sums`, losses
// and the scale's gradient are in this process.
void run(Context&, const CosineSoftmax&);
void run(Context&, const CosineTopK&);
void run(Context&, const InfoNce&);

}  // namespace clip::cuda::ops
