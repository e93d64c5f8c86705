#pragma once
// CLIP's text tower: the rows of a text through a transformer, of which one becomes the text.
#include "model/pass.h"
#include "model/token_trie.h"

namespace clip {

// Turns the ids of texts, which checkTexts has checked, into the rows that the tower computes, in place. Each
// text's last row is then the one that is pooled.
//
// A text is filled up to the context where padding takes part. Under the causal mask a row sees nothing behind
// it, and the pool reads one row, so what stands behind that row cannot matter and is cut off.
void toTextRows(const TextTransformerConfig&, std::vector<int32_t>& ids, std::vector<int32_t>& lengths);

// Whether texts that begin alike may share the rows of their beginning: a causal row sees that alone.
bool sharesPrefixes(const TextTransformerConfig&);

// Writes the result of the chunk's text i (in the chunk's order) to out[i]: one row, or as many rows as the
// text has. False when stopped.
bool encodeTextChunk(const Pass&, const TextTransformerConfig&, const TextTransformerWeights&,
                     const TrieChunk&, float* const* out);

}  // namespace clip
