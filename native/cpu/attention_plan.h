#pragma once
// Decides which queries share packed keys and values. Compiled without vector targets.
#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace clip {

// Groups of queries whose keys are in one list: all keys of a sequence (full, causal), or the paths to
// neighbouring rows of a tree. A tree is walked depth first, so that a tile of queries consists of siblings,
// cousins and their children. The keys that they share, at the beginning of the list, are packed once and
// scored by all of them together; the few keys that are not shared come after those.
class AttentionPlan {
 public:
  struct Query {
    int32_t index;  // the query's row in q and out
    int32_t seen;  // number of keys that it sees: the first `run` of the group's list, then those at its tail
    int32_t run;
    int32_t firstTail;  // index of its tail in `tails`: `seen - run` positions in the list, ascending
    int32_t reach;      // all keys that it sees lie before this position
  };
  struct Group {
    int32_t firstKey, keyCount, firstQuery, queryCount;
  };
  struct Storage;
  // A sum over more keys than this is computed in blocks of the list. A query whose keys are not the
  // beginning of their list is only put into a list that fits one block, so that its sum does not depend on
  // where in the list its keys are.
  static constexpr int kBlock = 768;

  // tileRows: how many queries are best computed together. pairs: whether keys are multiplied two at a
  // time (the first and second, third and fourth, ... that a query sees). They must then be adjacent in the
  // list too.
  AttentionPlan(const Attention&, int tileRows, bool pairs);
  ~AttentionPlan();
  AttentionPlan(const AttentionPlan&) = delete;
  AttentionPlan& operator=(const AttentionPlan&) = delete;

  const Group* groups;
  const Query* queries;
  const int32_t* keys;  // row indices; -1 marks a gap
  const int32_t* tails;
  int groupCount, longest;  // longest: the largest number of keys in a group
  int64_t pairCount;        // queries times keys, over all groups

 private:
  Storage* storage_;
};

}  // namespace clip
