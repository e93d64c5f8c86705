#pragma once
// Our kernels on a device: its primary context and the module in it.
#include <initializer_list>
#include <memory>
#include <string>
#include <unordered_map>

#include "driver.h"
#include "launch.h"

namespace clip::cuda {

// Owned by everything that has memory, streams or graphs on the device; when the last owner releases it, the
// module is unloaded and the context released. May be used from any thread; a thread must call makeCurrent()
// before it calls the driver.
class Module {
 public:
  // The module of this device (an index as in Device::index). Loads the kernels (images.h) if they are not
  // loaded yet. This takes some milliseconds, or seconds if the driver has to compile PTX for a GPU for which
  // there is no machine code. The context is left current in the calling thread. Throws ERR_CLIP_CUDA,
  // ERR_CLIP_MEMORY, ERR_CLIP_INTERNAL.
  static std::shared_ptr<const Module> of(int device);
  ~Module();
  Module(const Module&) = delete;

  const Device& device() const { return device_; }
  CUcontext context() const { return context_; }
  void makeCurrent() const;  // directs the calling thread's driver calls to this device from now on

  // A kernel of kernels.h, which may be launched with up to Device::sharedPerBlock bytes of shared memory.
  // Throws ERR_CLIP_CUDA if there is none with that name.
  CUfunction kernel(const std::string& name) const;
  // Starts a kernel, or records it if `stream` is being captured. `arguments` are the addresses of the
  // kernel's arguments, in order; the arguments are copied before this returns.
  void launch(const Launch& launch, CUstream stream, std::initializer_list<const void*> arguments) const;

  // The image that was loaded: "sm_90" or, if it was compiled by the driver, "compute_80".
  const std::string& image() const { return image_; }
  // Identifies the kernels and their compiler: it changes with every build of the kernels, with the driver
  // and with the type of device. Results of checks of the kernels are stored under it.
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
