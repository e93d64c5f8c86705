#pragma once
// How work is handed from the JavaScript thread to the pool and how its result returns: every asynchronous
// call is one Pending entry with a promise.
//
// The pool never holds a JavaScript object. It holds a ticket number and the environment's Mailbox, to which
// it posts that the ticket is done. The entry itself (promise, references to buffers) is looked up and
// settled on the JavaScript thread, which is woken by the single thread-safe function of its environment.
// When the environment ends, the mailbox is closed, so that a late post is dropped without accessing anything
// that was destroyed.
#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "binding/loan.h"
#include "queue.h"

namespace clip::binding {

class Mailbox {
 public:
  struct Letter {
    uint64_t ticket;
    std::exception_ptr failure;
  };

  explicit Mailbox(napi_threadsafe_function wake) : wake_(wake) {}

  // Called on the JavaScript thread before work begins: makes room for `letters` letters before the next
  // collect().
  void reserve(size_t letters);
  // Called on any thread when a job is done and its inputs are no longer read. Allocates no memory, because
  // there may be none left.
  void post(uint64_t ticket, std::exception_ptr failure) noexcept;
  // Called on pool threads around work that reads memory of the environment. If enter() returns false, the
  // environment has ended and nothing may be done.
  bool enter();
  void leave();
  // Set when the environment ends: work between enter and leave must stop.
  const std::atomic<bool>& ended() const { return ended_; }

  // The result is valid until the next call.
  std::vector<Letter>& collect();
  // close() ends all posting and tells running work to stop; awaitIdle() returns when no thread is between
  // enter and leave.
  void close();
  void awaitIdle();

 private:
  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<Letter> letters_, collected_;
  napi_threadsafe_function wake_;
  int inside_ = 0;
  bool open_ = true;
  std::atomic<bool> ended_{false};
};

// Everything that one environment (the main thread or one worker) owns. Used only on its JavaScript thread.
class Environment {
 public:
  using Ticket = uint64_t;
  // Identifies a job for `cancel`: its owner, and the number that lib assigned to it.
  using Key = std::pair<const void*, int64_t>;

  struct Pending {
    napi_deferred deferred = nullptr;                 // nullptr once settled
    std::vector<Loan> keep;                           // arrays that the pool reads or writes
    std::vector<Napi::Reference<Napi::Value>> spend;  // arrays owned by lib, which are detached afterwards
    Napi::Reference<Napi::Value> filled;
    std::function<Napi::Value(Napi::Env)> result;
    std::function<void()> cancel;
    bool keyed = false;
    Key key{};
  };

  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
  explicit Environment(Napi::Env env);

  // Registers a promise. `start` begins the work; if it throws, the promise rejects. All memory that
  // settling needs is allocated here, so settling works when no memory is left. `result` is called on this
  // thread when the work is done without an error.
  struct Call {
    std::vector<Loan> keep = {};
    // Typed arrays that nobody else uses. Their memory is freed as soon as the pool is done, not at a later
    // garbage collection. (Otherwise megabytes per image would trigger garbage collections, with pauses of
    // several milliseconds.)
    std::vector<Napi::Value> spend = {};
    // The result, if it is an array into which the pool writes.
    Napi::Value filled = {};
    std::function<Napi::Value(Napi::Env)> result = {};
    std::function<void()> cancel = {};
    const void* owner = nullptr;
    int64_t job = -1;  // >= 0: can be cancelled by (owner, job)
  };
  Napi::Value begin(Call call, const std::function<void(Ticket)>& start);
  // Runs `body` on the pool as the work of a call.
  Napi::Value beginOnPool(Call call, std::function<void()> body);
  // Runs `body` before it returns, for work that is faster than waking another thread and being woken by it.
  Napi::Value beginHere(Call call, const std::function<void()>& body);

  // A result array in this environment. Throws std::bad_alloc where Node's own function would end the
  // process.
  Napi::Float32Array newFloats(size_t count);

  // Rejects at once with ERR_CLIP_ABORTED; buffers stay referenced until the pool no longer uses them.
  void cancel(const void* owner, int64_t job);
  void watch(const std::shared_ptr<Queue>& queue);

  const std::shared_ptr<Mailbox>& mailbox() const { return mailbox_; }

 private:
  // Called when letters have arrived; one call may stand for many.
  static void wake(napi_env env, napi_value, void* context, void*);
  // Settles as many calls as one turn of the event loop may take, and the rest in later turns.
  void deliver();
  // Schedules another deliver() in the next turn. Returns false if this environment has no way to do so.
  bool rest();
  void settle(Ticket ticket, std::exception_ptr failure);
  void forget(Ticket ticket);
  void end();

  Napi::Env env_;
  Napi::FunctionReference arrayBuffer_;  // the constructor, which throws if there is no memory
  napi_threadsafe_function wake_ = nullptr;
  std::shared_ptr<Mailbox> mailbox_;
  std::map<Ticket, Pending> pending_;
  std::map<Key, Ticket> byKey_;
  std::vector<std::weak_ptr<Queue>> queues_;
  Ticket next_ = 1;
  std::vector<Mailbox::Letter>* letters_ = nullptr;  // the collected letters
  size_t delivered_ = 0;                             // the number of them already delivered
  int leftInTurn_ = 0;
  bool resting_ = false;
  Napi::FunctionReference setImmediate_, resume_;
};

}  // namespace clip::binding
