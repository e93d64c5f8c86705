#include "top_k.h"

#include <cmath>
#include <limits>
#include <utility>

namespace clip {
namespace {

bool better(float a, int32_t i, float b, int32_t j) {
  const bool aNan = a != a, bNan = b != b;
  if (aNan != bNan) return aNan;
  if (!aNan && a != b) return a > b;
  return i < j;
}

// Restores the heap property below `at` in the first `count` entries.
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

void TopK::push(const TopK& other) {
  for (int i = 0; i < other.count; i++) push(other.value[i], other.index[i]);
}

void finishTopK(TopK* best, const TopKSum* sums, int blocks, int rows, Score score) {
  for (int r = 0; r < rows; r++) {
    best[r].sort();
    if (score == Score::sigmoid)
      for (int i = 0; i < best[r].count; i++)
        best[r].value[i] = float(1 / (1 + std::exp(-double(best[r].value[i]))));
    if (score != Score::probability) continue;
    double most = -std::numeric_limits<double>::infinity(), total = 0;
    for (int b = 0; b < blocks; b++) {
      const double m = sums[size_t(b) * rows + r].most;
      if (m > most) most = m;
    }
    for (int b = 0; b < blocks; b++) {
      const TopKSum& s = sums[size_t(b) * rows + r];
      total += s.sum * std::exp(s.most - most);
    }
    for (int i = 0; i < best[r].count; i++)
      best[r].value[i] = float(std::exp(double(best[r].value[i]) - most) / total);
  }
}

}  // namespace clip
