#include "model/matrix_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "error.h"
#include "threads/parallel.h"
#if defined(__linux__)
#include <fcntl.h>
#endif

namespace clip {
namespace {

// About the size that fits into the second-level cache together with the queries. Measured on Zen 5, rows of
// 512 float32, 1 GB in the page cache, in percent of the memory bandwidth of the same run (1 thread, 2
// threads):
//   128 KB 63, 60; 256 KB 62, 61; 512 KB 63, 62; 768 KB 61, 60; 1 MB 56, 57; 2 MB 54, 56.
// Reading alone, without the scan, gives 79, 75 for every size. So the system's copy takes four fifths of the
// time, and both are work of the same thread: a thread that reads for another one that scans would occupy the
// core of a thread that does both (reading alone on one thread is slower than both on two). Only mapping the
// file would avoid the copy.
constexpr size_t kPartBytes = size_t{512} << 10;

[[noreturn]] void fail(const std::string& path, const std::string& what, std::string field = {},
                       std::string expected = {}, std::string actual = {}) {
  throw Error{.code = "ERR_CLIP_CHECKPOINT",
              .message = path + ": " + what,
              .file = path,
              .field = std::move(field),
              .expected = std::move(expected),
              .actual = std::move(actual)};
}

// What one thread needs for its part of the work.
class Worker {
 public:
  Worker(const Backend& backend, size_t bytes, int queries, int k)
      : backend_(backend),
        bytes_(bytes),
        context_(backend.open(1)),
        buffer_(backend.alloc(bytes)),
        values_(size_t(queries) * k),
        indices_(size_t(queries) * k) {
    for (int q = 0; q < queries; q++)
      best_.push_back({values_.data() + size_t(q) * k, indices_.data() + size_t(q) * k, k});
    if (!context_ || !buffer_) {
      release();
      throw std::bad_alloc();
    }
  }
  ~Worker() { release(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  Context& context() { return *context_; }
  void* buffer() { return buffer_; }
  std::vector<TopK>& best() { return best_; }

 private:
  void release() {
    if (buffer_) backend_.free(buffer_, bytes_);
    if (context_) backend_.close(context_);
  }

  const Backend& backend_;
  size_t bytes_;
  Context* context_;
  void* buffer_;
  std::vector<float> values_;
  std::vector<int32_t> indices_;
  std::vector<TopK> best_;
};

}  // namespace

MatrixFile::MatrixFile(const std::string& path, const Shape& shape) : path_(path), shape_(shape) {
  if (!file_.openToRead(path, true))
    fail(path, std::string("can't be opened: ") + std::strerror(errno), "file", "a readable file");
  if (!file_.examine()) fail(path, std::string("can't be examined: ") + std::strerror(errno), "file");
  if (file_.kind != SystemFile::Kind::regular) {
    const bool folder = file_.kind == SystemFile::Kind::folder;
    fail(path, folder ? "is a folder, not a file" : "is not a regular file", "file", "a regular file",
         folder ? "a folder" : "something else");
  }
  // At most 2^31 * 2^31 * 4 plus an offset of 2^53, so it cannot overflow.
  const uint64_t needed = shape.offset + uint64_t(shape.rows) * uint64_t(shape.dim) * bytesOf(shape.dtype);
  if (file_.bytes < needed)
    fail(path,
         "the file has " + std::to_string(file_.bytes) + " bytes, but " + std::to_string(shape.rows) +
             " rows of " + std::to_string(shape.dim) + " from byte " + std::to_string(shape.offset) +
             " on end at byte " + std::to_string(needed),
         "rows", "at least " + std::to_string(needed) + " bytes", std::to_string(file_.bytes) + " bytes");
#if defined(__linux__)
  posix_fadvise(file_.descriptor(), 0, 0, POSIX_FADV_SEQUENTIAL);  // makes the system read further ahead
#endif
}

void MatrixFile::read(int firstRow, int rows, void* dst) const {
  const uint64_t rowBytes = uint64_t(shape_.dim) * bytesOf(shape_.dtype);
  const uint64_t offset = shape_.offset + uint64_t(firstRow) * rowBytes, bytes = uint64_t(rows) * rowBytes;
  if (file_.read(offset, dst, bytes)) return;
  const int error = errno;
  std::string now = "unknown";
  SystemFile again;
  if (again.openToRead(path_, true) && again.examine()) now = std::to_string(again.bytes) + " bytes";
  fail(
      path_,
      error ? std::string("can't be read: ") + std::strerror(error) : "was truncated while it was being read",
      "rows", std::to_string(bytes) + " bytes at " + std::to_string(offset), now);
}

void MatrixFile::topK(const Backend& backend, int threads, const Query& query, TopK* best,
                      const std::atomic<bool>& cancelled) const {
  const size_t rowBytes = size_t(shape_.dim) * bytesOf(shape_.dtype);
  const int blocks = blocksOf(shape_.rows);
  const int partBlocks = int(std::clamp<size_t>(kPartBytes / (rowBytes * kTopKBlock), 1, 64));
  const int parts = (blocks + partBlocks - 1) / partBlocks, partRows = partBlocks * kTopKBlock;
  std::vector<TopKSum> sums(size_t(blocks) * query.rows);
  std::vector<std::unique_ptr<Worker>> workers(threads);
  parallel(threads, parts, [&](int part, int worker) {
    if (cancelled.load(std::memory_order_relaxed)) throw Cancelled{};
    std::unique_ptr<Worker>& w = workers[worker];
    if (!w)
      w = std::make_unique<Worker>(backend, rowBytes * std::min(partRows, shape_.rows), query.rows,
                                   best[0].capacity);
    const int first = part * partRows, count = std::min(partRows, shape_.rows - first);
    read(first, count, w->buffer());
    backend.cosineTopK(w->context(), {.queries = query.queries,
                                      .classes = {.data = w->buffer(), .dtype = shape_.dtype},
                                      .best = w->best().data(),
                                      .sums = sums.data() + size_t(part) * partBlocks * query.rows,
                                      .rows = query.rows,
                                      .classCount = count,
                                      .dim = shape_.dim,
                                      .firstClass = first,
                                      .scale = query.scale,
                                      .score = query.score,
                                      .bias = query.bias});
  });
  for (const auto& w : workers)
    if (w)
      for (int q = 0; q < query.rows; q++) best[q].push(w->best()[q]);
  finishTopK(best, sums.data(), blocks, query.rows, query.score);
}

}  // namespace clip
