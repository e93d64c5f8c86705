#include "model/text_transformer.h"

#include <algorithm>

#include "model/transformer_tower.h"

namespace clip {
namespace {

// The number of ids of a text up to and including its pooled row.
int pooledLength(const TextTransformerConfig& c, const int32_t* ids, int length) {
  const int32_t* const end = ids + length;
  switch (c.pool) {
    case PoolKind::first:
      return 1;
    case PoolKind::argmax:
      return static_cast<int>(std::max_element(ids, end) - ids) + 1;
    case PoolKind::eos: {
      const int32_t* const at = std::find(ids, end, c.endId);
      return at == end ? length : static_cast<int>(at - ids) + 1;
    }
    default:
      return length;
  }
}

std::vector<int32_t> padded(std::vector<int32_t> values, int count, int32_t padding) {
  values.resize(count, padding);
  return values;
}

// The rows of a chunk. Equal texts share their rows: they are adjacent in the chunk's order, and
// resultOf[i] is the index of the result for text i.
TowerRows rowsOf(const TextTransformerConfig& c, const Backend& backend, const TrieChunk& chunk,
                 std::vector<int32_t>& resultOf) {
  std::vector<int32_t> ends;
  for (const int32_t end : chunk.end) {
    int32_t row = end;
    // Under the full mask texts are not cut after their pooled row, and the rows of a text are adjacent.
    if (c.mask == Mask::full) {
      const int32_t first = chunk.first[static_cast<size_t>(end)];
      row = first + pooledLength(c, chunk.ids.data() + first, end - first + 1) - 1;
    }
    if (ends.empty() || ends.back() != row) ends.push_back(row);
    resultOf.push_back(static_cast<int32_t>(ends.size()) - 1);
  }
  const int rows = backend.bucket(chunk.rows()), results = backend.bucket(static_cast<int>(ends.size()));
  const bool tree = c.mask == Mask::causal && !chunk.plain;
  return {.id = padded(chunk.ids, rows, -1),
          .position = padded(chunk.position, rows, 0),
          .first = padded(chunk.first, rows, -1),
          .parent = tree ? padded(chunk.parent, rows, -2) : std::vector<int32_t>{},
          .mask = tree ? Mask::tree : c.mask,
          // A padding query repeats the last query.
          .pooled = padded(ends, results, ends.back()),
          .results = results,
          .usedRows = chunk.rows(),
          .usedResults = static_cast<int>(ends.size()),
          .tower = GraphKey::text,
          .longest = c.contextLength,
          .calls = tree ? 0u : 1u};
}

}  // namespace

void toTextRows(const TextTransformerConfig& c, std::vector<int32_t>& ids, std::vector<int32_t>& lengths) {
  if (c.maskedId) {
    const int32_t* text = ids.data();
    int32_t* kept = ids.data();
    for (int32_t& length : lengths) {
      int32_t* const end = std::remove_copy(text, text + length, kept, *c.maskedId);
      text += length;
      length = static_cast<int32_t>(end - kept);
      kept = end;
    }
    ids.resize(static_cast<size_t>(kept - ids.data()));
  }
  if (c.padId) {
    const size_t context = static_cast<size_t>(c.contextLength);
    std::vector<int32_t> filled(lengths.size() * context, *c.padId);
    const int32_t* text = ids.data();
    for (size_t i = 0; i < lengths.size(); i++) {
      std::copy_n(text, lengths[i], filled.data() + i * context);
      text += lengths[i];
      lengths[i] = c.contextLength;
    }
    ids = std::move(filled);
  }
  if (c.mask != Mask::causal) return;
  // In place, because ids only move towards the front.
  const int32_t* text = ids.data();
  int32_t* kept = ids.data();
  for (int32_t& length : lengths) {
    const int pooled = pooledLength(c, text, length);
    if (kept != text) std::copy_n(text, pooled, kept);
    kept += pooled;
    text += length;
    length = pooled;
  }
  ids.resize(static_cast<size_t>(kept - ids.data()));
}

bool sharesPrefixes(const TextTransformerConfig& c) { return c.mask == Mask::causal; }

bool encodeTextChunk(const Pass& pass, const TextTransformerConfig& c, const TextTransformerWeights& w,
                     const TrieChunk& chunk, float* const* out) {
  std::vector<int32_t> resultOf;
  const TowerRows rows = rowsOf(c, pass.backend, chunk, resultOf);
  const std::optional<HostRows> results =
      runTransformer(pass, c, w, rows, [&](const Ops&) { return w.token; });
  if (!results) return false;

  const int columns = results->columns();
  for (int i = 0; i < chunk.texts; i++) {
    if (pass.output != Output::tokens) {
      std::copy_n(results->row(resultOf[i]), columns, out[i]);
      continue;
    }
    // The tokens of a text are the path from its end up to the root.
    for (int32_t row = chunk.end[i]; row >= 0; row = chunk.parent[row])
      std::copy_n(results->row(row), columns, out[i] + static_cast<size_t>(chunk.position[row]) * columns);
  }
  return true;
}

}  // namespace clip
