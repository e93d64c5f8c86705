#pragma once
// The one runner of transformer towers, of images and of texts: embed, blocks, pool, tail.
#include <functional>
#include <optional>
#include <vector>

#include "model/ops.h"
#include "model/pass.h"

namespace clip {

// The rows of one pass, sequence after sequence, and which of them become results. Padding stands behind what
// is used, as Backend::bucket says.
struct TowerRows {
  // Per row.
  std::vector<int32_t> id{};        // its row of the table, negative in padding
  std::vector<int32_t> position{};  // its row of the learned positions
  std::vector<int32_t> first{};     // the row at which its sequence begins
  std::vector<int32_t> parent{};    // Mask::tree alone
  Mask mask = Mask::full;
  // The rows of which each result is the mean, result after result: one of each, or several.
  std::vector<int32_t> pooled{};
  int results = 0;
  int usedRows = 0, usedResults = 0;  // without padding
  // What a recorded graph is known by.
  GraphKey::Tower tower = GraphKey::image;
  int longest = 0;
  uint32_t calls = 0;
};

// Runs the tower over rows of the table that `table` gives; it is called where the pass is computed, not where
// a recorded graph is run again. The results are usedResults rows, or all usedRows where tokens are asked for;
// nothing when stopped.
std::optional<HostRows> runTransformer(const Pass&, const TransformerConfig&, const TransformerWeights&,
                                       const TowerRows&, const std::function<RowTable(const Ops&)>& table);

}  // namespace clip
