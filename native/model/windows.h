#pragma once
// Convolutions of 2 x 2 pixels with stride 2 as matrix products: their windows do not overlap.
#include <cstdint>
#include <vector>

namespace clip {

// The pixels of the windows of square images of `side` pixels per side, window by window, in the order (y, x). A last
// row and column that fill no window are left out.
inline std::vector<int32_t> windowRows(int images, int side) {
  std::vector<int32_t> rows;
  const int half = side / 2;
  for (int i = 0; i < images; i++)
    for (int y = 0; y < half; y++)
      for (int x = 0; x < half; x++)
        for (int tap = 0; tap < 4; tap++)
          rows.push_back((i * side + 2 * y + tap / 2) * side + 2 * x + tap % 2);
  return rows;
}

}  // namespace clip
