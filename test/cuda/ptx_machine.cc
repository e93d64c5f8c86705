// The kernels as compiled by nvcc, run by the PTX interpreter. CUDA_TESTS_PTX is a folder of .ptx files, one
// per .cu; without it this machine does not exist.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "cases.h"
#include "device.h"
#include "ptx_machine.h"

namespace device {
namespace {

std::string readFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

std::string ptxText(const std::string& file) {
  std::string all;
  const char* folder = std::getenv("CUDA_TESTS_PTX");
  if (!folder) return all;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".ptx" && (file.empty() || entry.path().stem() == file))
      all += readFile(entry.path());
  return all;
}

void PtxMachine::run(const clip::cuda::Launch& launch, const std::vector<const void*>& arguments) const {
  const auto kernel = module_.find(launch.kernel ? launch.kernel : "");
  if (kernel == module_.end())
    throw std::runtime_error(cases::format("no kernel %s", launch.kernel ? launch.kernel : "for this shape"));
  if (kernel->second.parameterBytes.size() != arguments.size())
    throw std::runtime_error("number of arguments");
  emulator::ptx::run(kernel->second, {launch.x, launch.y, launch.z, launch.threads, launch.shared},
                     arguments.data());
}

const Machine* ptx() {
  static const std::string text = ptxText();
  if (text.empty()) return nullptr;
  static const PtxMachine machine(text);
  return &machine;
}

}  // namespace device
