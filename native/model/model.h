#pragma once
// A loaded CLIP: packed weights and the two towers, as the queue runs them. Knows the Backend table, never
// which one.
#include <atomic>
#include <memory>
#include <string>

#include "backend.h"
#include "model/config.h"
#include "model/image.h"
#include "model/pack_cache.h"
#include "model/request.h"
#include "model/weight_hash.h"

namespace clip {

class Model {
 public:
  // Reads the files piece by piece, checks every range, packs into the backend's layout. Runs on a pool thread.
  // Throws Error (file, field, expected, actual); Cancelled when `cancel` became true.
  static std::unique_ptr<Model> load(ModelConfig, const LoadOptions&, const std::atomic<bool>& cancel);
  ~Model();

  const ModelConfig& config() const;
  const Backend& backend() const;
  const LoadOptions& options() const;
  size_t weightBytes() const;              // as packed, or as they lie in the pack cache's file
  const WeightNames& weightNames() const;  // of all towers of the checkpoint
  PackCacheUse packCacheUse() const;
  const std::string& packCacheFile() const;     // empty: off
  const std::string& packCacheFailure() const;  // why it could not be written

  // Floats that one image / n texts of these lengths yield.
  size_t imageFloats(Output) const;
  size_t textFloats(Output, const int32_t* lengths, int texts) const;

  // (3, size, size) floats: OpenAI's `preprocess`.
  void preprocess(const Image&, float* planes);
  // out: images * imageFloats(output). Returns false when stopped. normalize: every row that is
  // returned, of whatever output, has length 1.
  bool encodeImages(const Image* const* images, int count, Output, bool normalise, float* out,
                    const Stopped&);
  // ids: all texts one after the other, checked by checkTexts and made rows by toTextRows. tokens: rows padded to
  // the longest, zeros.
  bool encodeTexts(const int32_t* ids, const int32_t* lengths, int texts, Output, bool normalise, float* out,
                   const Stopped&);

  // Rows that went through the towers since load: the tests' view of the trie and of coalescing.
  // textNodes leaves out what was computed again: nodes of the trie of each call.
  std::atomic<uint64_t> imageRows{0}, textRows{0}, textNodes{0};

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  explicit Model(std::unique_ptr<Impl>);
};

}  // namespace clip
