#include "model/system_file.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>

#include <fcntl.h>
#include <sys/stat.h>
#if defined(_WIN32)
#include <io.h>
#include <filesystem>
#include <mutex>
#include <system_error>
#else
#include <unistd.h>
#endif

namespace clip {
namespace {

constexpr size_t kMost = size_t{1} << 30;  // bytes per call, because some systems accept no more than 2 GB

#if defined(_WIN32)
std::filesystem::path native(const std::string& path) {
  return std::filesystem::path(std::u8string(path.begin(), path.end()));
}
#endif

}  // namespace

bool SystemFile::openToRead(const std::string& path, [[maybe_unused]] bool followLink) {
#if defined(_WIN32)
  fd_ = _wopen(native(path).c_str(), _O_RDONLY | _O_BINARY | _O_NOINHERIT);
#else
  // O_NONBLOCK: otherwise opening a FIFO without a writer would wait forever.
  fd_ = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | (followLink ? 0 : O_NOFOLLOW));
#endif
  return fd_ >= 0;
}

bool SystemFile::create(const std::string& path) {
#if defined(_WIN32)
  fd_ = _wopen(native(path).c_str(), _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY | _O_NOINHERIT,
               _S_IREAD | _S_IWRITE);
#else
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
#endif
  return fd_ >= 0;
}

bool SystemFile::examine() {
#if defined(_WIN32)
  struct _stat64 s {};
  if (_fstat64(fd_, &s) != 0) return false;
  const bool regular = (s.st_mode & _S_IFMT) == _S_IFREG, folder = (s.st_mode & _S_IFMT) == _S_IFDIR;
  isPrivate = true;  // controlled by the folder's access list
#else
  struct stat s {};
  if (fstat(fd_, &s) != 0) return false;
  const bool regular = S_ISREG(s.st_mode), folder = S_ISDIR(s.st_mode);
  isPrivate = s.st_uid == geteuid() && (s.st_mode & (S_IWGRP | S_IWOTH)) == 0;
#endif
  kind = regular ? Kind::regular : folder ? Kind::folder : Kind::other;
  bytes = static_cast<uint64_t>(s.st_size);
  return true;
}

void SystemFile::close() {
  if (fd_ < 0) return;
#if defined(_WIN32)
  _close(fd_);
#else
  ::close(fd_);
#endif
  fd_ = -1;
}

bool SystemFile::read(uint64_t offset, void* dst, size_t bytes) const {
  auto* to = static_cast<uint8_t*>(dst);
  while (bytes > 0) {
    const size_t step = std::min(bytes, kMost);
#if defined(_WIN32)
    static std::mutex position;  // guards the file position, because seek and read are two calls
    const std::lock_guard<std::mutex> hold(position);
    if (_lseeki64(fd_, static_cast<int64_t>(offset), SEEK_SET) < 0) return false;
    const auto got = _read(fd_, to, static_cast<unsigned>(step));
#else
    const auto got = pread(fd_, to, step, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
#endif
    if (got <= 0) {
      if (got == 0) errno = 0;
      return false;
    }
    offset += static_cast<uint64_t>(got);
    to += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

bool SystemFile::write(const void* src, size_t bytes) const {
  const auto* from = static_cast<const uint8_t*>(src);
  while (bytes > 0) {
    const size_t step = std::min(bytes, kMost);
#if defined(_WIN32)
    const auto put = _write(fd_, from, static_cast<unsigned>(step));
#else
    const auto put = ::write(fd_, from, step);
    if (put < 0 && errno == EINTR) continue;
#endif
    if (put <= 0) {
      if (put == 0) errno = ENOSPC;
      return false;
    }
    from += put;
    bytes -= static_cast<size_t>(put);
  }
  return true;
}

std::string nameBeside(const std::string& path) {
  // Mixes the time with the address of this thread's stack. It does not use std::random_device, which with
  // g++ 12 needs GLIBC 2.36.
  const auto now = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  const uint64_t mixed = (now ^ reinterpret_cast<uintptr_t>(&now)) * 0x9e3779b97f4a7c15u;
  return path + "." + std::to_string(mixed) + ".tmp";
}

#if defined(_WIN32)
bool renameFile(const std::string& from, const std::string& to) {
  std::error_code error;
  std::filesystem::rename(native(from), native(to), error);
  if (error) errno = error.default_error_condition().value();
  return !error;
}
void removeFile(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove(native(path), ignored);
}
#else
bool renameFile(const std::string& from, const std::string& to) {
  return std::rename(from.c_str(), to.c_str()) == 0;
}
void removeFile(const std::string& path) { unlink(path.c_str()); }
#endif

}  // namespace clip
