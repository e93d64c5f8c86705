#include "binding/job.h"

#include <algorithm>

#include "threads/threads.h"

namespace clip::binding {
namespace {

// Code that awaits a result continues with some tens of microseconds of JavaScript. Many results at once,
// such as those of a pass over hundreds of texts, or of calls made in the meantime, would make one turn of
// the event loop too long.
constexpr int kAnswersInTurn = 32;

}  // namespace

void Mailbox::reserve(size_t letters) {
  std::lock_guard lock(mutex_);
  for (std::vector<Letter>* box : {&letters_, &collected_})
    if (box->capacity() < letters) box->reserve(std::max(letters, 2 * box->capacity()));
}

void Mailbox::post(uint64_t ticket, std::exception_ptr failure) noexcept {
  std::lock_guard lock(mutex_);
  if (!open_) return;
  letters_.push_back({ticket, std::move(failure)});
  // Inside the lock, because after close() nobody may call the function any more. One call for any number of
  // letters is enough.
  if (letters_.size() == 1) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

bool Mailbox::enter() {
  std::lock_guard lock(mutex_);
  if (!open_) return false;
  ++inside_;
  return true;
}

void Mailbox::leave() {
  std::lock_guard lock(mutex_);
  if (--inside_ == 0) idle_.notify_all();
}

std::vector<Mailbox::Letter>& Mailbox::collect() {
  std::lock_guard lock(mutex_);
  collected_.clear();
  collected_.swap(letters_);
  return collected_;
}

void Mailbox::close() {
  std::lock_guard lock(mutex_);
  open_ = false;
  ended_ = true;
  letters_.clear();
}

void Mailbox::awaitIdle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return inside_ == 0; });
}

Environment::Environment(Napi::Env env)
    : env_(env), arrayBuffer_(Napi::Persistent(env.Global().Get("ArrayBuffer").As<Napi::Function>())) {
  const napi_value name = Napi::String::New(env, "clip-native");
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, wake,
                                      &wake_) != napi_ok)
    throw Error{"ERR_CLIP_INTERNAL", "Node could not create a thread-safe function"};
  napi_unref_threadsafe_function(env, wake_);  // referenced only while a call is pending
  try {
    mailbox_ = std::make_shared<Mailbox>(wake_);
    const Napi::Value immediate = env.Global().Get("setImmediate");
    if (immediate.IsFunction()) {
      setImmediate_ = Napi::Persistent(immediate.As<Napi::Function>());
      resume_ = Napi::Persistent(Napi::Function::New(env, [this](const Napi::CallbackInfo&) {
        resting_ = false;
        leftInTurn_ = kAnswersInTurn;
        deliver();
      }));
      // Their destructors must not run: an environment outlives its references.
      setImmediate_.SuppressDestruct();
      resume_.SuppressDestruct();
    }
    env.AddCleanupHook([](Environment* self) { self->end(); }, this);
  } catch (...) {
    napi_release_threadsafe_function(wake_, napi_tsfn_abort);
    throw;
  }
}

Napi::Value Environment::begin(Call call, const std::function<void(Ticket)>& start) {
  const Key key{call.owner, call.job};
  if (call.job >= 0 && byKey_.count(key))
    throw Error{"ERR_CLIP_INPUT",
                "Expected `job` to be a new number, got " + std::to_string(call.job) + ", which is pending",
                {},
                "job"};
  mailbox_->reserve(pending_.size() + 1);  // each entry is settled exactly once
  const Ticket ticket = next_++;
  const auto at = pending_.try_emplace(ticket).first;
  Pending& entry = at->second;
  napi_value promise;
  try {
    entry.keep = std::move(call.keep);
    for (const Napi::Value& v : call.spend) entry.spend.push_back(Napi::Reference<Napi::Value>::New(v, 1));
    if (!call.filled.IsEmpty()) entry.filled = Napi::Reference<Napi::Value>::New(call.filled, 1);
    entry.result = std::move(call.result);
    entry.cancel = std::move(call.cancel);
    entry.key = key;
    entry.keyed = call.job >= 0 && byKey_.emplace(key, ticket).second;
    if (napi_create_promise(env_, &entry.deferred, &promise) != napi_ok) throw Napi::Error::New(env_);
  } catch (...) {
    if (entry.keyed) byKey_.erase(key);
    pending_.erase(at);
    throw;
  }
  if (pending_.size() == 1) napi_ref_threadsafe_function(env_, wake_);
  try {
    start(ticket);
  } catch (...) {
    settle(ticket, std::current_exception());
  }
  return Napi::Value(env_, promise);
}

namespace {

struct PoolTask : Task {
  std::shared_ptr<Mailbox> mailbox;
  uint64_t ticket;
  std::function<void()> body;

  PoolTask(std::shared_ptr<Mailbox> to, uint64_t number, std::function<void()> work)
      : mailbox(std::move(to)), ticket(number), body(std::move(work)) {
    run = carryOut;
  }

 private:
  static void carryOut(Task* self) {
    const std::unique_ptr<PoolTask> task(static_cast<PoolTask*>(self));
    if (!task->mailbox->enter()) return;
    std::exception_ptr failure;
    try {
      const Stoppable scope(&task->mailbox->ended());
      task->body();
    } catch (...) {
      failure = std::current_exception();
    }
    task->mailbox->post(task->ticket, failure);
    task->mailbox->leave();
  }
};

}  // namespace

Napi::Value Environment::beginOnPool(Call call, std::function<void()> body) {
  return begin(std::move(call), [&](Ticket ticket) {
    auto task = std::make_unique<PoolTask>(mailbox_, ticket, std::move(body));
    submit(*task);
    task.release();
  });
}

