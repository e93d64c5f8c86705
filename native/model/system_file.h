#pragma once
// The few calls for files that both POSIX and Windows have, under one name each.
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

  // False with errno set. A FIFO is opened without waiting for a writer.
  bool openToRead(const std::string& path, bool followLink);
  // A new file that only its owner may read and write.
  bool create(const std::string& path);
  bool examine();  // fills kind, bytes and isPrivate
  void close();

  // Exactly [offset, offset + bytes); false at the end of the file (errno 0) or on an error (errno).
  bool read(uint64_t offset, void* dst, size_t bytes) const;
  // At the end of what has been written.
  bool write(const void* src, size_t bytes) const;

  int descriptor() const { return fd_; }
  Kind kind = Kind::other;
  uint64_t bytes = 0;
  bool isPrivate = false;  // it is this user's, and nobody else may write to it

 private:
  int fd_ = -1;
};

// `path` with an ending that another thread or process will hardly choose: SystemFile::create tells when it
// did.
std::string nameBeside(const std::string& path);
// False with errno set. `to` is replaced in one step.
bool renameFile(const std::string& from, const std::string& to);
void removeFile(const std::string& path);

}  // namespace clip
