#pragma once
// The cases of an op, written once, in the file of this folder that is named after it: shapes, corner cases
// and seeds. They are read by the tests of every backend (test/kernels), the tests of the CUDA kernels under
// the emulators (test/cuda), the check of a GPU before its first model, its timing (gpu-selfcheck) and the
// benchmark (npm run bench); each runs the cases that are marked for it.
#include <initializer_list>
#include <vector>

#include "backend.h"

namespace clip::ops {

// Where a case is run.
enum Use : unsigned {
  kTested = 1,     // every backend against the reference, and the CUDA kernels under the emulators
  kEmulated = 2,   // the CUDA kernels only: what only the towers require of them, such as padding rows
  kFirstLoad = 4,  // on a GPU before its first model: few and small
  kTimed = 8,      // timed on CPUs and GPUs: shapes of models
};

struct Field {
  const char* key = nullptr;
  double value = 0;
};

// Seeds: the first array of a case is generated from seed 1, the next from 2, and so on. `scale`: standard
// deviation of the first array's numbers, by default 1. `nan`: one of its numbers is a NaN.
struct Case {
  const char* name;
  unsigned uses;     // combination of Use
  Field fields[12];  // sizes and options, named like the arguments of the op's kernel call from JavaScript

  double number(const char* key, double otherwise = 0) const;
  // Returns 0 if the key is missing.
  int operator[](const char* key) const { return static_cast<int>(number(key)); }
};

// Makes cases of an op from sizes, given in the order of its keys, and further fields.
struct Shapes {
  std::vector<const char*> keys;
  Case operator()(const char* name, unsigned uses, std::initializer_list<double> sizes,
                  std::initializer_list<Field> more = {}) const;
};

#define CLIP_DECLARE(op, Arguments) \
  namespace op {                    \
  std::vector<Case> cases();        \
  }
CLIP_OPS(CLIP_DECLARE)
#undef CLIP_DECLARE

// The cases of the op with that name in CLIP_OPS, in the order of its file; none if there is no such op.
std::vector<Case> casesOf(const char* op, unsigned uses);

// The lists that the numbers of a case describe, named like the arguments of the op's kernel call. Most ops
// have none.
struct List {
  const char* key;
  std::vector<int32_t> values;
};
std::vector<List> listsOf(const char* op, const Case&);

}  // namespace clip::ops
