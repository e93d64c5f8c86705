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

constexpr size_t kMemory = size_t{4} << 20;  // for all matrices of a check together

}  // namespace

Device::Device(Stream& stream) : stream_(stream), memory_(stream.module(), kMemory), used_(kMemory) {
  reset();
}

Device::~Device() {
  try {
    stream_.sync();
  } catch (...) {  // already reported, or caused by a check that has failed
  }
}

void* Device::take(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  if (bytes > kMemory - used_)
    throw Error{.code = "ERR_CLIP_INTERNAL",
                .message = "A check of a kernel needs more memory than is reserved for it."};
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
  stream_.sync();  // pack does not use the stream on which the memory was cleared
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
  Stream stream(1);
  check::Device device(stream);
  std::vector<KernelCheck> results;
  // Finds the first difference of a kernel in the cases of its op that `make` builds. Returns false if the
  // check is to stop.
  const auto check = [&](const char* kernel, const char* op, const auto& make) {
    if (!go()) return false;
    std::string difference;
    for (const ops::Case& c : ops::casesOf(op, ops::kFirstLoad)) {
      if (difference.empty()) difference = make(c);
      device.reset();
    }
    results.push_back({kernel, difference});
    return true;
  };
  const auto differenceOf = [](const check::Made& made) {
    made.run();
    return made.difference();
  };
  for (const check::AttentionOp& op : check::attentionOps())
    if (!check(op.kernel, "attention",
               [&](const ops::Case& c) { return op.takes(c) ? differenceOf(op.make(device, c, op)) : ""; }))
      return results;
  for (const check::ProductOp& op : check::productOps())
    if (!check(op.kernel, op.op, [&](const ops::Case& c) { return differenceOf(op.make(device, c, op)); }))
      return results;
  for (const check::RowOp& op : check::rowOps())
    if (!check(op.kernel, op.op, [&](const ops::Case& c) {
          std::string difference;
          for (const Dtype dtype : op.dtypes) {
            if (!difference.empty()) break;
            difference = differenceOf(op.make(device, c, dtype));
            device.reset();
          }
          return difference;
        }))
      return results;
  return results;
}

DeviceIdentity deviceIdentity() {
  chooseBackend("cuda");  // throws with the reason if there is no GPU
  const auto module = usableModule();
  return {.name = module->device().name,
          .fingerprint = module->fingerprint(),
          .image = module->image(),
          .driver = driver().version,
          .capability = module->device().capability,
          .memory = module->device().memory};
}

}  // namespace clip::cuda
