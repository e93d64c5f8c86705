#pragma once
// The few file operations that exist on both POSIX and Windows, under common names.
#include <cstddef>
#include <cstdint>
#include <string>

#if !defined(_WIN32) && !defined(CLIP_NO_MMAP)
#define CLIP_HAS_MMAP 1
#endif

namespace clip {

class SystemFile {
 public:
  enum class Kind : uint8_t { regular, folder, other };

  SystemFile() = default;
  ~SystemFile() { close(); }
  SystemFile(const SystemFile&) = delete;
  SystemFile& operator=(const SystemFile&) = delete;

  // Returns false and sets errno on failure. A FIFO is opened without waiting for a writer.
  bool openToRead(const std::string& path, bool followLink);
  // Creates a new file that only its owner may read and write.
  bool create(const std::string& path);
  bool examine();  // fills kind, bytes and isPrivate
  void close();

  // Reads exactly [offset, offset + bytes). Returns false at the end of the file (errno 0) or on an error
  // (errno).
  bool read(uint64_t offset, void* dst, size_t bytes) const;
  // Appends to what has been written.
  bool write(const void* src, size_t bytes) const;

  int descriptor() const { return fd_; }
  Kind kind = Kind::other;
  uint64_t bytes = 0;
  bool isPrivate = false;  // owned by this user, and not writable by anybody else

 private:
  int fd_ = -1;
};

// `path` with a suffix that another thread or process is unlikely to choose; if it did, SystemFile::create
// fails.
std::string nameBeside(const std::string& path);
// Replaces `to` atomically. Returns false and sets errno on failure.
bool renameFile(const std::string& from, const std::string& to);
void removeFile(const std::string& path);

}  // namespace clip
