// Bank conflicts of every kernel, counted in the PTX that nvcc emitted: computed from the addresses that the
// 32 lanes of a warp use at each access to shared memory. cuda/limits.json contains the limits.
#include <fstream>
#include <sstream>

#include "cases.h"
#include "device.h"
#include "emulator/banks.h"
#include "emulator/ptx.h"
#include "kernel_runs.h"
#include "kernels.h"
#include "ptx_machine.h"

namespace {

using emulator::SharedTraffic;
using emulator::Wavefronts;

// Wavefronts beyond the minimum, in percent of the minimum.
double extraPercent(const Wavefronts& w) {
  return w.least ? 100. * double(w.taken - w.least) / double(w.least) : 0;
}

Wavefronts sumOf(const SharedTraffic& traffic) {
  Wavefronts sum;
  for (const Wavefronts& w : traffic) {
    sum.accesses += w.accesses;
    sum.least += w.least;
    sum.taken += w.taken;
  }
  return sum;
}

// Whether the kernel's PTX accesses shared memory, whether or not it was run.
bool usesShared(const std::string& kernel) {
  using emulator::ptx::Op;
  static const emulator::ptx::Module module = emulator::ptx::parse(device::ptxText());
  for (const emulator::ptx::Instruction& i : module.at(kernel).instructions)
    if (i.op == Op::loadMatrix || i.op == Op::copyAsync ||
        ((i.op == Op::load || i.op == Op::store) && i.space == emulator::ptx::Space::shared))
      return true;
  return false;
}

// Runs the kernels once, on shapes of models.
const std::map<std::string, SharedTraffic>& traffic() {
  static const auto counted = [] {
    const device::Machine& machine = *device::ptx();
    emulator::sharedTraffic.clear();
    for (const auto holds : {attentionOfModels, linearOfModels, convOfModels, cosineOfModels})
      if (const std::string wrong = holds(machine); !wrong.empty()) throw std::runtime_error(wrong);
    return emulator::sharedTraffic;
  }();
  return counted;
}

// The limit of a kernel; negative if it has none and must not use shared memory at all.
double limitOf(const std::string& kernel) {
  std::ifstream file(CLIP_ROOT "/cuda/limits.json");
  std::stringstream text;
  text << file.rdbuf();
  const std::string all = text.str();
  const size_t begin = all.find("\"bankConflicts\""), at = all.find("\"" + kernel + "\":", begin);
  if (begin == std::string::npos) throw std::runtime_error("cuda/limits.json has no bankConflicts");
  if (at == std::string::npos || at > all.find('}', begin)) return -1;
  return std::stod(all.substr(at + kernel.size() + 3));
}

std::string check(const std::string& kernel) {
  const double limit = limitOf(kernel);
  if (!usesShared(kernel)) return limit < 0 ? "" : "it does not use shared memory, but has a limit";
  if (limit < 0) return "it uses shared memory, but has no limit";
  const auto found = traffic().find(kernel);
  if (found == traffic().end()) return "nothing runs its accesses to shared memory";
  const Wavefronts sum = sumOf(found->second);
  std::string line = kernel + " {";
  for (size_t kind = 0; kind < found->second.size(); kind++) {
    const Wavefronts& w = found->second[kind];
    line += cases::format("%s\"%s\":[%llu,%llu,%llu]", kind ? "," : "", emulator::kSharedAccessNames[kind],
                          static_cast<unsigned long long>(w.accesses),
                          static_cast<unsigned long long>(w.least), static_cast<unsigned long long>(w.taken));
  }
  std::printf("# banks %s}\n", line.c_str());
  return extraPercent(sum) <= limit
             ? ""
             : cases::format("%.2f %% more wavefronts than the least, limit %g", extraPercent(sum), limit);
}

const cases::Registration registration([] {
  if (!device::ptx()) return;
  for (const char* kernel : clip::cuda::kKernels)
    cases::add("banks-ptx", kernel, [kernel] { return check(kernel); });
});

}  // namespace
