#pragma once
// The calls of a pass, recorded until they are complete and then run as one graph; and the graphs that can be
// run again.
#include <functional>
#include <list>
#include <vector>

#include "memory.h"

namespace clip::cuda {

// Launches something on a stream, or records it if the stream is being captured.
using Step = std::function<void(CUstream)>;

// A graph, and the scratch memory that it uses in addition to the model's memory.
class Recorded {
 public:
  // Does not run anything yet. If it throws, the stream is unchanged.
  Recorded(const std::vector<Step>& steps, CUstream stream, std::vector<Scratch::Memory> memory);
  ~Recorded();
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;
  void launch(CUstream) const;

 private:
  CUgraphExec graph_ = nullptr;
  std::vector<Scratch::Memory> memory_;
};

// The graphs of a context, up to a maximal number.
class RecordedGraphs {
 public:
  // Returns nullptr if there is none for this key.
  const Recorded* find(const GraphKey&);
  // Adds a graph; if there are too many, it replaces the least recently used one.
  void add(const GraphKey&, std::unique_ptr<const Recorded>);
  void clear() { graphs_.clear(); }

 private:
  struct Known {
    GraphKey key;
    std::unique_ptr<const Recorded> graph;
  };
  std::list<Known> graphs_;  // most recently used first
};

}  // namespace clip::cuda
