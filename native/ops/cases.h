#pragma once
// The cases of an op, written once, in the file of this folder that has its name: shapes, corner cases and
// seeds. The tests of every backend (test/kernels), those of the CUDA kernels under the emulators (test/cuda),
// a GPU's check before its first model, its timing (gpu-selfcheck) and the benchmark (npm run bench) all read
// them, each what is marked for it.
#include <initializer_list>
#include <vector>

#include "backend.h"

namespace clip::ops {

// Who runs a case.
enum Use : unsigned {
  kTested = 1,     // every backend against the reference, and the CUDA kernels under the emulators
  kEmulated = 2,   // the CUDA kernels alone: what only the towers ask of them, such as rows of padding
  kFirstLoad = 4,  // a GPU before its first model: few, and small
  kTimed = 8,      // timed on CPUs and GPUs: shapes that models have
};

struct Field {
  const char* key = nullptr;
  double value = 0;
};

// Seeds: the first array of a case is made of seed 1, the next of 2, and so on. `scale`: deviation of the
// first array's numbers, 1 if not given. `nan`: one of its numbers is a NaN.
struct Case {
  const char* name;
  unsigned uses;     // of Use
  Field fields[12];  // sizes and the like, by the names that the kernel calls of JavaScript have for them

  double number(const char* key, double otherwise = 0) const;
  // 0 where the key is missing
  int operator[](const char* key) const { return static_cast<int>(number(key)); }
};

// Makes the cases of an op of their sizes, in the order of its keys, and of what else they say.
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

// Of the op with that name in CLIP_OPS, in the order of its file; none where there is no such op.
std::vector<Case> casesOf(const char* op, unsigned uses);

// The lists that the numbers of a case of that op stand for, named like the arguments of its kernel call. Most
// ops have none.
struct List {
  const char* key;
  std::vector<int32_t> values;
};
std::vector<List> listsOf(const char* op, const Case&);

}  // namespace clip::ops
