#pragma once
// How work leaves the JavaScript thread and comes back: every asynchronous call is one Pending entry with a
// promise.
//
// The pool never holds anything of JavaScript. It holds a ticket number and the environment's Mailbox, and
// posts "ticket 17 is done" there; the entry itself (promise, references to buffers) is looked up and settled
// on the JavaScript thread, woken by the one thread-safe function of its environment. When the environment
// ends, the mailbox is closed, so a late post is dropped without touching anything that is gone.
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

  // The JavaScript thread, before work begins: `letters` may come before the next collect().
  void reserve(size_t letters);
  // Any thread: this job is done, nobody reads its inputs any more. Takes no memory: there may be none.
  void post(uint64_t ticket, std::exception_ptr failure) noexcept;
  // Pool threads, around work that reads memory of the environment. False: the environment has ended, do
  // nothing.
  bool enter();
  void leave();
  // Set when the environment ends: what runs between enter and leave is to stop.
  const std::atomic<bool>& ended() const { return ended_; }

  // Good until the next call.
  std::vector<Letter>& collect();
  // Ends all posting and stops what runs; awaitIdle returns when nobody is between enter and leave.
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

// What one environment (the main thread or one worker) owns. Used on its JavaScript thread only.
class Environment {
 public:
  using Ticket = uint64_t;
  // Identifies a job to `cancel`: whose it is and the number that lib gave it.
  using Key = std::pair<const void*, int64_t>;

  struct Pending {
    napi_deferred deferred = nullptr;                 // nullptr once settled
    std::vector<Loan> keep;                           // arrays that the pool reads or writes
    std::vector<Napi::Reference<Napi::Value>> spend;  // those of ours: detached afterwards
    Napi::Reference<Napi::Value> filled;
    std::function<Napi::Value(Napi::Env)> result;
    std::function<void()> cancel;
    bool keyed = false;
    Key key{};
  };

  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
  explicit Environment(Napi::Env env);

  // Registers a promise. `start` then hands the work out; if it throws, the promise rejects. All memory that
  // an answer needs is taken here: settling works when there is none left.
  // `result` is called on this thread when the work is done without failure.
  struct Call {
    std::vector<Loan> keep = {};
    // Typed arrays that are nobody else's: their memory is given back when the pool is done, not at some
    // later garbage collection. (Megabytes per image otherwise drive the collector: pauses of several
    // milliseconds.)
    std::vector<Napi::Value> spend = {};
    // The result, when it is an array that the pool writes.
    Napi::Value filled = {};
    std::function<Napi::Value(Napi::Env)> result = {};
    std::function<void()> cancel = {};
    const void* owner = nullptr;
    int64_t job = -1;  // >= 0: can be cancelled by (owner, job)
  };
  Napi::Value begin(Call call, const std::function<void(Ticket)>& start);
  // Runs `body` on the pool as the work of a call.
  Napi::Value beginOnPool(Call call, std::function<void()> body);

  // A result of this environment. std::bad_alloc where Node's own function would end the process.
  Napi::Float32Array newFloats(size_t count);

  // Rejects at once with ERR_CLIP_ABORTED; buffers stay referenced until the pool is done with them.
  void cancel(const void* owner, int64_t job);
  void watch(const std::shared_ptr<Queue>& queue);

  const std::shared_ptr<Mailbox>& mailbox() const { return mailbox_; }

 private:
  // Called when a letter has come: once for many.
  static void wake(napi_env env, napi_value, void* context, void*);
  // Answers as many calls as one turn of the event loop may take; the others when it has turned.
  void deliver();
  // Calls deliver() again in the next turn. False: this environment has no way to.
  bool rest();
  void settle(Ticket ticket, std::exception_ptr failure);
  void forget(Ticket ticket);
  void end();

  Napi::Env env_;
  Napi::FunctionReference arrayBuffer_;  // the constructor, which throws when there is no memory
  napi_threadsafe_function wake_ = nullptr;
  std::shared_ptr<Mailbox> mailbox_;
  std::map<Ticket, Pending> pending_;
  std::map<Key, Ticket> byKey_;
  std::vector<std::weak_ptr<Queue>> queues_;
  Ticket next_ = 1;
  std::vector<Mailbox::Letter>* letters_ = nullptr;  // those that were collected
  size_t delivered_ = 0;                             // of these
  int leftInTurn_ = 0;
  bool resting_ = false;
  Napi::FunctionReference setImmediate_, resume_;
};

}  // namespace clip::binding
