#include "cpu/attention_plan.h"

#include <algorithm>
#include <vector>

namespace clip {

struct AttentionPlan::Storage {
  std::vector<Group> groups;
  std::vector<Query> queries;
  std::vector<int32_t> keys, tails;

  void close(size_t firstKey, size_t firstQuery) {
    if (queries.size() == firstQuery) return keys.resize(firstKey);
    groups.push_back({int32_t(firstKey), int32_t(keys.size() - firstKey), int32_t(firstQuery),
                      int32_t(queries.size() - firstQuery)});
  }
};

namespace {

// The queries of each row: the queries of row r are at(first[r]) .. at(first[r + 1] - 1).
struct QueriesByRow {
  std::vector<int32_t> first, list;
  explicit QueriesByRow(const Attention& a) : first(size_t(a.rows) + 1, 0) {
    if (!a.queryRow) {
      for (int r = 0; r <= a.rows; r++) first[r] = r;
      return;
    }
    list.resize(a.queries);
    for (int i = 0; i < a.queries; i++) first[a.queryRow[i] + 1]++;
    for (int r = 0; r < a.rows; r++) first[r + 1] += first[r];
    std::vector<int32_t> next(first.begin(), first.end() - 1);
    for (int i = 0; i < a.queries; i++) list[next[a.queryRow[i]]++] = i;
  }
  int32_t at(int i) const { return list.empty() ? i : list[i]; }
  bool any(int row) const { return first[row] < first[row + 1]; }
};

// Builds the key lists of a tree.
class TreeWalk {
 public:
  TreeWalk(const Attention& a, int tileRows, bool pairs, AttentionPlan::Storage& to)
      : to_(to),
        parent_(a.parent),
        asking_(a),
        tileRows_(tileRows),
        pairs_(pairs),
        depth_(a.rows),
        place_(a.rows, -1) {
    for (int r = 0; r < a.rows; r++) depth_[r] = parent_[r] < 0 ? 0 : depth_[parent_[r]] + 1;
    // Links children in ascending order. Those without a parent, the roots, are the children of entry 0.
    std::vector<int32_t> child(size_t(a.rows) + 1, -1), sibling(a.rows, -1);
    for (int r = a.rows - 1; r >= 0; r--) {
      sibling[r] = child[parent_[r] + 1];
      child[parent_[r] + 1] = r;
    }
    for (int r = child[0]; r >= 0;) {
      if (asking_.any(r)) visit(r);
      if (child[r + 1] >= 0) {
        r = child[r + 1];
        continue;
      }
      while (r >= 0 && sibling[r] < 0) r = parent_[r];
      if (r >= 0) r = sibling[r];
    }
    close();
  }

 private:
  int length() const { return int(to_.keys.size() - firstKey_); }
  int32_t& key(int place) { return to_.keys[firstKey_ + place]; }

  void visit(int row) {
    path_.clear();
    // the row itself or its nearest ancestor that is already in the list; -1 if there is none
    int known = row;
    for (; known >= 0 && place_[known] < 0; known = parent_[known]) path_.push_back(known);
    if (length() > 0 && !joins(row, known)) {
      close();
      path_.clear();
      for (int r = row; r >= 0; r = parent_[r]) path_.push_back(r);
      known = -1;
    }
    isPath_ = length() == 0 || (isPath_ && (path_.empty() || (known >= 0 && place_[known] == length() - 1)));
    for (size_t i = path_.size(); i-- > 0;) append(path_[i]);
    ask(row);
  }

  // Whether adding the row to the open list is cheaper than starting a new list. The unit of cost is one
  // score: packing a key takes about as long as 12 scores in a full tile, and a tile of a single row runs at
  // a quarter of the speed. If the row begins a new tile in the open list, the cost is estimated for a whole
  // tile of such rows.
  bool joins(int row, int known) const {
    const int64_t missing = int64_t(path_.size()), seen = depth_[row] + 1, shared = seen - missing;
    const int64_t inTile = int64_t(to_.queries.size() - firstQuery_) % tileRows_;
    const bool stays = isPath_ && (missing == 0 || (known >= 0 && place_[known] == length() - 1));
    if (!stays && length() + 2 * missing > AttentionPlan::kBlock) return false;
    if (inTile == 0) return length() + missing <= 2 * seen;
    return (inTile + 1) * missing + length() <= 16 * shared + 4 * missing;
  }

