#pragma once
// The cases of an op, written once: shapes, corner cases and seeds. The tests of every backend (test/kernels),
// those of the CUDA kernels under the emulators (test/cuda), a GPU's check before its first model, its timing
// (gpu-selfcheck) and the benchmark (npm run bench) all read this list, each what is marked for it.
#include <vector>

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

struct Case {
  const char* op;
  const char* name;
  unsigned uses;     // of Use
  Field fields[12];  // sizes and the like, by the names that the kernel calls of JavaScript have for them

  double number(const char* key, double otherwise = 0) const;
  // 0 where the key is missing
  int operator[](const char* key) const { return static_cast<int>(number(key)); }
};

const std::vector<Case>& allCases();
// In the order of the list.
std::vector<Case> casesOf(const char* op, unsigned uses);

}  // namespace clip::ops
