#include "threads/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "error.h"
#include "threads/context.h"
#if defined(_M_X64) && !defined(__GNUC__)
#include <intrin.h>
#endif
#ifndef _WIN32
#include <csignal>
#include <pthread.h>
#endif

namespace clip {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSpin = std::chrono::microseconds(50);
// simultaneous parallelFor calls; a further call runs on its caller's thread alone
constexpr int kRegions = 64;
constexpr uint64_t kMaxChunks = (1u << 24) - 1;  // 24 bits of Region::state

thread_local const std::atomic<bool>* stopFlag = nullptr;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("yield");
#endif
}

// Spins until ready() or until 50 microseconds have passed; reads the clock only every few iterations.
template <class F>
bool spin(const F& ready) {
  const auto end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; i++) {
      if (ready()) return true;
      relax();
    }
  } while (Clock::now() < end);
  return ready();
}

// One running parallelFor. Regions are never freed, so a thread that looks at one too late only finds that no
// work is left.
struct alignas(64) Region {
  // generation (32 bits) | helpers that may still enter (8) | chunks not yet taken (24). With all three in
  // one word, a chunk and a worker number are taken in one atomic step. Only a thread that holds a chunk of
  // this generation may read the fields below, and the caller waits only for such threads.
  std::atomic<uint64_t> state{0};
  alignas(64) std::atomic<uint32_t> done{0};
  std::atomic<bool> parked{false}, failed{false};
  int threads = 0, chunks = 0, base = 0;
  void (*body)(const void*, int, int) = nullptr;
  const void* op = nullptr;
  const std::atomic<bool>* stop = nullptr;
  std::exception_ptr error;

  static uint32_t generation(uint64_t s) { return uint32_t(s >> 32); }
  static uint32_t welcome(uint64_t s) { return uint32_t(s >> 24) & 0xff; }
  static uint32_t left(uint64_t s) { return uint32_t(s) & kMaxChunks; }
};

void alone(int chunks, int base, void (*body)(const void*, int, int), const void* op) {
  for (int c = 0; c < chunks; c++) {
    endIfStopped();
    body(op, base + c, 0);
  }
}

class Pool {
 public:
  // Leaked on purpose: its threads outlive main and every environment that loaded the addon.
  static Pool& get() {
    static Pool* pool = new Pool;
    return *pool;
  }

  void submit(Task& task) {
    grow(defaultThreads());
    if (!size_.load()) throw Error{"ERR_CLIP_MEMORY", "The system refused to start a thread."};
    task.next = nullptr;
    {
      std::lock_guard lock(mutex_);
      (last_ ? last_->next : first_) = &task;
      last_ = &task;
      taskCount_.fetch_add(1);
    }
    if (sleeping_.load()) wake_.notify_one();
  }

  void parallel(int threads, int chunks, int base, void (*body)(const void*, int, int), const void* op) {
    threads = std::min({threads, chunks, kMaxThreads});
    int slot = -1;
    if (threads > 1) {
      grow(threads);
      slot = claim();
    }
    if (slot < 0) {
      alone(chunks, base, body, op);
      return;
    }
    Region& r = regions_[slot];
    r.threads = threads, r.chunks = chunks, r.base = base, r.body = body, r.op = op, r.stop = stopFlag;
    r.done.store(0, std::memory_order_relaxed);
    const uint64_t generation = Region::generation(r.state.load(std::memory_order_relaxed)) + 1ull;
    r.state.store(generation << 32 | uint64_t(threads - 1) << 24 | uint64_t(chunks));
    open_.fetch_or(1ull << slot);
    if (const int asleep = sleeping_.load()) {
      { std::lock_guard lock(mutex_); }
      for (int i = std::min(asleep, threads - 1); i > 0; i--) wake_.notify_one();
    }
    int chunk;
    while ((chunk = take(r, uint32_t(generation))) >= 0) run(r, chunk, 0);
    open_.fetch_and(~(1ull << slot));
    const auto finished = [&] { return r.done.load() == uint32_t(r.chunks); };
    if (!spin(finished)) {
      std::unique_lock lock(mutex_);
      r.parked.store(true);
      finished_.wait(lock, finished);
      r.parked.store(false);
    }
    std::exception_ptr error = std::move(r.error);
    r.error = nullptr;
    r.failed.store(false, std::memory_order_relaxed);
    used_.fetch_and(~(1ull << slot), std::memory_order_release);
    if (error) std::rethrow_exception(error);
  }

 private:
  int claim() {
    for (uint64_t used = used_.load(std::memory_order_relaxed); ~used;) {
      int slot = 0;
      while (used >> slot & 1) slot++;
      if (used_.compare_exchange_weak(used, used | 1ull << slot, std::memory_order_acquire)) return slot;
    }
    return -1;
  }

