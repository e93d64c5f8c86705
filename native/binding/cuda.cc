// NativeCuda: properties of the GPU, a comparison of its kernels with the reference, and their timing.
#include <algorithm>
#include <atomic>

#include "backend.h"
#include "binding/convert.h"
#include "binding/job.h"
#include "binding/surface.h"
#if CLIP_CUDA
#include "cuda/check.h"
#include "cuda/driver.h"
#include "cuda/images.h"
#include "cuda/timing.h"
#endif

namespace clip::binding {
namespace {

#if CLIP_CUDA

// Without a driver or a device the list is empty; backends() gives the reason.
Napi::Value listDevices(const Napi::CallbackInfo& info) {
  return throwing(info, [&]() -> Napi::Value {
    std::vector<cuda::Device> all;
    try {
      all = cuda::devices();
    } catch (const Error&) {
    }
    const Napi::Array list = Napi::Array::New(info.Env());
    for (uint32_t i = 0; i < all.size(); i++) {
      const Napi::Object o = Napi::Object::New(info.Env());
      o.Set("index", all[i].index);
      o.Set("name", all[i].name);
      o.Set("capability", all[i].capability);
      o.Set("memory", static_cast<double>(all[i].memory));
      o.Set("reason", all[i].reason);
      list.Set(i, o);
    }
    return list;
  });
}

// Runs on the pool, because the first call of a process opens the driver.
Napi::Value wantsKernels(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const auto wanted = std::make_shared<bool>(false);
    Environment::Call call;
    call.result = [wanted](Napi::Env env) -> Napi::Value { return Napi::Boolean::New(env, *wanted); };
    return Environment::of(info.Env()).beginOnPool(std::move(call), [wanted] {
      chooseBackend("cuda");  // throws with the reason if there is no GPU
      *wanted = !cuda::haveImages();
    });
  });
}

Napi::Value giveKernels(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const Fields f(info[0], "");
    struct Part {
      const char* data;
      size_t bytes;
      std::vector<char> copy(size_t more) const {
        std::vector<char> all(bytes + more, '\0');
        std::copy_n(data, bytes, all.begin());
        return all;
      }
    };
    Environment::Call call;
    const auto lend = [&](const char* key) -> Part {
      const auto array = f.typed<uint8_t>(key);
      call.keep.emplace_back(array.array, key, Loan::Use::own);
      return {call.keep.back().as<char>(), array.length};
    };
    const Part code = lend("machineCode"), ptx = lend("ptx");
    return Environment::of(info.Env()).beginOnPool(std::move(call), [code, ptx, name = f.string("name")] {
      cuda::giveImages({.machineCode = code.copy(0), .ptx = ptx.copy(1), .name = name});
    });
  });
}

Napi::Value identify(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const auto found = std::make_shared<cuda::DeviceIdentity>();
    Environment::Call call;
    call.result = [found](Napi::Env env) -> Napi::Value {
      const Napi::Object o = Napi::Object::New(env);
      o.Set("name", found->name);
      o.Set("fingerprint", found->fingerprint);
      o.Set("image", found->image);
      o.Set("driver", found->driver);
      o.Set("capability", found->capability);
      o.Set("memory", static_cast<double>(found->memory));
      return o;
    };
    return Environment::of(info.Env()).beginOnPool(std::move(call), [found] {
      *found = cuda::deviceIdentity();
    });
  });
}

// Runs `work` on the pool as a job that can be cancelled. Its promise resolves to a list of the results, each
// converted by `describe`.
template <class T, class Work, class Describe>
Napi::Value kernelRun(const Napi::CallbackInfo& info, Work work, Describe describe) {
  struct Run {
    std::atomic<bool> cancel{false};
    std::vector<T> found;
  };
  const auto run = std::make_shared<Run>();
  Environment::Call call;
  call.job = readInteger(info[0], "job", 0, INT32_MAX);
  call.cancel = [run] { run->cancel = true; };
  call.result = [run, describe](Napi::Env env) -> Napi::Value {
    const Napi::Array list = Napi::Array::New(env);
    for (uint32_t i = 0; i < run->found.size(); i++) {
      const Napi::Object o = Napi::Object::New(env);
      describe(o, run->found[i]);
      list.Set(i, o);
    }
    return list;
  };
  return Environment::of(info.Env()).beginOnPool(std::move(call), [run, work] {
    run->found = work([run] { return !run->cancel; });
  });
}

Napi::Value checkKernels(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    return kernelRun<cuda::KernelCheck>(
        info, [](const auto& go) { return cuda::checkKernels(go); },
        [](Napi::Object o, const cuda::KernelCheck& c) {
          o.Set("kernel", c.kernel);
          o.Set("difference", c.difference);
        });
  });
}

Napi::Value timeKernels(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const double seconds = readNumber(info[1], "seconds");
    const bool small = readBoolean(info[2], "small");
    return kernelRun<cuda::KernelTiming>(
        info, [seconds, small](const auto& go) { return cuda::timeKernels(seconds, small, go); },
        [](Napi::Object o, const cuda::KernelTiming& t) {
          o.Set("kernel", t.kernel);
          o.Set("shape", t.shape);
          o.Set("flops", t.flops);
          o.Set("bytes", t.bytes);
          o.Set("tensor", t.tensor);
          o.Set("microseconds", t.microseconds);
        });
  });
}

#else

Napi::Value listDevices(const Napi::CallbackInfo& info) { return Napi::Array::New(info.Env()); }
Napi::Value identify(const Napi::CallbackInfo& info) {
  return rejecting(info, []() -> Napi::Value {
    throw Error{.code = "ERR_CLIP_BACKEND", .message = "This build has no CUDA backend.", .field = "device"};
  });
}
Napi::Value wantsKernels(const Napi::CallbackInfo& info) { return identify(info); }
Napi::Value giveKernels(const Napi::CallbackInfo& info) { return identify(info); }
Napi::Value checkKernels(const Napi::CallbackInfo& info) { return identify(info); }
Napi::Value timeKernels(const Napi::CallbackInfo& info) { return identify(info); }

#endif

}  // namespace

Napi::Object makeCuda(Napi::Env env) {
  const Napi::Object o = Napi::Object::New(env);
  o.Set("devices", Napi::Function::New(env, listDevices, "devices"));
  o.Set("wantsKernels", Napi::Function::New(env, wantsKernels, "wantsKernels"));
  o.Set("giveKernels", Napi::Function::New(env, giveKernels, "giveKernels"));
  o.Set("identify", Napi::Function::New(env, identify, "identify"));
  o.Set("check", Napi::Function::New(env, checkKernels, "check"));
  o.Set("time", Napi::Function::New(env, timeKernels, "time"));
  return o;
}

}  // namespace clip::binding
