#pragma once
// What the driver's cases share: the stand-in's environment and what it reported.
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

// AddressSanitizer ends the process at an illegal access, before the stand-in can make an error of it.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kRescues = false;
#else
constexpr bool kRescues = true;
#endif

// The kernels of cuda/images, which whoever runs this program has inflated into the folder CUDA_TESTS_IMAGES.
Images committedImages();

// The kernels are there, and environment variables for one case: CLIP_STANDIN_REPORT and CLIP_STANDIN_LOG always, others as asked for.
// Read anew by cuInit, if the driver was opened before.
class Environment {
 public:
  explicit Environment(const std::string& assignments = "");  // "NAME=value NAME=value"
  Environment(const Environment&) = delete;
  ~Environment();
  void fail(const std::string& faults) const;  // CLIP_STANDIN_FAIL from now on; "" for none
  std::string report() const;                  // what was reported, lines
  int calls(const std::string& name) const;    // lines of the log
  // What a case returns: "" if nothing was reported, or if these words were.
  std::string silent() const;
  std::string reported(const std::string& words) const;

 private:
  std::vector<std::string> names_;
};

// Throws unless it holds.
void check(bool holds, const std::string& what);
void checkCode(CUresult got, CUresult want, const std::string& what);
// The error that this throws, which it must.
clip::Error errorOf(const std::function<void()>& body);
// What a child process that starts as this one is says, and how it ends ("exit 0", "signal 11").
struct Child {
  std::string said, end;
};
Child inChild(const std::function<std::string()>& body);

// Memory, a stream and the kernel that copies float32 rows into another dtype: enough of a program.
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
