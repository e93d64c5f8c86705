#pragma once
// One case each: whatever the choices are, it ends normally or with a clip::Error, and reads and writes only
// what is its own. Anything else ends the process, by a sanitizer or by `fault`.
#include <cstdint>
#include <string>

#include "choices.h"

namespace clip::fuzz {

enum class End : uint8_t { done, refused };

// A tiny model and its file, mutated, then loaded; what loads encodes images and texts, and some of it is
// loaded again from a damaged file of packed weights.
End weightsCase(Choices&);
// An image of any mode, size and aspect ratio through resizeAndCrop, on each backend: equal bytes, also
// from a part of it; a part that is too small is refused.
End imageCase(Choices&);
// Token ids and lengths, in and out of range, of all outputs, into a tiny model.
End tokensCase(Choices&);

// A folder of this process for its files; removed at exit.
const std::string& folder();

}  // namespace clip::fuzz
