// The list of all kernels, and the launches that cuda/limits.json repeats for the report.
#include "kernels.h"

#include <fstream>
#include <set>
#include <sstream>

#include "cases.h"
#include "emulator/registry.h"

namespace {

using namespace clip;
using namespace clip::cuda;

std::string list() {
  std::set<std::string> listed(std::begin(kKernels), std::end(kKernels)), there;
  for (const auto& kernel : emulator::kernels()) there.insert(kernel.first);
  if (listed.size() != std::size(kKernels)) return "a kernel is listed twice";
  if (listed.size() > 60) return "more kernels than 60";
  return listed == there ? "" : "kKernels differs from the kernels that the .cu files define";
}

// Every launch with more than a few words of shared memory.
std::vector<Launch> launches() {
  std::vector<Launch> all{cosineTopKLaunch({.rows = 1, .classCount = 1}), infoNceLaunch({.rows = 1})};
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16}) {
    Attention a{};
    a.q.dtype = dtype;
    a.heads = 1;
    for (const int dim : {64, 80, 88, 104, 128}) {
      a.dim = dim;
      all.push_back(attentionLaunch(a, 1));
    }
    Linear l{};
    l.x.dtype = dtype;
    l.rows = l.in = l.out = 1;
    all.push_back(linearSkinnyLaunch(l));
    all.push_back(linearSquareLaunch(l));
    Conv c{};
    c.dtype = dtype;
    c.images = c.height = c.width = c.in = c.out = c.kernel = c.stride = 1;
    all.push_back(convLaunch(c));
  }
  return all;
}

std::string limits() {
  std::ifstream file(CLIP_ROOT "/cuda/limits.json");
  std::stringstream text;
  text << file.rdbuf();
  const std::string shared = text.str().substr(text.str().find("\"shared\""));
  for (const Launch& launch : launches()) {
    const std::string entry = cases::format("\"%s\": %u", launch.kernel, launch.shared);
    if (shared.find(entry) == std::string::npos) return "cuda/limits.json lacks " + entry;
  }
  return "";
}

const cases::Registration registration([] {
  cases::add("kernels", "kKernels lists exactly the kernels that the .cu files define", list);
  cases::add("kernels", "limits.json repeats the shared memory of every launch", limits);
});

}  // namespace
