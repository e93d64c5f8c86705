#pragma once
// Reads weights from the files of a checkpoint and packs them, one after the other, into one allocation.
//
// There are two rounds with the same calls: the first checks every tensor and counts bytes; the second
// assigns each weight its location and stores it there, unless it comes from the pack cache.
//
// If float16 can represent every weight of a matrix of a float32 model exactly (OpenAI's released weights are
// float16; Hugging Face's float32 files contain the same numbers), CPU backends store it in float16: half the
// memory, the same sums. This is known only after the weights are read, so the first round counts as much as
// float32 needs; the remaining memory is never touched.
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "model/config.h"
#include "model/source_file.h"
#include "model/tensor.h"
#include "model/tensor_source.h"
#include "model/weight_hash.h"
#include "model/weights.h"

namespace clip {

class WeightPacker {
 public:
  WeightPacker(const ModelConfig&, const Backend&, Dtype, int threads, const std::atomic<bool>& cancel);

  size_t bytes() const { return used_; }  // after a round
  // For each matrix that can be stored either way, in the order of the calls: '1' if it is packed in float16,
  // '0' if in float32.
  const std::string& float16() const { return float16_; }

  // For the next round: the packed weights are already at `base`.
  void placeInto(const void* base, const std::string& float16);
  // For the next round: stores the packed weights at `base`.
  void fillInto(void* base);
  // Replaces these rounds by one that checks every tensor and reads it to compute its name.
  void nameOnly() { naming_ = true; }
  WeightNames names() const { return hash_.names(); }  // after the round that read the weights

 protected:
  enum class Bias : uint8_t { required, optional };

  // names + ".weight" stacked along `out`, packed; or the name alone if the checkpoint has no ".weight"
  // (projections). The same for names + ".bias": with Bias::optional, those that are missing are zeros, and
  // without any there is no bias. A layer scale names[0] + ".scale" (out) is multiplied into rows and bias.
  LinearWeight linear(const std::vector<std::string>& names, const Shape&, Bias, Dtype);
  LinearWeight linear(const std::vector<std::string>& names, const Shape& shape, Bias bias) {
    return linear(names, shape, bias, dtype_);
  }
  // A convolution (out, in, y, x) and the batch norm after it, folded in double (torch.nn.BatchNorm2d, eps
  // 1e-5) into one matrix (out, y * x * in) and a bias.
  LinearWeight conv(const std::string& name, const std::string& norm, const Shape&);
  NormWeight norm(const std::string& name, int64_t width) {
    return {vector(name + ".weight", {width}), vector(name + ".bias", {width})};
  }
  const float* vector(const std::string& name, const Shape& shape) { return vectors({name}, shape); }
  // The rows of a matrix after one row of zeros.
  const float* vectorAfterZeros(const std::string& name, const Shape&);
  // The query of an attention pool that is the same for all images: W x + b (width), in double and rounded
  // once. `query` names W and b, `latent` x.
  const float* constantQuery(const std::string& query, const std::string& latent, int64_t width);
  // `count` numbers that depend on no tensor, calculated only in a round that stores them.
  const float* constants(size_t count, const std::function<std::vector<float>()>& values);
  // The token table, in its stored dtype; in float32 if its numbers are multiplied by a scale.
  RowTable table(const std::string& name, const Shape&, float scale = 1);
  // Learned positions, with the vector `added` in each row if there is one (the type of all tokens).
  const float* positions(const std::string& name, const std::string& added, const Shape&);

  const ModelConfig& config_;
  const Dtype dtype_;

 private:
  const TensorView& checked(const std::string& name, const Shape&);
  // Several tensors of one shape, one after the other, as float32.
  // Those that are missing are zeros with Bias::optional, if at least one is there. `scale`: a factor for each
  // number, or empty.
  const float* vectors(const std::vector<std::string>& names, const Shape&, Bias bias = Bias::required,
                       const std::vector<float>& scale = {});
  // The values of name + ".scale"; empty if there is none, or in a round that reads nothing.
  std::vector<float> rowScale(const std::string& name, int64_t rows);
  // Stops early and returns false if `stored` should represent every weight exactly but does not.
  bool packParts(const std::vector<const TensorView*>& parts, const std::vector<std::string>& names,
                 int64_t partRows, const std::vector<float>& scale, const LinearWeight&, void* place,
                 Dtype stored);
  // Reads a tensor to compute its name: row by row, or as a single row.
  void nameRows(const std::string& name, const TensorView&);
  void nameWhole(const std::string& name, const float* values, size_t count);
  // Called once per tensor, so this is where a load checks for cancellation.
  TensorSource open(const TensorView&);
  // The next `bytes` of the allocation, 64-byte aligned; nullptr in the counting round.
  void* take(size_t bytes);

  const Backend& backend_;
  const int threads_;
  const std::atomic<bool>& cancel_;
  uint8_t* base_ = nullptr;
  bool filling_ = false, naming_ = false;
  WeightHash hash_;
  size_t used_ = 0;
  std::string float16_;
  size_t float16Next_ = 0;  // index of the next matrix
  std::vector<std::unique_ptr<SourceFile>> files_;
  uint64_t unread_ = 0;  // in the counting round: bytes of all files that no tensor has used yet
  std::vector<std::vector<float>> scratch_;  // per worker: rows as float32
  std::vector<TensorSource::Piece> pieces_;  // per worker: rows in their stored dtype
};

}  // namespace clip
