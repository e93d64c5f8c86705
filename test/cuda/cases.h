#pragma once
// The test program's cases: `cuda_tests GROUP` runs those of one group and prints one TAP line each, which
// the ava tests beside read.
#include <functional>
#include <string>

namespace cases {

// A case returns "" or what is wrong.
using Body = std::function<std::string()>;
// long: only with --all, in `npm run nightly`.
void add(const std::string& group, const std::string& name, Body body, bool isLong = false);

// Cases that a file adds when main begins.
struct Registration {
  explicit Registration(void (*addAll)());
};

std::string format(const char* text, ...) __attribute__((format(printf, 1, 2)));

}  // namespace cases
