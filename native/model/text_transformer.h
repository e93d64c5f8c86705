#pragma once
// CLIP's text tower: the rows of a text go through a transformer, and one of them becomes the text's
// embedding.
#include "model/pass.h"
#include "model/token_trie.h"

namespace clip {

// Converts the ids of texts, already checked by checkTexts, to the rows that the tower computes, in place.
// Under the causal mask the last row of each text is then the pooled one.
//
// Masked ids are removed: nothing attends to them, and positions are counted without them.
// A text is padded to the context length if padding affects the result. Under the causal mask a row sees
// nothing after it, and the pool reads a single row, so everything after that row has no effect and is cut
// off.
void toTextRows(const TextTransformerConfig&, std::vector<int32_t>& ids, std::vector<int32_t>& lengths);

// Whether texts with a common prefix may share its rows: under the causal mask, a row depends only on what
// precedes it.
bool sharesPrefixes(const TextTransformerConfig&);

// Writes the result of the chunk's text i (in the chunk's order) to out[i]: one row, or as many rows as the
// text has. Returns false if stopped.
bool encodeTextChunk(const Pass&, const TextTransformerConfig&, const TextTransformerWeights&,
                     const TrieChunk&, float* const* out);

}  // namespace clip
