#pragma once
// A caller's array while the pool works on it.
//
// JavaScript may take the memory of a typed array away at any time: it transfers the buffer (postMessage,
// structuredClone, ArrayBuffer.prototype.transfer), shrinks a resizable one or grows the WebAssembly memory
// below it. A reference to the array does not prevent that, and Node-API has nothing that does. V8 has: a
// backing store is shared by whoever uses it. Where the host exports that function, and its std::shared_ptr
// is ours, a loan is a share of the store, which costs nothing. Elsewhere it is a copy: on Windows, for
// buffers that can shrink, and on Node 21 to 23, whose V8 reallocates a store in transfer(otherLength)
// although others share it.
#include <memory>

#include "binding/convert.h"

namespace v8 {
class BackingStore;
}

namespace clip::binding {

class Loan {
 public:
  enum class Use : uint8_t {
    read,
    write,  // and perhaps read before
    own,    // read, and nobody else has the array: it is never copied
  };

  Loan(const Napi::Value& array, std::string field, Use use);
  Loan(Loan&&) = default;
  Loan& operator=(Loan&&) = default;

  // Where the pool finds the elements, for as long as the loan lives.
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

  // The JavaScript thread, when the pool is done: what was written is where the caller will look. Throws
  // ERR_CLIP_INPUT if the caller has taken the array's memory away.
  void giveBack() const;

 private:
  std::shared_ptr<v8::BackingStore> store_;
  std::shared_ptr<void> copy_;
  Napi::Reference<Napi::Value> array_;  // of what is written, and where it is all that we have
  std::string field_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Use use_;
};

}  // namespace clip::binding
