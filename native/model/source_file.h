#pragma once
// A checkpoint file while it is being read, piece by piece and never mapped: somebody who truncates a mapped
// file kills the process, and in virtual machines the page faults of a map cost more than the copy.
#include <cstddef>
#include <cstdint>
#include <string>

#include "model/system_file.h"

namespace clip {

class SourceFile {
 public:
  // Throws ERR_CLIP_CHECKPOINT when the file can't be opened, is not a regular file (a FIFO is refused, not
  // waited for) or is not `bytes` long, its size when the header was read.
  SourceFile(const std::string& path, uint64_t bytes);
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;

  // Bytes [offset, offset + bytes) of the file; the caller has checked the range. Any number of threads may
  // read at once. Throws ERR_CLIP_CHECKPOINT when the file has been cut meanwhile or the system refuses.
  void read(uint64_t offset, void* dst, size_t bytes) const;

 private:
  std::string path_;
  SystemFile file_;
};

}  // namespace clip
