#pragma once
// The only kind of error thrown in this folder: a vocabulary that can't be used.
#include <string>

#include "error.h"

namespace clip::tokenizer {

[[noreturn]] inline void refuse(const std::string& file, const std::string& field,
                                const std::string& expected, const std::string& actual) {
  throw Error{.code = "ERR_CLIP_CHECKPOINT",
              .message = file + ": expected `" + field + "` to be " + expected + ", got " + actual,
              .file = file,
              .field = field,
              .expected = expected,
              .actual = actual};
}

}  // namespace clip::tokenizer
