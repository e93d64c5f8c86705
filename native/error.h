#pragma once
// The only way in which native code reports a failure. It may be thrown anywhere and is caught in one place
// (binding/error.cc), where it becomes a JavaScript ClipError with the same code and fields and a JavaScript
// stack.
#include <string>
#include <utility>

namespace clip {

struct Error {
  std::string code;     // "ERR_CLIP_CHECKPOINT", ...; the list is in lib/base/errors.ts
  std::string message;  // one sentence that names the file, the field and the expected value
  std::string file = {};
  std::string field = {};
  std::string expected = {};
  std::string actual = {};
  int index = -1;  // the element of the caller's array that it is about; -1: none
};

// An argument that is not what it must be.
[[noreturn]] inline void wrong(const std::string& field, const std::string& expected, const std::string& got,
                               const char* code = "ERR_CLIP_INPUT") {
  throw Error{code, "Expected `" + field + "` to " + expected + ", got " + got, {}, field, expected, got};
}

// Thrown to end work whose result nobody needs any more: its caller has cancelled it, or its environment
// ends.
struct Cancelled {};

}  // namespace clip
