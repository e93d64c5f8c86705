#pragma once
// Stores packed weights in a file of the user's cache folder, which the next start maps instead of packing
// again.
//
// The file consists of a header page and the packed memory, unchanged, in this machine's byte order. It
// contains no offsets or sizes that are used without a check: the location of each weight follows from the
// checkpoint's header. The header of this file identifies the checkpoint and everything else on which the
// bytes depend, and a checksum over the whole file detects damage. A file that does not match in every
// respect, that belongs to another user or that others may write to is treated as absent and replaced by
// renaming a new file over it, so that a process that has mapped the old one keeps it. Truncating a file
// while a process has it mapped kills that process.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "backend.h"
#include "model/weight_hash.h"

namespace clip {

enum class PackCacheUse : uint8_t { off, mapped, written, failed };

class PackCache {
 public:
  // key: identifies the checkpoint and this package's version; without line breaks.
  PackCache(std::string file, std::string key) : file_(std::move(file)), key_(std::move(key)) {}

  // Packed weights in the mapped file: read-only, shared by all processes that map it, 64-byte aligned.
  class Mapping {
   public:
    virtual ~Mapping() = default;
    virtual const void* data() const = 0;
    size_t bytes() const { return bytes_; }
    const std::string& float16() const { return float16_; }  // as defined by WeightPacker
    const WeightNames& names() const { return names_; }

   protected:
    Mapping(size_t bytes, std::string float16, WeightNames names)
        : bytes_(bytes), float16_(std::move(float16)), names_(std::move(names)) {}

   private:
    const size_t bytes_;
    const std::string float16_;
    const WeightNames names_;
  };

  // Returns nullptr if there is no such file or it cannot be trusted. most: the largest possible size of the
  // weights in bytes. Throws Cancelled.
  std::unique_ptr<Mapping> open(const std::string& layout, size_t most, int threads,
                                const std::atomic<bool>& cancel) const;
  // Returns the reason if the file could not be written, otherwise an empty string. Throws Cancelled, and
  // then leaves no file behind.
  std::string write(const std::string& layout, const void* data, size_t bytes, const std::string& float16,
                    const WeightNames& names, int threads, const std::atomic<bool>& cancel) const;

 private:
  std::string file_, key_;
};

// Everything except the checkpoint on which the packed bytes, at most `most` of them, depend. Increase the
// version number in it when the walk over the weights or a packed layout changes.
std::string packedLayout(const Backend&, Dtype, size_t most);

}  // namespace clip
