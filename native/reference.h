#pragma once
// The reference backend's table, and the piece of it that lives in another file.
#include "backend.h"

namespace clip {

extern const Backend referenceBackend;
void referenceResize(Context&, const Resize&);  // reference_resize.cc

}  // namespace clip
