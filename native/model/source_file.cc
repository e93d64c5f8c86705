#include "model/source_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"

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

}  // namespace

SourceFile::SourceFile(const std::string& path, uint64_t bytes) : path_(path) {
  if (!file_.openToRead(path, true))
    fail(path, std::string("can't be opened: ") + std::strerror(errno), "a readable file");
  if (!file_.examine()) fail(path, std::string("can't be examined: ") + std::strerror(errno));
  if (file_.kind != SystemFile::Kind::regular) {
    const bool folder = file_.kind == SystemFile::Kind::folder;
    fail(path, folder ? "is a folder, not a file" : "is not a regular file", "a regular file",
         folder ? "a folder" : "something else");
  }
  if (file_.bytes != bytes)
    fail(path,
         "the file has " + std::to_string(file_.bytes) + " bytes, but had " + std::to_string(bytes) +
             " when its header was read",
         std::to_string(bytes) + " bytes", std::to_string(file_.bytes) + " bytes");
}

void SourceFile::read(uint64_t offset, void* dst, size_t bytes) const {
  if (file_.read(offset, dst, bytes)) return;
  fail(
      path_,
      errno ? std::string("can't be read: ") + std::strerror(errno) : "was truncated while it was being read",
      std::to_string(bytes) + " bytes at " + std::to_string(offset));
}

}  // namespace clip
