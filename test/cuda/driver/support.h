#pragma once
// What the driver's cases share: the environment of the stand-in and its reports.
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cuda/driver.h"
#include "cuda/images.h"
#include "cuda/modules.h"

namespace support {
using namespace clip::cuda;

// AddressSanitizer ends the process at an illegal access, before the stand-in can turn it into an error.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kRescues = false;
#else
constexpr bool kRescues = true;
#endif

// The kernels of cuda/images, which the caller of this program has decompressed into the folder
// CUDA_TESTS_IMAGES.
Images committedImages();

// The environment of one case: passes the kernels in and sets environment variables, CLIP_STANDIN_REPORT and
// CLIP_STANDIN_LOG always, others as given. If the driver is already open, it calls cuInit again to read
// them.
class Environment {
 public:
  explicit Environment(const std::string& assignments = "");  // "NAME=value NAME=value"
  Environment(const Environment&) = delete;
  ~Environment();
  void fail(const std::string& faults) const;  // sets CLIP_STANDIN_FAIL from now on; "" for none
  std::string report() const;                  // the reported lines
  int calls(const std::string& name) const;    // how often the name is in the log
  // The result of a case: "" if nothing was reported, or if exactly these words were.
  std::string silent() const;
  std::string reported(const std::string& words) const;

 private:
  std::vector<std::string> names_;
};

// Throws unless `holds`.
void check(bool holds, const std::string& what);
void checkCode(CUresult got, CUresult want, const std::string& what);
// The error that `body` throws; it must throw one.
clip::Error errorOf(const std::function<void()>& body);
// The output of a child process that is forked from this one, and how it ends ("exit 0", "signal 11").
struct Child {
  std::string said, end;
};
Child inChild(const std::function<std::string()>& body);

// Memory, a stream and the kernel that converts float32 rows to another dtype: a complete small program.
struct Rows {
  static constexpr int kRows = 3, kCols = 64;
  static constexpr size_t kBytes = size_t{kRows} * kCols * 4;

  std::shared_ptr<const Module> module;
  CUstream stream = nullptr;
  CUdeviceptr from = 0, to = 0;
  float *in = nullptr, *out = nullptr;  // pinned

  explicit Rows(int device = 0);
  ~Rows();
  void fill(float first);
  void cast(CUstream s, int rows = kRows) const;  // from -> to
  bool isCopied(float first) const;               // out
};

}  // namespace support
