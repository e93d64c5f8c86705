#pragma once
// Which queries can share packed keys and values. Compiled without vector targets.
#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace clip {

// Groups of queries that see prefixes of one list of key rows: a sequence (full, causal) or the path from a
// root to a leaf of the tree (every query stands on exactly one of the chosen paths, so that a run of new
// nodes above a leaf costs one gathering of its ancestors).
class AttentionPlan {
 public:
  struct Query {
    int32_t index, seen;  // which query (a row of q and out), how many keys of the group's list it sees
  };
  struct Group {
    int32_t firstKey, keyCount, firstQuery, queryCount;  // queries in order of `seen`
  };
  explicit AttentionPlan(const Attention&);
  ~AttentionPlan();
  AttentionPlan(const AttentionPlan&) = delete;
  AttentionPlan& operator=(const AttentionPlan&) = delete;

  const Group* groups;
  const Query* queries;
  const int32_t* keys;      // rows
  int groupCount, longest;  // longest: the most keys of a group
  int64_t pairs;            // queries times keys, over all groups

 private:
  struct Storage;
  Storage* storage_;
};

}  // namespace clip
