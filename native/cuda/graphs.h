#pragma once
// The calls of a pass, noted down until they are complete, then run as one graph; and the graphs that can be
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
class RecordedGraphs {
 public:
  // nullptr: none for this key.
  const Recorded* find(const GraphKey&);
  // Takes the place of the one that was used longest ago, if there are many.
  void add(const GraphKey&, std::unique_ptr<const Recorded>);
  void clear() { graphs_.clear(); }

 private:
  struct Known {
    GraphKey key;
    std::unique_ptr<const Recorded> graph;
  };
  std::list<Known> graphs_;  // last used first
};

}  // namespace clip::cuda
