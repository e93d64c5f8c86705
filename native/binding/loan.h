#pragma once
// Keeps the memory of a caller's array valid while the pool uses it.
//
// JavaScript may take the memory of a typed array away at any time: by transferring the buffer (postMessage,
// structuredClone, ArrayBuffer.prototype.transfer), by shrinking a resizable one or by growing the
// WebAssembly memory under it. A reference to the array does not prevent that, and neither does anything else
// in Node-API. V8 has a way: a backing store is shared by all its users. If the host exports that function
// and uses the same std::shared_ptr as this addon, a loan holds a share of the store, which costs nothing.
// Otherwise it is a copy: on Windows, for buffers that can shrink, and on Node 21 to 23, whose V8 reallocates
// a store in transfer(otherLength) even if it is shared.
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
    write,  // written, and perhaps read before
    own,    // read, and nobody else uses the array, so it is never copied
  };

  Loan(const Napi::Value& array, std::string field, Use use);
  // Defined in loan.cc: only that file handles objects of the host, whose compiler may differ.
  Loan(Loan&&) noexcept;
  Loan& operator=(Loan&&) noexcept;
  ~Loan();

  // The elements as the pool sees them, valid as long as the loan exists.
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

  // Called on the JavaScript thread when the pool is done: makes the written data visible in the caller's
  // array. Throws ERR_CLIP_INPUT if the array has lost its memory in the meantime.
  void giveBack() const;

 private:
  std::shared_ptr<v8::BackingStore> store_;
  std::shared_ptr<void> copy_;
  // for arrays that are written, and where a reference is the only protection
  Napi::Reference<Napi::Value> array_;
  std::string field_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Use use_;
};

}  // namespace clip::binding
