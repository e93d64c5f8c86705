#pragma once
// The lists that the numbers of attention's cases describe. Every test, check and benchmark of a case uses
// these, so that all of them run the same one.
#include <cstdint>

#include "ops/cases.h"

namespace clip::ops::attention {

// The lists of Attention in native/backend.h.
struct Lists {
  int rows = 0;                   // including padding rows, which come last
  int padding = 0;                // number of padding rows
  std::vector<int32_t> first;     // (rows); empty for trees
  std::vector<int32_t> parent;    // (rows); for trees only
  std::vector<int32_t> queryRow;  // empty if every row is a query
};
Lists lists(const Case&);

}  // namespace clip::ops::attention
