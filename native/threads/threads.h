#pragma once
// The only thread pool of the process. CPU backends and the reference share it, and the model queue runs its
// jobs on it.
//
// It is created on first use and deliberately never destroyed: nothing is joined at process exit or when an
// environment ends. Threads take work instead of being assigned it: chunks come from an atomic counter, the
// caller takes chunks too, and it never waits for a thread that has not started. Idle threads spin for at
// most 50 microseconds and then sleep.
//
// Work can be stopped: while a Stoppable exists on a thread, everything that runs on it, or on other threads
// on its behalf, ends with Cancelled (error.h) at the first chunk after its flag is set.
#include <atomic>
#include <cstddef>

namespace clip {

int defaultThreads();  // min(physical cores, affinity mask, cgroup cpu.max rounded up), at least 1

// Work for a pool thread. The submitter keeps it in memory until `run` is called.
struct Task {
  void (*run)(Task*) = nullptr;  // must not throw, because nothing would catch it
  Task* next = nullptr;          // used by the pool
};

// Calls task.run(&task) on a pool thread, first in, first out. Allocates no memory, so it cannot fail once a
// thread exists; throws ERR_CLIP_MEMORY if the system refuses to start the first thread.
void submit(Task& task);

// Calls body(op, chunk, worker) for every chunk in [0, chunks), on the calling thread and on up to threads -
// 1 free pool threads, and returns when all are done. worker is in [0, threads), for use as an index of
// scratch memory.
void parallelFor(int threads, int chunks, void (*body)(const void* op, int chunk, int worker),
                 const void* op);

class Stoppable {
 public:
  explicit Stoppable(const std::atomic<bool>* flag);  // nullptr: cannot be stopped
  ~Stoppable();
  Stoppable(const Stoppable&) = delete;
  Stoppable& operator=(const Stoppable&) = delete;

 private:
  const std::atomic<bool>* before_;
};
// Throws Cancelled if the work of this thread is to stop. parallelFor calls it before every chunk; a chunk
// that can take longer than some tenths of a second must call it itself.
void endIfStopped();

}  // namespace clip
