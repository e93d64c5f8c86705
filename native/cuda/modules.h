#pragma once
// Our kernels on a device: its primary context and the module in it.
#include <initializer_list>
#include <memory>
#include <string>
#include <unordered_map>

#include "driver.h"
#include "launch.h"

namespace clip::cuda {

// Kept by whoever has memory, streams or graphs on the device; when nobody keeps it any more, the module is
// unloaded and the context given back. Safe to use from any thread; a thread calls makeCurrent() before it
// calls the driver.
class Module {
 public:
  // The one of this device (an index, as Device::index). Loads the kernels (images.h) if nobody has: some
  // milliseconds, or the seconds that a driver takes to compile PTX for a GPU that we have no code for. The
  // context is left current in the calling thread. Throws ERR_CLIP_CUDA, ERR_CLIP_MEMORY, ERR_CLIP_INTERNAL.
  static std::shared_ptr<const Module> of(int device);
  ~Module();
  Module(const Module&) = delete;

  const Device& device() const { return device_; }
  CUcontext context() const { return context_; }
  void makeCurrent() const;  // the calling thread's driver calls go to this device from now on

  // A kernel of kernels.h, which may be launched with as much shared memory as Device::sharedPerBlock.
  // Throws ERR_CLIP_CUDA if there is none of that name.
  CUfunction kernel(const std::string& name) const;
  // Starts a kernel, or records it where `stream` is being captured. `arguments` are addresses of the
  // kernel's arguments, in order, and are copied before this returns.
  void launch(const Launch& launch, CUstream stream, std::initializer_list<const void*> arguments) const;

  // What was loaded: "sm_90" or, compiled by the driver, "compute_80".
  const std::string& image() const { return image_; }
  // Names what the kernels and whoever compiles them are: changes with every build of them, with the driver
  // and the device's kind. What was found out about kernels is remembered under it.
  std::string fingerprint() const;

 private:
  explicit Module(Device device);
  void load();
  void release() noexcept;

  Device device_;
  CUdevice handle_ = 0;
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
  std::string image_;
  std::unordered_map<std::string, CUfunction> kernels_;
};

}  // namespace clip::cuda