Napi::Value Environment::beginHere(Call call, const std::function<void()>& body) {
  return begin(std::move(call), [&](Ticket ticket) {
    body();
    settle(ticket, nullptr);
  });
}

Napi::Float32Array Environment::newFloats(size_t count) {
  size_t bytes;
  napi_value size, buffer;
  if (__builtin_mul_overflow(count, sizeof(float), &bytes)) throw std::bad_alloc();
  if (napi_create_double(env_, static_cast<double>(bytes), &size) != napi_ok ||
      napi_new_instance(env_, arrayBuffer_.Value(), 1, &size, &buffer) != napi_ok) {
    napi_value ignored;
    napi_get_and_clear_last_exception(env_, &ignored);
    throw std::bad_alloc();
  }
  return Napi::Float32Array::New(env_, count, Napi::ArrayBuffer(env_, buffer), 0);
}

void Environment::cancel(const void* owner, int64_t job) {
  const auto at = byKey_.find({owner, job});
  if (at == byKey_.end()) return;  // already settled
  Pending& entry = pending_.at(at->second);
  if (!entry.deferred) return;
  const Napi::Value reason = toJs(env_, std::make_exception_ptr(Cancelled{}));
  napi_reject_deferred(env_, std::exchange(entry.deferred, nullptr), reason);
  if (entry.cancel) entry.cancel();
}

void Environment::watch(const std::shared_ptr<Queue>& queue) {
  queues_.erase(std::remove_if(queues_.begin(), queues_.end(), [](const auto& q) { return q.expired(); }),
                queues_.end());
  queues_.push_back(queue);
}

void Environment::wake(napi_env env, napi_value, void* context, void*) {
  if (!env) return;  // the environment is ending
  auto* self = static_cast<Environment*>(context);
  if (!self->resting_) self->deliver();
}

void Environment::deliver() {
  for (;;) {
    if (!letters_ || delivered_ == letters_->size()) {
      letters_ = &mailbox_->collect();
      delivered_ = 0;
      if (letters_->empty()) return;
    }
    if (leftInTurn_ == 0) {
      if (rest()) return;
      leftInTurn_ = kAnswersInTurn;
    }
    --leftInTurn_;
    Mailbox::Letter& letter = (*letters_)[delivered_++];
    const Napi::HandleScope scope(env_);
    settle(letter.ticket, std::move(letter.failure));
  }
}

bool Environment::rest() {
  const Napi::HandleScope scope(env_);
  if (setImmediate_.IsEmpty()) return false;
  const napi_value resume = resume_.Value();
  resting_ =
      napi_call_function(env_, env_.Undefined(), setImmediate_.Value(), 1, &resume, nullptr) == napi_ok;
  return resting_;
}

namespace {

// Detaches a buffer only if the array is its only user: small arrays may share a pooled buffer.
void detach(Napi::Env env, const Napi::Value& value) {
  if (!value.IsTypedArray()) return;
  const Napi::TypedArray array = value.As<Napi::TypedArray>();
  Napi::ArrayBuffer buffer = array.ArrayBuffer();
  if (array.ByteOffset() == 0 && array.ByteLength() == buffer.ByteLength())
    napi_detach_arraybuffer(env, buffer);
}

// Returns false once this environment is being ended (worker.terminate, process.exit in a worker). Its event
// loop may still deliver results, but napi_detach_arraybuffer would then end the whole process, because Node
// treats V8's refusal as a fatal error. To find out, this calls a function that has no effect but begins like
// those that run JavaScript.
bool canRunJs(Napi::Env env) {
  napi_value ignored;
  return napi_coerce_to_bool(env, env.Undefined(), &ignored) == napi_ok;
}

}  // namespace

// Statuses are ignored on purpose: these calls fail only if the environment can't run JavaScript any more.
void Environment::settle(Ticket ticket, std::exception_ptr failure) {
  const auto at = pending_.find(ticket);
  if (at == pending_.end()) return;
  // A JavaScript exception may be thrown below; the entry must be removed in any case.
  Pending entry = std::move(at->second);
  forget(ticket);
  if (!canRunJs(env_)) return;  // nobody is left to receive the result
  for (const auto& array : entry.spend) detach(env_, array.Value());
  if (!entry.deferred) return;  // cancelled earlier
  try {
    Napi::Value value = env_.Undefined();
    if (!failure) {
      try {
        for (const Loan& loan : entry.keep) loan.giveBack();
        if (!entry.filled.IsEmpty()) value = entry.filled.Value();
        if (entry.result) value = entry.result(env_);
      } catch (...) {
        failure = std::current_exception();
      }
    }
    if (failure)
      napi_reject_deferred(env_, entry.deferred, toJs(env_, failure));
    else
      napi_resolve_deferred(env_, entry.deferred, value);
  } catch (...) {
  }
}

void Environment::forget(Ticket ticket) {
  const auto at = pending_.find(ticket);
  if (at->second.keyed) byKey_.erase(at->second.key);
  pending_.erase(at);
  if (pending_.empty()) napi_unref_threadsafe_function(env_, wake_);
}

// Called when the environment ends (process.exit, worker.terminate, the end of a thread). Everything that is
// running stops at the next block, and when this returns, no pool thread accesses anything of this
// environment any more.
void Environment::end() {
  mailbox_->close();
  for (auto& [ticket, entry] : pending_)
    if (entry.cancel) entry.cancel();
  for (const auto& weak : queues_)
    if (const std::shared_ptr<Queue> queue = weak.lock()) queue->close();
  mailbox_->awaitIdle();
  byKey_.clear();
  pending_.clear();
  arrayBuffer_.Reset();
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
}

}  // namespace clip::binding
