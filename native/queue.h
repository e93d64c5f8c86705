#pragma once
// A FIFO of jobs for each model. Whenever the model is free, all waiting jobs that fit together run as one
// pass (natural micro-batching: no job waits for a batch to fill), and the result is divided among them. This
// file does not depend on JavaScript.
//
// Threads and lifetimes:
//  * push, cancel, dispose, close and counters may be called from any thread;
//  * `done` of a job is called exactly once, without a lock held, on a pool thread or inside push / cancel /
//    dispose; only close() drops waiting jobs without calling it, because then nobody is left to be notified;
//  * only push and dispose allocate memory: everything that the pool calls works when no memory is left;
//  * the inputs that a job points to are no longer read once `done` was called or close() has returned.
#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <iterator>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "error.h"
#include "model/model.h"
#include "threads/threads.h"

namespace clip {

class Queue : public std::enable_shared_from_this<Queue> {
 public:
  enum class Kind : uint8_t { image, text, preprocess };

  struct Job {
    Kind kind = Kind::image;
    Output output = Output::embedding;
    bool normalise = true;
    std::vector<Image> images;          // image, preprocess
    float* planes = nullptr;            // preprocess: the caller's buffer for the result
    std::vector<int32_t> ids, lengths;  // text
    // If there is no failure, the result is in `out` or in `planes`. Failures are Cancelled, Error,
    // std::bad_alloc, ...
    std::function<void(std::exception_ptr failure)> done;
    std::unique_ptr<float[]> out;
    size_t floats = 0;

   private:
    friend class Queue;
    std::atomic<bool> cancelled{false};
    int64_t rows = 0;
  };
  using JobPtr = std::shared_ptr<Job>;

  struct Counters {
    uint64_t textRows = 0, textNodes = 0, imageRows = 0, passes = 0, jobs = 0;
  };

  explicit Queue(std::unique_ptr<Model> model);

  void push(JobPtr job);
  // Removes a waiting job at once. A running job is dropped from its pass, which stops early only if all its
  // jobs were cancelled. Either way `done` gets Cancelled, unless the result was there first.
  void cancel(const JobPtr& job);
  // The running pass finishes, and waiting jobs fail with ERR_CLIP_DISPOSED. `freed` is called when the
  // model's memory has been freed. May be called more than once: `freed` is called for every call.
  void dispose(std::function<void()> freed);
  // For the end of an environment: drops the waiting jobs, stops the running ones at the next block, waits
  // for that and frees the model.
  void close();

  Counters counters() const;

 private:
  // Lists, because their elements can move from one to another without allocating memory.
  using Jobs = std::list<JobPtr>;
  struct Pass {
    Jobs::const_iterator first, last;
    Jobs::const_iterator begin() const { return first; }
    Jobs::const_iterator end() const { return last; }
    bool single() const { return std::next(first) == last; }
  };
  struct Drain : Task {
    Queue* queue;
  };

  void schedule();  // requires the lock
  void drain();
  void take();  // moves jobs from waiting_ to running_; requires the lock
  void runPass(const Pass& jobs);
  bool encode(const Pass& jobs);

  mutable std::mutex mutex_;
  std::condition_variable passEnded_;
  std::unique_ptr<Model> model_;
  Jobs waiting_, running_;
  std::vector<std::function<void()>> freed_;
  Drain task_;
  std::shared_ptr<Queue> self_;  // set while scheduled
  bool scheduled_ = false, inPass_ = false, disposed_ = false;
  std::atomic<bool> closing_{false};
  Counters counters_;
};

}  // namespace clip
