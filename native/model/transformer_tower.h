#pragma once
// The runner of all transformer towers, for images and for texts: embed, blocks, pool, tail.
#include <functional>
#include <optional>
#include <vector>

#include "model/ops.h"
#include "model/pass.h"

namespace clip {

// The rows of one pass, sequence by sequence, and which of them become results. Padding comes last, as
// described at Backend::bucket.
struct TowerRows {
  // For each row:
  std::vector<int32_t> id{};        // its row in the table, negative in padding
  std::vector<int32_t> position{};  // its row in the learned positions
  std::vector<int32_t> first{};     // the row at which its sequence begins
  std::vector<int32_t> parent{};    // only for Mask::tree
  std::vector<int32_t> angle{};  // its row in the table of rotations, negative: none; empty without a table
  Mask mask = Mask::full;
  // The rows that are averaged to give each result, in the order of the results: one row per result, or
  // several.
  std::vector<int32_t> pooled{};
  int results = 0;
  int usedRows = 0, usedResults = 0;  // without padding
  // Parts of the key of a recorded graph.
  GraphKey::Tower tower = GraphKey::image;
  int longest = 0;
  uint32_t calls = 0;
};

// Runs the tower on rows of the table that `table` returns; `table` is called only if the pass is computed,
// not if a recorded graph is replayed. The results are usedResults rows, or all usedRows if tokens are
// requested; nullopt if stopped.
std::optional<HostRows> runTransformer(const Pass&, const TransformerConfig&, const TransformerWeights&,
                                       const TowerRows&, const std::function<RowTable(const Ops&)>& table);

}  // namespace clip
