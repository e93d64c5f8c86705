#pragma once
// Packed weights in a file of the user's cache folder, which the next start maps instead of packing again.
//
// The file is a page of header, then the packed memory as it was, in this machine's byte order. It holds no
// offset or size that is followed: where each weight lies follows from the checkpoint's header, and both are
// named in the file's own header together with everything else that the bytes depend on. A checksum over
// all of it finds a damaged one. A file that does not fit in every respect, that is not this user's or that
// others may write to counts as absent and is replaced, by renaming a new one over it, so that whoever has
// mapped the old one keeps it. Cutting a file short while a process has it mapped kills that process.
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
  // key: names the checkpoint and this package's version, without line breaks.
  PackCache(std::string file, std::string key) : file_(std::move(file)), key_(std::move(key)) {}

  // Packed weights that lie in the file: read-only, shared with every process that maps it, 64-byte aligned.
  class Mapping {
   public:
    virtual ~Mapping() = default;
    virtual const void* data() const = 0;
    size_t bytes() const { return bytes_; }
    const std::string& float16() const { return float16_; }  // as WeightPacker says
    const WeightNames& names() const { return names_; }

   protected:
    Mapping(size_t bytes, std::string float16, WeightNames names)
        : bytes_(bytes), float16_(std::move(float16)), names_(std::move(names)) {}

   private:
    const size_t bytes_;
    const std::string float16_;
    const WeightNames names_;
  };

  // nullptr if there is no such file, or none to be trusted. most: bytes that the weights can have. Throws
  // Cancelled.
  std::unique_ptr<Mapping> open(const std::string& layout, size_t most, int threads,
                                const std::atomic<bool>& cancel) const;
  // Why it could not be written; empty when it was. Throws Cancelled and leaves nothing then.
  std::string write(const std::string& layout, const void* data, size_t bytes, const std::string& float16,
                    const WeightNames& names, int threads, const std::atomic<bool>& cancel) const;

 private:
  std::string file_, key_;
};

// All that at most `most` packed bytes depend on beside the checkpoint. Raise the number in there when the
// walk over the weights or a packed layout changes.
std::string packedLayout(const Backend&, Dtype, size_t most);

}  // namespace clip
