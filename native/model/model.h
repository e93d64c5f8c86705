#pragma once
// A loaded CLIP: its packed weights and its two towers, as run by the queue. It calls the operations of a
// Backend table and does not know which backend it is.
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
  // Reads the files piece by piece, checks every range and packs the weights into the backend's layout. Runs
  // on a pool thread. Throws Error (file, field, expected, actual), or Cancelled after `cancel` became true.
  static std::unique_ptr<Model> load(ModelConfig, const LoadOptions&, const std::atomic<bool>& cancel);
  ~Model();

  const ModelConfig& config() const;
  const Backend& backend() const;
  const LoadOptions& options() const;
  size_t weightBytes() const;              // in memory, or in the mapped file of the pack cache
  const WeightNames& weightNames() const;  // of all towers of the checkpoint
  PackCacheUse packCacheUse() const;
  const std::string& packCacheFile() const;     // empty: the cache is off
  const std::string& packCacheFailure() const;  // the reason if it could not be written

  // The number of floats in the result of one image / of n texts of these lengths.
  size_t imageFloats(Output) const;
  size_t textFloats(Output, const int32_t* lengths, int texts) const;

  // (3, size, size) floats: OpenAI's `preprocess`.
  void preprocess(const Image&, float* planes);
  // out: images * imageFloats(output). Returns false if stopped. normalise: scales every returned row, of any
  // output, to length 1.
  bool encodeImages(const Image* const* images, int count, Output, bool normalise, float* out,
                    const Stopped&);
  // ids: all texts one after the other, already checked by checkTexts and converted by toTextRows. For
  // `tokens`, each text gets as many rows as the longest one, padded with zeros.
  bool encodeTexts(const int32_t* ids, const int32_t* lengths, int texts, Output, bool normalise, float* out,
                   const Stopped&);

  // The number of rows that went through the towers since load; tests use them to observe the trie and
  // coalescing. textNodes does not count rows that were computed again: it is the nodes of the trie of each
  // call.
  std::atomic<uint64_t> imageRows{0}, textRows{0}, textNodes{0};

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  explicit Model(std::unique_ptr<Impl>);
};

}  // namespace clip
