#include "memory.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <utility>

namespace clip::cuda {
namespace {

constexpr size_t kLeastStaging = size_t{1} << 16;

// Memory returned by alloc and not yet freed. Exists as long as the process, because a model may be freed
// while the process ends.
struct Given {
  std::mutex mutex;
  std::map<const void*, std::unique_ptr<DeviceMemory>> memory;
};
Given& given() {
  static auto* all = new Given;
  return *all;
}

thread_local uint64_t allocationsHere = 0;

CUdeviceptr allocate(const Module& module, size_t bytes) {
  const Driver& cu = driver();
  CUdeviceptr address = 0;
  const CUresult r = cu.cuMemAlloc.result(&address, bytes);
  if (r == CUDA_SUCCESS) return address;
  size_t free = 0, total = 0;
  if (r != CUDA_ERROR_OUT_OF_MEMORY || cu.cuMemGetInfo.result(&free, &total) != CUDA_SUCCESS)
    fail(cu, "cuMemAlloc", r, "for " + std::to_string(bytes) + " bytes");
  throw Error{.code = "ERR_CLIP_MEMORY",
              .message = "No memory for " + std::to_string(bytes) + " bytes on " + module.device().name +
                         ": " + std::to_string(free) + " of " + std::to_string(total) + " bytes are free.",
              .field = "cuMemAlloc",
              .expected = std::to_string(bytes) + " bytes",
              .actual = std::to_string(free) + " bytes"};
}

}  // namespace

int usableDevice(std::string* why) {
  try {
    std::string reasons;
    for (const Device& d : devices()) {
      if (d.reason.empty()) return d.index;
      reasons += (reasons.empty() ? "" : "; ") + d.name + ": " + d.reason;
    }
    if (why) *why = reasons + ".";
  } catch (const Error& e) {
    if (why) *why = e.message;
  }
  return -1;
}

std::shared_ptr<const Module> usableModule() {
  static std::atomic<int> chosen{-1};  // for the whole process, once it is determined
  int device = chosen.load();
  if (device < 0) {
    std::string why;
    device = usableDevice(&why);
    if (device < 0) throw Error{.code = "ERR_CLIP_CUDA", .message = why, .field = "device"};
    chosen.store(device);
  }
  return Module::of(device);
}

DeviceMemory::DeviceMemory(std::shared_ptr<const Module> module, size_t bytes)
    : module_(std::move(module)), bytes_(std::max<size_t>(bytes, 64)) {
  const Driver& cu = driver();
  module_->makeCurrent();
  address_ = allocate(*module_, bytes_);
  try {
    cu.cuMemsetD8Async(address_, 0, bytes_, nullptr);
    cu.cuStreamSynchronize(nullptr);
  } catch (...) {
    cu.cuMemFree.result(address_);
    throw;
  }
}

DeviceMemory::~DeviceMemory() {
  const Driver& cu = driver();
  cu.cuCtxSetCurrent.result(module_->context());
  cu.cuMemFree.result(address_);
}

const Scratch::Memory& Scratch::atLeast(const std::shared_ptr<const Module>& module, size_t bytes) {
  if (!memory_ || memory_->bytes() < bytes) {
    const size_t larger = memory_ ? std::max(bytes, memory_->bytes() + memory_->bytes() / 2) : bytes;
    memory_ = std::make_shared<const DeviceMemory>(module, larger);
  }
  return memory_;
}

void* Staging::take(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  if (blocks_.empty() || blocks_.back().size - blocks_.back().used < bytes) {
    size_t size = std::max(bytes, kLeastStaging);
    for (const Block& b : blocks_) size = std::max(size, b.size);
    blocks_.reserve(blocks_.size() + 1);
    void* data = nullptr;
    driver().cuMemHostAlloc(&data, size, 0);
    blocks_.push_back({static_cast<char*>(data), size, 0});
  }
  Block& b = blocks_.back();
  void* place = b.data + b.used;
  b.used += bytes;
  return place;
}

void Staging::reset() {
  if (blocks_.size() > 1) {
    size_t size = 0;
    for (const Block& b : blocks_) size += b.size;
    free();
    take(size);
  }
  if (!blocks_.empty()) blocks_.back().used = 0;
}

void Staging::free() {
  for (const Block& b : blocks_) driver().cuMemFreeHost.result(b.data);
  blocks_.clear();
}

void* alloc(size_t bytes) {
  allocationsHere++;
  auto memory = std::make_unique<DeviceMemory>(usableModule(), bytes);
  void* const place = memory->as<void>();
  Given& all = given();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.memory[place] = std::move(memory);
  return place;
}

void free(void* place, size_t) {
  if (!place) return;
  Given& all = given();
  std::unique_ptr<DeviceMemory> memory;  // freed after the lock is released
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.memory.find(place);
  if (found == all.memory.end()) return;
  memory = std::move(found->second);
  all.memory.erase(found);
}

uint64_t allocations() { return allocationsHere; }

void copyIn(void* dst, const void* src, size_t bytes) {
  if (bytes == 0) return;
  const auto module = usableModule();
  const Driver& cu = driver();
  cu.cuMemcpyHtoD(reinterpret_cast<CUdeviceptr>(dst), src, bytes);
  cu.cuStreamSynchronize(nullptr);  // the copy from pageable memory may still be in progress
}

void copyOut(void* dst, const void* src, size_t bytes) {
  if (bytes == 0) return;
  const auto module = usableModule();
  driver().cuMemcpyDtoH(dst, reinterpret_cast<CUdeviceptr>(src), bytes);
}

}  // namespace clip::cuda
