#pragma once
// The lists that the numbers of attention's cases stand for. Every test, check and benchmark that runs a case
// uses these, so that all of them run the same one.
#include <cstdint>

#include "ops/cases.h"

namespace clip::ops::attention {

// The lists of native/backend.h, Attention.
struct Lists {
  int rows = 0;                   // including those of padding, which come last
  int padding = 0;                // how many of the rows are padding
  std::vector<int32_t> first;     // (rows); empty for trees
  std::vector<int32_t> parent;    // (rows); for trees only
  std::vector<int32_t> queryRow;  // empty if every row is a query
};
Lists lists(const Case&);

}  // namespace clip::ops::attention
