// NativeKernels: every op as a call from JavaScript. native/ops/<op>.cc reads the arguments of each op.
#include <algorithm>
#include <string_view>

#include "binding/kernel_call.h"
#include "binding/surface.h"

namespace clip::binding {
namespace {

// Ops that no public kernel needs. They are for tests only, so they are not in every build (CMakeLists.txt).
constexpr std::string_view kForTests[] = {"conv",      "depthwiseConv", "channelGate", "cast",
                                          "embed",     "gather",        "patches",     "pool",
                                          "normalise", "rope",          "gate"};
constexpr bool isHere([[maybe_unused]] std::string_view op) {
#if CLIP_TEST_ENTRIES
  return true;
#else
  return std::ranges::find(kForTests, op) == std::end(kForTests);
#endif
}

}  // namespace

void addKernel(Napi::Object kernels, const char* name, Napi::Value (*call)(KernelCall&)) {
  kernels.Set(name, Napi::Function::New(
                        kernels.Env(),
                        [call](const Napi::CallbackInfo& info) {
                          return rejecting(info, [&]() -> Napi::Value {
                            KernelCall c(info);
                            return call(c);
                          });
                        },
                        name));
}

Napi::Object makeKernels(Napi::Env env) {
  const Napi::Object o = Napi::Object::New(env);
#define CLIP_ADD(op, Arguments) \
  if constexpr (isHere(#op)) addKernel(o, #op, [](KernelCall& c) { return c.run(ops::op::prepare(c)); });
  CLIP_OPS(CLIP_ADD)
#undef CLIP_ADD
#if CLIP_TEST_ENTRIES
  addPreprocess(o);
#endif
  return o;
}

}  // namespace clip::binding
