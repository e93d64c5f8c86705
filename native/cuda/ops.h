#pragma once
// The entries of the table that are kernels.
#include "context.h"
#include "rows.h"

namespace clip::cuda::ops {

// An op whose kernel does all of it, and has a launchOf in cuda/.
template <class Arguments>
requires requires(const Arguments& a) { launchOf(a); }
void run(Context& c, const Arguments& a) { Stream::of(c).run(launchOf(a), a); }

// ops.cc
void run(Context&, const Linear&);
void run(Context&, const Attention&);
void run(Context&, const Conv&);
void run(Context&, const Resize&);  // on this process's memory

// cosine.cc: queries, classes, y, images, texts and their gradients lie on the device; `best`, `sums`, losses
// and the scale's gradient in this process.
void run(Context&, const CosineSoftmax&);
void run(Context&, const CosineTopK&);
void run(Context&, const InfoNce&);

}  // namespace clip::cuda::ops
