#include "check.h"

#include <algorithm>
#include <cstring>

#include "check_support.h"
#include "cuda/table.h"
#include "half.h"
#include "pack.h"

namespace clip::cuda {
namespace check {
namespace {

constexpr size_t kMemory = size_t{4} << 20;  // of all matrices of a check together

}  // namespace

Device::Device(Stream& stream) : stream_(stream), memory_(stream.module(), kMemory), used_(kMemory) {
  reset();
}

Device::~Device() {
  try {
    stream_.sync();
  } catch (...) {  // told before, or of a check that had failed
  }
}

void* Device::take(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  if (bytes > kMemory - used_)
    throw Error{.code = "ERR_CLIP_INTERNAL", .message = "A check of a kernel wants too much memory."};
  char* const place = memory_.as<char>() + used_;
  used_ += bytes;
  return place;
}

void Device::reset() {
  stream_.run([this](CUstream s) { driver().cuMemsetD8Async(memory_.address(), 0xff, used_, s); });
  used_ = 0;
}

void Device::run(const Launch& launch, std::initializer_list<const void*> arguments) {
  stream_.run([&](CUstream s) { stream_.module()->launch(launch, s, arguments); });
}

void* Device::weight(const Values& w, Dtype dtype) {
  void* const place = take(linearPackedSize(dtype, w.cols, w.rows));
  stream_.sync();  // pack does not know the stream, on which the memory was cleared
  pack({.dst = place,
        .rows = w.data.data(),
        .rowStride = static_cast<size_t>(w.cols),
        .in = w.cols,
        .out = w.rows,
        .firstRow = 0,
        .rowCount = w.rows,
        .dtype = dtype});
  return place;
}

}  // namespace check

std::vector<KernelCheck> checkKernels(const std::function<bool()>& go) {
  std::vector<check::Check> checks;
  check::addAttention(checks);
  Stream stream(1);
  check::Device device(stream);
  for (const check::ProductOp& op : check::productOps())
    checks.push_back({{op.kernel}, [&op](check::Device& d) {
                        for (const ops::Case& c : ops::casesOf(op.op, ops::kFirstLoad)) {
                          const check::Made made = op.make(d, c, op);
                          made.run();
                          const std::string difference = made.difference();
                          if (!difference.empty()) return difference;
                          d.reset();
                        }
                        return std::string();
                      }});
  for (const check::RowOp& op : check::rowOps())
    checks.push_back({{op.kernel}, [&op](check::Device& d) {
                        for (const ops::Case& c : ops::casesOf(op.op, ops::kFirstLoad))
                          for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::float16}) {
                            if (!op.dtypes && dtype != Dtype::float32) continue;
                            const check::Made made = op.make(d, c, dtype);
                            made.run();
                            const std::string difference = made.difference();
                            if (!difference.empty()) return difference;
                            d.reset();
                          }
                        return std::string();
                      }});
  std::vector<KernelCheck> results;
  for (const check::Check& c : checks) {
    if (!go()) break;
    const std::string difference = c.run(device);
    for (const char* kernel : c.kernels) results.push_back({kernel, difference});
    device.reset();
  }
  return results;
}

DeviceIdentity deviceIdentity() {
  chooseBackend("cuda");  // says why there is none
  const auto module = usableModule();
  return {.name = module->device().name,
          .fingerprint = module->fingerprint(),
          .image = module->image(),
          .driver = driver().version,
          .capability = module->device().capability,
          .memory = module->device().memory};
}

}  // namespace clip::cuda
