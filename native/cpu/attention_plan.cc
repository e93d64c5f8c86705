#include "cpu/attention_plan.h"

#include <algorithm>
#include <vector>

namespace clip {

struct AttentionPlan::Storage {
  std::vector<Group> groups;
  std::vector<Query> queries;
  std::vector<int32_t> keys;
};

AttentionPlan::AttentionPlan(const Attention& a) : storage_(new Storage) {
  std::vector<Group>& groups = storage_->groups;
  std::vector<Query>& queries = storage_->queries;
  std::vector<int32_t>& keys = storage_->keys;
  queries.reserve(a.queries);
  keys.reserve(a.rows);

  // Queries by row: of row r at byRow[start[r]] .. byRow[start[r + 1]].
  std::vector<int32_t> start(size_t(a.rows) + 1, 0), byRow(a.queries);
  const auto rowOf = [&](int i) { return a.queryRow ? a.queryRow[i] : i; };
  for (int i = 0; i < a.queries; i++) start[rowOf(i) + 1]++;
  for (int r = 0; r < a.rows; r++) start[r + 1] += start[r];
  std::vector<int32_t> next(start.begin(), start.end() - 1);
  for (int i = 0; i < a.queries; i++) byRow[next[rowOf(i)]++] = i;

  const auto close = [&](size_t firstKey, size_t firstQuery) {
    if (queries.size() == firstQuery) return keys.resize(firstKey);
    groups.push_back({int32_t(firstKey), int32_t(keys.size() - firstKey), int32_t(firstQuery),
                      int32_t(queries.size() - firstQuery)});
  };
  if (a.mask == Mask::tree) {
    // From the back: children come after their parents, so a row that no path has taken yet is the end of
    // one.
    std::vector<bool> taken(a.rows, false);
    for (int leaf = a.rows - 1; leaf >= 0; leaf--) {
      if (taken[leaf] || start[leaf] == start[leaf + 1]) continue;
      const size_t firstKey = keys.size(), firstQuery = queries.size();
      for (int r = leaf; r >= 0; r = a.parent[r]) keys.push_back(r);
      std::reverse(keys.begin() + firstKey, keys.end());
      for (size_t k = firstKey; k < keys.size(); k++) {
        const int r = keys[k];
        if (taken[r]) continue;
        taken[r] = true;
        for (int q = start[r]; q < start[r + 1]; q++)
          queries.push_back({byRow[q], int32_t(k - firstKey + 1)});
      }
      close(firstKey, firstQuery);
    }
  } else {
    for (int begin = 0, end = 0; begin < a.rows; begin = end) {
      while (end < a.rows && a.first[end] == a.first[begin]) end++;
      const size_t firstKey = keys.size(), firstQuery = queries.size();
      for (int r = begin; r < end; r++) {
        keys.push_back(r);
        for (int q = start[r]; q < start[r + 1]; q++)
          queries.push_back({byRow[q], a.mask == Mask::full ? end - begin : r - begin + 1});
      }
      close(firstKey, firstQuery);
    }
  }

  longest = 0;
  pairs = 0;
  for (const Group& g : groups) {
    longest = std::max(longest, int(g.keyCount));
    pairs += int64_t(g.keyCount) * g.queryCount;
  }
  this->groups = groups.data();
  this->queries = queries.data();
  this->keys = keys.data();
  groupCount = int(groups.size());
}

AttentionPlan::~AttentionPlan() { delete storage_; }

}  // namespace clip
