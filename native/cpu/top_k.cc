#include "cpu/top_k.h"

#include <utility>

namespace clip {
namespace {

bool better(float a, int32_t i, float b, int32_t j) {
  const bool aNan = a != a, bNan = b != b;
  if (aNan != bNan) return aNan;
  if (!aNan && a != b) return a > b;
  return i < j;
}

// Restores the heap below `at` in the first `count` entries.
void sink(TopK& t, int at, int count) {
  for (;;) {
    int worst = at;
    for (int child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++)
      if (better(t.value[worst], t.index[worst], t.value[child], t.index[child])) worst = child;
    if (worst == at) return;
    std::swap(t.value[at], t.value[worst]);
    std::swap(t.index[at], t.index[worst]);
    at = worst;
  }
}

}  // namespace

void TopK::push(float v, int32_t i) {
  if (!full()) {
    int at = count++;
    for (; at > 0; at = (at - 1) / 2) {
      const int parent = (at - 1) / 2;
      if (!better(value[parent], index[parent], v, i)) break;
      value[at] = value[parent];
      index[at] = index[parent];
    }
    value[at] = v;
    index[at] = i;
  } else if (capacity && better(v, i, value[0], index[0])) {
    value[0] = v;
    index[0] = i;
    sink(*this, 0, count);
  }
}

void TopK::sort() {
  for (int n = count - 1; n > 0; n--) {
    std::swap(value[0], value[n]);
    std::swap(index[0], index[n]);
    sink(*this, 0, n);
  }
}

}  // namespace clip
