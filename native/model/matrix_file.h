#pragma once
// Compares the rows of a file with queries without ever holding the whole file in memory. The file is never
// mapped: if someone truncated a mapped file, the process would be killed.
#include <atomic>
#include <cstdint>
#include <string>

#include "backend.h"
#include "model/system_file.h"
#include "top_k.h"

namespace clip {

class MatrixFile {
 public:
  // rows x dim numbers, dense, little-endian, starting at byte `offset`.
  struct Shape {
    uint64_t offset = 0;
    int rows = 0, dim = 0;
    Dtype dtype = Dtype::float32;  // float32, bfloat16 or int8 (without scales, which cancel out of a cosine)
  };

  // Throws ERR_CLIP_CHECKPOINT if the file can't be opened, is not a regular file or is too short.
  MatrixFile(const std::string& path, const Shape& shape);

  const Shape& shape() const { return shape_; }

  struct Query {
    const float* queries;  // (rows, dim), dense
    int rows;
    float scale;
    Score score;
    float bias = 0;
  };
  // The best rows of the matrix for each query, ranked, with the same bits as Backend::cosineTopK over the
  // same matrix in memory. Each thread reads one part at a time into its own buffer, which stays in its
  // cache, and runs the op on it, so that one thread reads while another computes. Throws Cancelled soon
  // after `cancelled` is set, and ERR_CLIP_CHECKPOINT if the file was truncated.
  void topK(const Backend& backend, int threads, const Query& query, TopK* best,
            const std::atomic<bool>& cancelled) const;

 private:
  void read(int firstRow, int rows, void* dst) const;

  std::string path_;
  Shape shape_;
  SystemFile file_;
};

}  // namespace clip
