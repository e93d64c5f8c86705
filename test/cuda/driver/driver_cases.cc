// Tests native/cuda/driver.cc, modules.cc and images.cc on the stand-in. The caller of this program sets
// CLIP_NATIVE_LIBCUDA to it.
#include <cstdlib>

#include "cases.h"
#include "kernels.h"
#include "support.h"

namespace {

using namespace support;

// The error of opening the driver in a process that has not opened it yet.
std::string opening(const char* library, const char* devices) {
  return inChild([=]() -> std::string {
           if (library) setenv("CLIP_NATIVE_LIBCUDA", library, 1);
           if (devices) setenv("CLIP_STANDIN_DEVICES", devices, 1);
           const clip::Error e = errorOf([] { support::devices(); });
           // A failure is not cached, because a driver may be installed later.
           return e.code + "|" + e.field + "|" + e.actual + "|" + e.message +
                  (errorOf([] { driver(); }).message == e.message ? "" : " (then another)");
         })
      .said;
}
std::string wants(const std::string& got, const std::string& begins) {
  return got.compare(0, begins.size(), begins) == 0 ? "" : got;
}

// Checks which image a device gets.
std::string image(int capability, const char* version, const std::string& want) {
  const Environment environment("CLIP_STANDIN_DEVICES=" + std::to_string(capability) +
                                " CLIP_STANDIN_DRIVER=" + version);
  {
    const auto module = Module::of(0);
    if (module->image() != want) return module->image();
    if (module->device().capability != capability || !module->device().reason.empty()) return "the device";
    for (const char* name : kKernels) check(module->kernel(name), name);
    const clip::Error e = errorOf([&] { module->kernel("clip_nothing"); });
    check(e.code == "ERR_CLIP_CUDA" && e.actual == "clip_nothing", e.message);
  }
  return environment.report();
}

std::string refused(int capability, const char* version, const std::string& code, const std::string& words) {
  const Environment environment("CLIP_STANDIN_DEVICES=" + std::to_string(capability) +
                                " CLIP_STANDIN_DRIVER=" + version);
  const clip::Error e = errorOf([] { Module::of(0); });
  if (e.code != code || e.message.find(words) == std::string::npos) return e.code + ": " + e.message;
  return environment.report();
}

std::string severalDevices() {
  const Environment environment("CLIP_STANDIN_DEVICES=75,86,120 CLIP_STANDIN_MEMORY=8589934592");
  const auto all = devices();
  check(all.size() == 3, "three");
  check(all[0].reason == "compute capability 7.5 is below 8.0", all[0].reason);
  check(all[1].reason.empty() && all[1].capability == 86 && all[1].memory == size_t{8} << 30 &&
            all[1].sharedPerBlock == 99 << 10 && all[1].name == "libcuda stand-in 86" && all[1].index == 1,
        "the second");
  {
    const clip::Error old = errorOf([] { Module::of(0); });
    check(old.message ==
              "CUDA device 0, libcuda stand-in 75, can't be used: compute capability 7.5 is below 8.0.",
          old.message);
    for (const int none : {-1, 3}) {
      const clip::Error e = errorOf([none] { Module::of(none); });
      check(e.code == "ERR_CLIP_CUDA" && e.expected == "0 to 2" && e.actual == std::to_string(none),
            e.message);
    }
    const auto one = Module::of(1), again = Module::of(1), two = Module::of(2);
    check(one == again && one != two && one->context() != two->context(), "one each");
    check(one->image() == "sm_80" && two->image() == "sm_120", "images");
    check(one->fingerprint() != two->fingerprint() && one->fingerprint() == again->fingerprint(),
          "fingerprints");
  }
  check(environment.calls("cuModuleLoadDataEx") == 2 && environment.calls("cuModuleUnload") == 2,
        "loaded twice");
  return environment.report();
}

// Every call that loading makes fails once: that gives a typed error, leaves nothing behind, and the next
// attempt works.
std::string everyCallFails(const char* code, const char* wanted) {
  const char* functions[] = {"cuDeviceGetCount",     "cuDeviceGet",        "cuDeviceGetName",
                             "cuDeviceGetAttribute", "cuDeviceTotalMem",   "cuDevicePrimaryCtxRetain",
                             "cuCtxSetCurrent",      "cuModuleLoadDataEx", "cuModuleGetFunction",
                             "cuFuncGetAttribute",   "cuFuncSetAttribute"};
  const Environment environment;
  for (const std::string function : functions) {
    environment.fail(function + ":1=" + code);
    const clip::Error e = errorOf([] { Module::of(0); });
    check(e.code == wanted && e.field == function && e.actual == code, function + " gave " + e.message);
    environment.fail("");
    check(Module::of(0)->image() == "sm_90", "afterwards");
  }
  return environment.report();
}

// A code that only a later driver than ours returns is still an error with a number.
std::string unknownCode() {
  const Environment environment;
  const clip::Error e =
      errorOf([] { fail(driver(), "cuAnything", static_cast<CUresult>(12345), "while testing"); });
  return e.message == "cuAnything failed while testing: CUresult 12345, no description." ? "" : e.message;
}

// Loading fails before the kernels were passed in, leaves nothing behind, and works afterwards.
std::string beforeHandOver() {
  return inChild([]() -> std::string {
           check(!haveImages(), "none yet");
           const clip::Error e = errorOf([] { Module::of(0); });
           check(e.code == "ERR_CLIP_INTERNAL" && e.field == "device", e.code + ": " + e.message);
           giveImages(committedImages());
           return Module::of(0)->image();
         })
      .said;
}

// Workers may pass them in at the same time: the first ones stay.
std::string handOverTwice() {
  const Environment environment;
  const char* const first = images().machineCode.data();
  giveImages({.machineCode = {1, 2, 3}, .ptx = {'\0'}, .name = "another"});
  check(images().machineCode.data() == first && images().name == "committed", "exchanged");
  check(Module::of(0)->fingerprint().rfind("committed-", 0) == 0, Module::of(0)->fingerprint());
  return environment.silent();
}

const cases::Registration registration([] {
  // This case comes first, while nothing is open yet.
  cases::add("driver", "without a driver, opening fails", [] {
    return wants(opening("/nonexistent/libcuda.so.1", nullptr),
                 "ERR_CLIP_CUDA|/nonexistent/libcuda.so.1|none|There is no NVIDIA driver here: ");
  });
  cases::add("driver", "a library without the driver's functions is rejected", [] {
    const std::string said = opening("libm.so.6", nullptr);
    return said.find("(then") == std::string::npos ? wants(said,
                                                           "ERR_CLIP_CUDA|cuGetErrorName|an older one|The "
                                                           "NVIDIA driver is too old: libm.so.6 has no ")
                                                   : said;
  });
  cases::add("driver", "without a device, opening fails", [] {
    return wants(
        opening(nullptr, "none"),
        "ERR_CLIP_CUDA|cuInit|CUDA_ERROR_NO_DEVICE|cuInit failed: CUDA_ERROR_NO_DEVICE, no CUDA-capable");
  });
  cases::add("driver", "loading before the kernels were passed in fails, and works afterwards", [] {
    const std::string said = beforeHandOver();
    return said == "sm_90" ? "" : said;
  });
  for (const auto& [capability, want] : {std::pair{80, "sm_80"},
                                         {86, "sm_80"},
                                         {89, "sm_80"},
                                         {90, "sm_90"},
                                         {100, "sm_100"},
                                         {103, "sm_100"},
                                         {120, "sm_120"},
                                         {121, "sm_120"},
                                         {87, "sm_80"},
                                         {110, "compute_80"},
                                         {150, "compute_80"}})
    cases::add("driver", "capability " + std::to_string(capability),
               [=] { return image(capability, "13000", want); });
  cases::add("driver", "a driver that rejects the machine code compiles the PTX",
             [] { return image(90, "12020", "compute_80"); });
  cases::add("driver", "the oldest supported driver compiles the PTX",
             [] { return image(80, "11040", "compute_80"); });
  cases::add("driver", "a driver that rejects the PTX too is an error", [] {
    return refused(80, "10020", "ERR_CLIP_CUDA",
                   "cuModuleLoadDataEx failed for the kernels' PTX (ptxas: Unsupported .version 7.0): "
                   "CUDA_ERROR_UNSUPPORTED_PTX_VERSION");
  });
  cases::add("driver", "capability 7.5 is rejected",
             [] { return refused(75, "13000", "ERR_CLIP_CUDA", "compute capability 7.5 is below 8.0"); });
  cases::add("driver", "each of several devices has its own module", severalDevices);
  cases::add("driver", "loading recovers from a lack of memory in each of its calls",
             [] { return everyCallFails("CUDA_ERROR_OUT_OF_MEMORY", "ERR_CLIP_MEMORY"); });
  cases::add("driver", "loading recovers from a lost device in each of its calls",
             [] { return everyCallFails("CUDA_ERROR_LAUNCH_FAILED", "ERR_CLIP_CUDA"); });
  cases::add("driver", "an error code that the driver does not know is reported as a number", unknownCode);
  cases::add("driver", "kernels may be passed in twice", handOverTwice);
});

}  // namespace
