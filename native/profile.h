#pragma once
// For benchmarks: what each operation of a model costs. Nothing of it is on the way of a model that was
// loaded while no profile ran.
#include <vector>

#include "backend.h"

namespace clip {

// All calls of one operation with one shape. `in` and `out` are 0 where an operation has no such size.
struct OpTimes {
  const char* op;  // its name in the Backend table
  int rows, in, out;
  Dtype dtype;  // of what it reads (linear, conv, attention) or writes (the others)
  // Of each weight, packed: 2 where a float32 product reads float16 ones. 0: it has none.
  int weightBytes;
  std::vector<float> seconds;  // of each call, in the order of the calls
};

// From now on models are loaded with a table that takes the time of its operations.
void startProfile();
// What those models did since the last call. stop: models are loaded as ever from now on.
std::vector<OpTimes> readProfile(bool stop);

// `b`, or while a profile runs the table that times it. Only the first backend that is asked for is ever
// timed: a table is functions without state, so there is one.
const Backend& profiled(const Backend& b);

}  // namespace clip
