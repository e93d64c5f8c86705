#pragma once
// The cases of the test program: `cuda_tests GROUP` runs those of one group and prints one TAP line for each,
// which the ava tests in this folder read.
#include <functional>
#include <string>

namespace cases {

// A case returns "" or what is wrong.
using Body = std::function<std::string()>;
// isLong: run only with --all, in `npm run nightly`.
void add(const std::string& group, const std::string& name, Body body, bool isLong = false);

// Adds the cases of a file when main begins.
struct Registration {
  explicit Registration(void (*addAll)());
};

std::string format(const char* text, ...) __attribute__((format(printf, 1, 2)));

}  // namespace cases
