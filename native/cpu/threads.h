#pragma once
// The one thread pool of the process (CPU backends and reference share it; the model queue runs its jobs on
// it).
//
// Created at first use and deliberately never destroyed: nothing joins at process exit or when an environment
// ends. Work is taken, not given: chunks come from an atomic counter, the caller takes chunks too, and it
// never waits for a thread that has not started. Idle threads spin at most 50 microseconds, then park.
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

}  // namespace clip
