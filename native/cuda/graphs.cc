#include "graphs.h"

#include <utility>

namespace clip::cuda {
namespace {

// A graph of a tower has about a hundred nodes and takes less than a megabyte.
constexpr size_t kMostGraphs = 64;

bool same(const GraphKey& a, const GraphKey& b) {
  return a.tower == b.tower && a.rowsBucket == b.rowsBucket && a.sequencesBucket == b.sequencesBucket &&
         a.longest == b.longest && a.variant == b.variant && a.memory == b.memory &&
         a.memoryBytes == b.memoryBytes;
}

// Captures what the steps do on a stream as a graph.
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

const Recorded* RecordedGraphs::find(const GraphKey& key) {
  for (auto at = graphs_.begin(); at != graphs_.end(); ++at)
    if (same(at->key, key)) {
      graphs_.splice(graphs_.begin(), graphs_, at);
      return at->graph.get();
    }
  return nullptr;
}

void RecordedGraphs::add(const GraphKey& key, std::unique_ptr<const Recorded> graph) {
  while (graphs_.size() >= kMostGraphs) graphs_.pop_back();
  graphs_.push_front({key, std::move(graph)});
}

}  // namespace clip::cuda
