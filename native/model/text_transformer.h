#pragma once
// CLIP's text tower: a causal transformer whose end token is the text.
#include "model/pass.h"
#include "model/token_trie.h"

namespace clip {

// Writes the result of the chunk's text i (in the chunk's order) to out[i]: one row, or as many rows as the
// text has tokens. False when stopped.
bool encodeTextChunk(const Pass&, const TextConfig&, const TextWeights&, int embedDim, const TrieChunk&,
                     float* const* out);

}  // namespace clip
