#pragma once
// An emulator as a machine for the cases of native/ops.
#include <cstring>
#include <deque>

#include "cuda/check_support.h"
#include "device.h"

namespace device {

class Emulated : public clip::cuda::check::Machine {
 public:
  explicit Emulated(const device::Machine& machine) : machine_(machine) {}
  void* take(size_t bytes) override { return memory_.emplace_back(bytes).as<void>(); }
  void upload(void* there, const void* here, size_t bytes) override { std::memcpy(there, here, bytes); }
  void download(void* here, const void* there, size_t bytes) override { std::memcpy(here, there, bytes); }
  void run(const clip::cuda::Launch& launch, std::initializer_list<const void*> arguments) override {
    machine_.run(launch, arguments);
  }

 private:
  const device::Machine& machine_;
  std::deque<Memory> memory_;
};

}  // namespace device
