#pragma once
// A machine that runs PTX, for tests that change the text first.
#include "device.h"
#include "emulator/ptx.h"

namespace device {

// The PTX of a .cu file, or of all; "" without CUDA_TESTS_PTX.
std::string ptxText(const std::string& file = "");

class PtxMachine : public Machine {
 public:
  explicit PtxMachine(const std::string& text) : module_(emulator::ptx::parse(text)) {}
  void run(const clip::cuda::Launch&, const std::vector<const void*>& arguments) const override;
  const char* name() const override { return "PTX"; }

 private:
  emulator::ptx::Module module_;
};

}  // namespace device