  void append(int row) {
    const bool second = pairs_ && depth_[row] % 2 == 1;
    if (second && place_[parent_[row]] + 1 < length()) {
      const int gap = place_[parent_[row]] + 1;
      if (key(gap) < 0) {
        key(gap) = row;
        place_[row] = gap;
        return;
      }
      if (length() % 2 == 1) to_.keys.push_back(-1);
      to_.keys.push_back(parent_[row]);  // stored again, next to another child
    } else if (pairs_ && !second && length() % 2 == 1) {
      to_.keys.push_back(-1);
    }
    place_[row] = length();
    to_.keys.push_back(row);
  }

  // Adds the queries of a row whose path is in the list.
  void ask(int row) {
    const int seen = depth_[row] + 1;
    places_.resize(seen);
    for (int r = row, d = depth_[row]; r >= 0; r = parent_[r], d--) {
      places_[d] = place_[r];
      if (!pairs_ || d % 2 == 0) continue;
      r = parent_[r];
      d--;
      places_[d] = places_[d + 1] - 1;
    }
    int run = 0;
    while (run < seen && places_[run] == run) run++;
    const auto firstTail = int32_t(to_.tails.size());
    to_.tails.insert(to_.tails.end(), places_.begin() + run, places_.end());
    for (int q = asking_.first[row]; q < asking_.first[row + 1]; q++)
      to_.queries.push_back({asking_.at(q), seen, run, firstTail, places_[seen - 1] + 1});
  }

  void close() {
    for (size_t i = firstKey_; i < to_.keys.size(); i++)
      if (to_.keys[i] >= 0) place_[to_.keys[i]] = -1;
    to_.close(firstKey_, firstQuery_);
    firstKey_ = to_.keys.size();
    firstQuery_ = to_.queries.size();
  }

  AttentionPlan::Storage& to_;
  const int32_t* parent_;
  const QueriesByRow asking_;
  const int tileRows_;
  const bool pairs_;
  std::vector<int32_t> depth_, place_;  // place_: position in the open list, or -1
  std::vector<int32_t> path_, places_;
  size_t firstKey_ = 0, firstQuery_ = 0;
  bool isPath_ = true;  // whether the open list is a single path, with each row at its depth
};

}  // namespace

AttentionPlan::AttentionPlan(const Attention& a, int tileRows, bool pairs) : storage_(new Storage) {
  Storage& s = *storage_;
  s.queries.reserve(a.queries);
  s.keys.reserve(a.rows);
  if (a.mask == Mask::tree) {
    TreeWalk(a, tileRows, pairs, s);
  } else {
    const QueriesByRow asking(a);
    for (int begin = 0, end = 0; begin < a.rows; begin = end) {
      while (end < a.rows && a.first[end] == a.first[begin]) end++;
      const size_t firstKey = s.keys.size(), firstQuery = s.queries.size();
      for (int r = begin; r < end; r++) {
        s.keys.push_back(r);
        const int seen = a.mask == Mask::full ? end - begin : r - begin + 1;
        for (int q = asking.first[r]; q < asking.first[r + 1]; q++)
          s.queries.push_back({asking.at(q), seen, seen, 0, seen});
      }
      s.close(firstKey, firstQuery);
    }
  }

  longest = 0;
  pairCount = 0;
  for (const Group& g : s.groups) {
    longest = std::max(longest, int(g.keyCount));
    pairCount += int64_t(g.keyCount) * g.queryCount;
  }
  groups = s.groups.data();
  queries = s.queries.data();
  keys = s.keys.data();
  tails = s.tails.data();
  groupCount = int(s.groups.size());
}

AttentionPlan::~AttentionPlan() { delete storage_; }

}  // namespace clip
