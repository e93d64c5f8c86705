#pragma once
// A checkpoint file while it is being read: mapped read-only where the system can, read piece by piece
// elsewhere. Nothing of it stays after loading: a mapped file that somebody truncates would kill the process.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace clip {

class SourceFile {
 public:
  // Throws ERR_CLIP_CHECKPOINT when the file can't be opened, is not a regular file (a FIFO is refused, not
  // waited for) or is not `bytes` long, its size when the header was read.
  SourceFile(const std::string& path, uint64_t bytes);
  ~SourceFile();
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;

  // Bytes [offset, offset + bytes) of the file for as long as the Span lives; the caller has checked the
  // range.
  class Span {
   public:
    Span(const Span&) = delete;
    Span(Span&& other) noexcept;
    ~Span();
    const uint8_t* data() const { return data_; }

   private:
    friend class SourceFile;
    Span() = default;
    const uint8_t* data_ = nullptr;
    size_t mapped_ = 0;  // bytes of the mapping to drop from memory afterwards
    std::unique_ptr<uint8_t[]> owned_;
  };
  Span span(uint64_t offset, size_t bytes) const;

 private:
  void release();

  std::string path_;
  uint64_t bytes_;
  int fd_ = -1;
  const uint8_t* map_ = nullptr;
};

}  // namespace clip
