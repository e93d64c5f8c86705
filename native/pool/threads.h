#pragma once
// The one thread pool of the process (CPU backends and reference share it; the model queue runs its jobs on
// it).
//
// Created at first use and deliberately never destroyed: nothing joins at process exit or when an environment
// ends. Work is taken, not given: chunks come from an atomic counter, the caller takes chunks too, and it
// never waits for a thread that has not started. Idle threads spin at most 50 microseconds, then park.
//
// Work can be stopped: while a Stoppable lives on a thread, everything that runs there, and on other threads
// on its behalf, ends with Cancelled (error.h) at the next chunk after its flag is set.
#include <atomic>
#include <cstddef>

namespace clip {

int defaultThreads();  // min(physical cores, affinity mask, cgroup cpu.max rounded up), at least 1

// Work for a pool thread. Whoever submits it keeps it in memory until `run` is called.
struct Task {
  void (*run)(Task*) = nullptr;  // must not throw: there is nobody to catch
  Task* next = nullptr;          // the pool's own
};

// Calls task.run(&task) on a pool thread, first in, first out. Takes no memory, so that once there is a
// thread it can't fail; ERR_CLIP_MEMORY where the system refuses to start the first one.
void submit(Task& task);

// Calls body(op, chunk, worker) for every chunk in [0, chunks), on the calling thread and on up to threads -
// 1 free pool threads; returns when all are done. worker is in [0, threads): an index for scratch memory.
void parallelFor(int threads, int chunks, void (*body)(const void* op, int chunk, int worker),
                 const void* op);

class Stoppable {
 public:
  explicit Stoppable(const std::atomic<bool>* flag);  // nullptr: can't be stopped
  ~Stoppable();
  Stoppable(const Stoppable&) = delete;
  Stoppable& operator=(const Stoppable&) = delete;

 private:
  const std::atomic<bool>* before_;
};
// Throws Cancelled when this thread's work is to stop. parallelFor asks before every chunk; a chunk that can
// take longer than some tenths of a second asks itself.
void endIfStopped();

}  // namespace clip
