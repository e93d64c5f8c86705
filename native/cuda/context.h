#pragma once
// Where the ops of one model run: a stream, its pinned memory, scratch memory of the kernels and recorded
// graphs. Calls are executed in order; only sync and download wait. Used by one thread at a time.
#include <map>
#include <tuple>

#include "attention.h"
#include "linear.h"
#include "graphs.h"

namespace clip::cuda {

class Stream {
 public:
  explicit Stream(int threads) : threads_(threads) {}
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  static Stream& of(Context& c) { return reinterpret_cast<Stream&>(c); }
  Context* context() { return reinterpret_cast<Context*>(this); }

  // Opens the device on the first call and makes it current in the calling thread.
  const std::shared_ptr<const Module>& module();
  void upload(void* dst, const void* src, size_t bytes);
  void download(void* dst, const void* src, size_t bytes);
  void sync();

  bool begin(const GraphKey&);
  void end(bool complete);
  // The key of the graph that is being recorded; nullptr if none is.
  const GraphKey* recording() const { return recording_ ? &key_ : nullptr; }

  // Runs the step now, or adds it to the graph that is being recorded.
  void run(Step step);
  template <class... A>
  void run(const Launch& launch, const A&... arguments) {
    if (launch.x == 0 || launch.y == 0 || launch.z == 0) return;
    run([module = module().get(), launch, arguments...](CUstream stream) {
      module->launch(launch, stream, {&arguments...});
    });
  }

  // Scratch memory, valid until the next call for the same kind. A graph that uses it keeps it.
  enum Kind : uint8_t { partials, arrivals, queryUnits, scores, windows, kinds };
  const Scratch::Memory& scratch(Kind, size_t bytes);
  LinearScratch linearScratch(const Linear&);
  // The work of the blocks of attention, computed once per graph for the same lists of rows.
  AttentionGroups groups(const Attention&, int* bound);
  // For each tap of each window the row of x that it reads, -1 outside the image: (windows, kernel * kernel).
  const int32_t* windowRows(const Conv&);

  // A context for ops that run on memory of this process.
  Context& host();
  const Backend& hostTable();

 private:
  const int threads_;
  std::shared_ptr<const Module> module_;
  CUstream stream_ = nullptr;
  Staging staging_;

  bool recording_ = false, replayed_ = false;
  GraphKey key_{};
  uint64_t allocationsBefore_ = 0;
  std::vector<Step> steps_;
  std::vector<Scratch::Memory> used_;  // by the graph that is being recorded
  RecordedGraphs graphs_;

  Scratch scratch_[kinds];
  using GroupsKey = std::tuple<const int32_t*, const int32_t*, const int32_t*, int, int, Mask>;
  struct Groups {
    GroupsKey key;
    AttentionGroups groups;
    int bound;
  };
  std::vector<Groups> groups_;  // of this graph; entry i is in groupMemory_[i]
  std::vector<Scratch> groupMemory_;
  using WindowsKey = std::tuple<int, int, int, int, int, int>;
  std::map<WindowsKey, Scratch::Memory> windowRows_;

  const Backend* hostBackend_ = nullptr;
  Context* host_ = nullptr;
};

}  // namespace clip::cuda
