#include "model/source_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#include <sys/stat.h>
#include <filesystem>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#if !defined(CLIP_NO_MMAP)
#include <sys/mman.h>
#define CLIP_HAS_MMAP 1
#endif
#endif

namespace clip {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& what, std::string expected = {},
                       std::string actual = {}) {
  throw Error{.code = "ERR_CLIP_CHECKPOINT",
              .message = path + ": " + what,
              .file = path,
              .expected = std::move(expected),
              .actual = std::move(actual)};
}

void checkSize(const std::string& path, uint64_t actual, uint64_t expected) {
  if (actual != expected)
    fail(path,
         "the file has " + std::to_string(actual) + " bytes, but had " + std::to_string(expected) +
             " when its header was read",
         std::to_string(expected) + " bytes", std::to_string(actual) + " bytes");
}

#if defined(_WIN32)
using Stat = struct _stat64;
int openFile(const std::string& path) {
  const std::u8string utf8(path.begin(), path.end());
  return _wopen(std::filesystem::path(utf8).c_str(), _O_RDONLY | _O_BINARY | _O_NOINHERIT);
}
int statFile(int fd, Stat* s) { return _fstat64(fd, s); }
bool isRegular(const Stat& s) { return (s.st_mode & _S_IFMT) == _S_IFREG; }
bool isFolder(const Stat& s) { return (s.st_mode & _S_IFMT) == _S_IFDIR; }
void closeFile(int fd) { _close(fd); }
#else
using Stat = struct stat;
// O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever.
int openFile(const std::string& path) { return open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC); }
int statFile(int fd, Stat* s) { return fstat(fd, s); }
bool isRegular(const Stat& s) { return S_ISREG(s.st_mode); }
bool isFolder(const Stat& s) { return S_ISDIR(s.st_mode); }
void closeFile(int fd) { close(fd); }
#endif

// Reads exactly [offset, offset + bytes); false at the end of the file or on an error (errno).
bool readAt(int fd, uint64_t offset, uint8_t* dst, size_t bytes) {
  while (bytes > 0) {
    const size_t step = bytes < (size_t{1} << 30) ? bytes : size_t{1} << 30;
#if defined(_WIN32)
    // One thread reads at a time: spans are taken between the parallel loops.
    if (_lseeki64(fd, static_cast<int64_t>(offset), SEEK_SET) < 0) return false;
    const auto got = _read(fd, dst, static_cast<unsigned>(step));
#else
    const auto got = pread(fd, dst, step, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
#endif
    if (got <= 0) {
      if (got == 0) errno = 0;
      return false;
    }
    offset += static_cast<uint64_t>(got);
    dst += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace

SourceFile::SourceFile(const std::string& path, uint64_t bytes) : path_(path), bytes_(bytes) {
  fd_ = openFile(path);
  if (fd_ < 0) fail(path, std::string("can't be opened: ") + std::strerror(errno), "a readable file");
  try {
    Stat s{};
    if (statFile(fd_, &s) != 0) fail(path, std::string("can't be examined: ") + std::strerror(errno));
    if (!isRegular(s))
      fail(path, isFolder(s) ? "is a folder, not a file" : "is not a regular file", "a regular file",
           isFolder(s) ? "a folder" : "something else");
    checkSize(path, static_cast<uint64_t>(s.st_size), bytes);
#if defined(CLIP_HAS_MMAP)
    // Where mapping is refused (some network and FUSE file systems) span() reads instead.
    if (bytes > 0) {
      void* map = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd_, 0);
      if (map != MAP_FAILED) map_ = static_cast<const uint8_t*>(map);
    }
    // Again: it may have been cut between the first look and the mapping.
    if (statFile(fd_, &s) != 0) fail(path, std::string("can't be examined: ") + std::strerror(errno));
    checkSize(path, static_cast<uint64_t>(s.st_size), bytes);
#endif
  } catch (...) {
    release();
    throw;
  }
}

SourceFile::~SourceFile() { release(); }

void SourceFile::release() {
#if defined(CLIP_HAS_MMAP)
  if (map_) munmap(const_cast<uint8_t*>(map_), bytes_);
#endif
  if (fd_ >= 0) closeFile(fd_);
  map_ = nullptr;
  fd_ = -1;
}

SourceFile::Span SourceFile::span(uint64_t offset, size_t bytes) const {
  Span s;
  if (map_) {
    s.data_ = map_ + offset;
    s.mapped_ = bytes;
    return s;
  }
  s.owned_ = std::make_unique_for_overwrite<uint8_t[]>(bytes);
  if (!readAt(fd_, offset, s.owned_.get(), bytes))
    fail(path_,
         errno ? std::string("can't be read: ") + std::strerror(errno) : "was cut while it was being read",
         std::to_string(bytes) + " bytes at " + std::to_string(offset));
  s.data_ = s.owned_.get();
  return s;
}

SourceFile::Span::Span(Span&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)),
      owned_(std::move(other.owned_)) {}

SourceFile::Span::~Span() {
#if defined(CLIP_HAS_MMAP)
  // Whole pages of a tensor that has been packed: without this both copies count as ours until the end of
  // loading.
  if (mapped_ > 0) {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto begin = (reinterpret_cast<uintptr_t>(data_) + page - 1) / page * page;
    const auto end = (reinterpret_cast<uintptr_t>(data_) + mapped_) / page * page;
    if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
#endif
}

}  // namespace clip
