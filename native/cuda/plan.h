#pragma once
// The calls of a plan, noted down until they are complete, then run as one graph; and the graphs that can be
// run again.
#include <functional>
#include <list>
#include <vector>

#include "memory.h"

namespace clip::cuda {

// Launches something on a stream, or records it where that is being captured.
using Step = std::function<void(CUstream)>;

// A graph, and the memory that it writes to beside the model's own.
class Recorded {
 public:
  // Nothing runs yet. Throws, leaving the stream as it was.
  Recorded(const std::vector<Step>& steps, CUstream stream, std::vector<Scratch::Memory> memory);
  ~Recorded();
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;
  void launch(CUstream) const;

 private:
  CUgraphExec graph_ = nullptr;
  std::vector<Scratch::Memory> memory_;
};

// The graphs of a context, the last used ones.
class RecordedPlans {
 public:
  // nullptr: none for this plan.
  const Recorded* find(const Plan&);
  // Takes the place of the one that was used longest ago, if there are many.
  void add(const Plan&, std::unique_ptr<const Recorded>);
  void clear() { plans_.clear(); }

 private:
  struct Known {
    Plan plan;
    std::unique_ptr<const Recorded> graph;
  };
  std::list<Known> plans_;  // last used first
};

}  // namespace clip::cuda
