#pragma once
// For benchmarks: measures the time of each operation of a model. A model that was loaded while no profile
// was running has no overhead.
#include <vector>

#include "backend.h"

namespace clip {

// All calls of one operation with one shape. `in` and `out` are 0 if an operation has no such size.
struct OpTimes {
  const char* op;  // its name in the Backend table
  int rows, in, out;
  Dtype dtype;  // of its input (linear, conv, attention) or output (the others)
  // Bytes per packed weight: 2 if a float32 product reads float16 weights; 0 if it has no weights.
  int weightBytes;
  std::vector<float> seconds;  // of each call, in call order
};

// From now on, models are loaded with a table that measures the time of each operation.
void startProfile();
// The operations of those models since the last call. If `stop`, models are loaded without measuring from now
// on.
std::vector<OpTimes> readProfile(bool stop);

// Returns `b` or, while a profile is running, the table that measures it. Only the first backend requested is
// ever measured: a table consists of functions without state, so there can be only one.
const Backend& profiled(const Backend& b);

}  // namespace clip
