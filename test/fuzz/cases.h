#pragma once
// One case each: whatever the choices are, it ends normally or with a clip::Error, and reads and writes only
// its own memory. Anything else ends the process, by a sanitizer or by `fault`.
#include <cstdint>
#include <string>

#include "choices.h"

namespace clip::fuzz {

enum class End : uint8_t { done, refused };

// Mutates and loads a tiny model and its file; a model that loads encodes images and texts, and some are
// loaded again from a damaged file of packed weights.
End weightsCase(Choices&);
// Passes an image of any mode, size and aspect ratio to resizeAndCrop on each backend: the bytes must be
// equal, also if only a part of it is given; a part that is too small must be rejected.
End imageCase(Choices&);
// Passes token ids and lengths, in and out of range, to a tiny model, for all outputs.
End tokensCase(Choices&);

// Reads a damaged vocabulary of any format as any class; what can be read turns texts into ids and back.
End vocabularyCase(Choices&);

// A folder for the files of this process; removed at exit.
const std::string& folder();

}  // namespace clip::fuzz
