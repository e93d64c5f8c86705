#pragma once
// The one way native code reports a failure. Thrown anywhere, caught in one place (binding/error.cc), where
// it becomes a JavaScript ClipError with the same code and fields and a JavaScript stack.
#include <string>
#include <utility>

namespace clip {

struct Error {
  std::string code;     // "ERR_CLIP_CHECKPOINT": the list is in lib/base/errors.ts
  std::string message;  // one sentence that names the file, the field and the expected value
  std::string file = {};
  std::string field = {};
  std::string expected = {};
  std::string actual = {};
  int index = -1;  // which element of the caller's array, -1 = not about one
};

// Thrown out of work that nobody wants any more: its caller went away, or its environment ends.
struct Cancelled {};

}  // namespace clip
