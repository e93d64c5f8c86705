#include "plan.h"

#include <utility>

namespace clip::cuda {
namespace {

// A graph of a tower has a hundred nodes, and takes less than a megabyte.
constexpr size_t kMostPlans = 64;

bool same(const Plan& a, const Plan& b) {
  return a.tower == b.tower && a.rowsBucket == b.rowsBucket && a.sequencesBucket == b.sequencesBucket &&
         a.longest == b.longest && a.variant == b.variant && a.memory == b.memory &&
         a.memoryBytes == b.memoryBytes;
}

// What the steps do on a stream, as a graph.
CUgraph capture(const std::vector<Step>& steps, CUstream stream) {
  const Driver& cu = driver();
  CUgraph graph = nullptr;
  cu.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  try {
    for (const Step& step : steps) step(stream);
  } catch (...) {
    if (cu.cuStreamEndCapture.result(stream, &graph) == CUDA_SUCCESS && graph)
      cu.cuGraphDestroy.result(graph);
    throw;
  }
  cu.cuStreamEndCapture(stream, &graph);
  return graph;
}

}  // namespace

Recorded::Recorded(const std::vector<Step>& steps, CUstream stream, std::vector<Scratch::Memory> memory)
    : memory_(std::move(memory)) {
  const Driver& cu = driver();
  const CUgraph graph = capture(steps, stream);
  const CUresult r = cu.cuGraphInstantiate.result(&graph_, graph, 0);
  cu.cuGraphDestroy.result(graph);
  if (r != CUDA_SUCCESS) fail(cu, "cuGraphInstantiate", r);
}

Recorded::~Recorded() {
  if (graph_) driver().cuGraphExecDestroy.result(graph_);
}

void Recorded::launch(CUstream stream) const { driver().cuGraphLaunch(graph_, stream); }

const Recorded* RecordedPlans::find(const Plan& plan) {
  for (auto at = plans_.begin(); at != plans_.end(); ++at)
    if (same(at->plan, plan)) {
      plans_.splice(plans_.begin(), plans_, at);
      return at->graph.get();
    }
  return nullptr;
}

void RecordedPlans::add(const Plan& plan, std::unique_ptr<const Recorded> graph) {
  while (plans_.size() >= kMostPlans) plans_.pop_back();
  plans_.push_front({plan, std::move(graph)});
}

}  // namespace clip::cuda
