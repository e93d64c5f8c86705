#pragma once
// A checkpoint file that is being read, piece by piece and never mapped: if someone truncated a mapped file,
// the process would be killed, and in virtual machines the page faults of a mapping cost more than the copy.
#include <cstddef>
#include <cstdint>
#include <string>

#include "model/system_file.h"

namespace clip {

class SourceFile {
 public:
  // Throws ERR_CLIP_CHECKPOINT if the file can't be opened, is not a regular file (a FIFO is rejected without
  // waiting for it) or is no longer `bytes` long, its size when the header was read.
  SourceFile(const std::string& path, uint64_t bytes);
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;

  // Reads bytes [offset, offset + bytes) of the file; the caller has checked the range. Any number of threads
  // may read at once. Throws ERR_CLIP_CHECKPOINT if the file was truncated in the meantime or the read fails.
  void read(uint64_t offset, void* dst, size_t bytes) const;

 private:
  std::string path_;
  SystemFile file_;
};

}  // namespace clip
