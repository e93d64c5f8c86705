#pragma once
// Which queries can share packed keys and values. Compiled without vector targets.
#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace clip {

// Groups of queries that see keys of one list: all keys of a sequence (full, causal), or the paths to
// neighbouring rows of a tree. A tree is walked depth first, so that a tile of queries is siblings, cousins
// and their children alike: what they share at the head of the list is packed once and scored by all of them
// together, and the few keys of each one's own lie behind it.
class AttentionPlan {
 public:
  struct Query {
    int32_t index;  // which query: a row of q and out
    int32_t seen;   // how many keys it sees: the first `run` of the group's list, then those at `tail`
    int32_t run;
    int32_t firstTail;  // of `seen - run` places in the list, ascending
    int32_t reach;      // all of them lie before this place
  };
  struct Group {
    int32_t firstKey, keyCount, firstQuery, queryCount;
  };
  struct Storage;
  // kBlock: sums over more keys than this are made in blocks of the list. A query whose keys are not the
  // head of their list is only in lists of one block, so that its sums run as if they were.
  static constexpr int kBlock = 768;

  // tileRows: how many queries are best computed together. pairs: keys are multiplied two at a time (the
  // first and second, third and fourth, ... that a query sees), so they must lie that way in the list too.
  AttentionPlan(const Attention&, int tileRows, bool pairs);
  ~AttentionPlan();
  AttentionPlan(const AttentionPlan&) = delete;
  AttentionPlan& operator=(const AttentionPlan&) = delete;

  const Group* groups;
  const Query* queries;
  const int32_t* keys;  // rows; -1 is a gap
  const int32_t* tails;
  int groupCount, longest;  // longest: the most keys of a group
  int64_t pairCount;        // queries times keys, over all groups

 private:
  Storage* storage_;
};

}  // namespace clip