  // Takes the next chunk of this generation; -1 if there is none.
  static int take(Region& r, uint32_t generation) {
    uint64_t s = r.state.load(std::memory_order_acquire);
    while (Region::generation(s) == generation && Region::left(s))
      if (r.state.compare_exchange_weak(s, s - 1, std::memory_order_acq_rel))
        return r.chunks - int(Region::left(s));
    return -1;
  }

  void run(Region& r, int chunk, int worker) {
    if (!r.failed.load(std::memory_order_relaxed)) try {
        const Stoppable scope(r.stop);
        endIfStopped();
        r.body(r.op, r.base + chunk, worker);
      } catch (...) {
        std::lock_guard lock(mutex_);
        if (!r.error) r.error = std::current_exception();
        r.failed.store(true, std::memory_order_relaxed);
      }
    const uint32_t chunks = uint32_t(r.chunks);
    // After the last chunk the caller may continue and the region may be used for another call, so only its
    // atomics may be accessed.
    if (r.done.fetch_add(1) + 1 == chunks && r.parked.load()) {
      { std::lock_guard lock(mutex_); }
      finished_.notify_all();
    }
  }

  // Enters an open region and works until no chunk is left or a submitted task waits. Returns false if no
  // region was open.
  bool help() {
    for (uint64_t open = open_.load(); open; open &= open - 1) {
      int slot = 0;
      while (!(open >> slot & 1)) slot++;
      Region& r = regions_[slot];
      uint64_t s = r.state.load(std::memory_order_acquire);
      while (Region::left(s) && Region::welcome(s)) {
        if (!r.state.compare_exchange_weak(s, s - 1 - (1ull << 24), std::memory_order_acq_rel)) continue;
        const int worker = r.threads - int(Region::welcome(s));
        int chunk = r.chunks - int(Region::left(s));
        do run(r, chunk, worker);
        while (!taskCount_.load(std::memory_order_relaxed) && (chunk = take(r, Region::generation(s))) >= 0);
        return true;
      }
    }
    return false;
  }

  bool work() const {
    if (taskCount_.load()) return true;
    for (uint64_t open = open_.load(); open; open &= open - 1) {
      int slot = 0;
      while (!(open >> slot & 1)) slot++;
      const uint64_t s = regions_[slot].state.load();
      if (Region::left(s) && Region::welcome(s)) return true;
    }
    return false;
  }

  bool runTask() {
    if (!taskCount_.load(std::memory_order_relaxed)) return false;
    Task* task;
    {
      std::lock_guard lock(mutex_);
      if (!first_) return false;
      task = first_;
      first_ = task->next;
      if (!first_) last_ = nullptr;
      taskCount_.fetch_sub(1);
    }
    task->run(task);
    return true;
  }

  void loop() {
#ifdef __linux__
    // These threads do throughput work: a waking pool thread should not preempt a thread that serves
    // requests, above all Node's main thread.
    const sched_param priority{};
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &priority);
    pthread_setname_np(pthread_self(), "clip-native");  // what `top -H` and debuggers show
#endif
    for (;;) {
      if (runTask() || help() || spin([&] { return work(); })) continue;
      std::unique_lock lock(mutex_);
      sleeping_.fetch_add(1);
      // Whoever publishes work first makes it visible and then checks for sleepers, while a sleeper first
      // registers and then checks for work, so that at least one sees the other.
      wake_.wait(lock, [&] { return work(); });
      sleeping_.fetch_sub(1);
    }
  }

  void grow(int threads) {
    if (size_.load(std::memory_order_relaxed) >= threads) return;
    std::lock_guard lock(growth_);
#ifndef _WIN32
    sigset_t all, before;  // signals are handled by Node's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
    try {
      for (; size_.load() < std::min(threads, kMaxThreads); size_.fetch_add(1))
        std::thread([this] { loop(); }).detach();
    } catch (const std::exception&) {
      // A thread could not be started. The pool stays smaller than requested, and the callers do the work
      // themselves.
    }
#ifndef _WIN32
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
  }

  std::mutex mutex_, growth_;
  std::condition_variable wake_, finished_;
  Task *first_ = nullptr, *last_ = nullptr;
  std::atomic<int> size_{0}, sleeping_{0}, taskCount_{0};
  std::atomic<uint64_t> used_{0}, open_{0};
  Region regions_[kRegions];
};

}  // namespace

Stoppable::Stoppable(const std::atomic<bool>* flag) : before_(std::exchange(stopFlag, flag)) {}
Stoppable::~Stoppable() { stopFlag = before_; }

void endIfStopped() {
  if (stopFlag && stopFlag->load(std::memory_order_relaxed)) throw Cancelled{};
}

void submit(Task& task) { Pool::get().submit(task); }

void parallelFor(int threads, int chunks, void (*body)(const void* op, int chunk, int worker),
                 const void* op) {
  if (threads <= 1) {
    alone(chunks, 0, body, op);
    return;
  }
  for (int base = 0; base < chunks; base += int(kMaxChunks))
    Pool::get().parallel(threads, std::min(chunks - base, int(kMaxChunks)), base, body, op);
}

}  // namespace clip
