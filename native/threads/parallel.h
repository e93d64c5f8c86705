#pragma once
// parallelFor with a lambda, whose exceptions reach the caller: the first one thrown cancels the remaining
// chunks.
#include <atomic>
#include <exception>
#include <mutex>

#include "threads/threads.h"

namespace clip {

template <class Body>  // void(int chunk, int worker), worker in [0, threads)
void parallel(int threads, int chunks, const Body& body) {
  struct Shared {
    explicit Shared(const Body& b) : body(b) {}
    const Body& body;
    mutable std::atomic<bool> failed{false};
    mutable std::mutex lock;
    mutable std::exception_ptr error;
  } const shared(body);
  parallelFor(
      threads, chunks,
      [](const void* p, int chunk, int worker) {
        const Shared& s = *static_cast<const Shared*>(p);
        if (s.failed.load(std::memory_order_relaxed)) return;
        try {
          s.body(chunk, worker);
        } catch (...) {
          const std::lock_guard<std::mutex> hold(s.lock);
          if (!s.failed.exchange(true)) s.error = std::current_exception();
        }
      },
      &shared);
  if (shared.error) std::rethrow_exception(shared.error);
}

}  // namespace clip
