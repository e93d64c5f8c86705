#pragma once
// The table of Rope for a grid of patches: it depends on the configuration only, and is stored with the weights.
#include <cmath>
#include <vector>

#include "model/config.h"

namespace clip {

inline size_t ropeTableSize(const ImageTransformerConfig& c) {
  return static_cast<size_t>(c.patches()) * 2 * (c.blocks.width / c.blocks.heads);
}

// (patches, 2 * head): the cosine of each number's angle, then its sine, negative at even numbers.
inline std::vector<float> ropeTable(const ImageTransformerConfig& c) {
  const int head = c.blocks.width / c.blocks.heads, bands = head / 4, grid = c.grid();
  std::vector<float> table;
  table.reserve(ropeTableSize(c));
  std::vector<float> sines;
  for (int row = 0; row < grid; row++)
    for (int column = 0; column < grid; column++) {
      sines.clear();
      for (const int place : {c.rope->columnFirst ? column : row, c.rope->columnFirst ? row : column})
        for (int j = 0; j < bands; j++) {
          const double angle = double(place + c.rope->offset) / grid * c.rope->reference *
                               std::pow(10000.0, -double(j) / bands);
          const float cosine = static_cast<float>(std::cos(angle)),
                      sine = static_cast<float>(std::sin(angle));
          table.insert(table.end(), {cosine, cosine});
          sines.insert(sines.end(), {-sine, sine});
        }
      table.insert(table.end(), sines.begin(), sines.end());
    }
  return table;
}

}  // namespace clip
