#pragma once
// What addon.cc puts together: NativeBinding of lib/binding.ts.
#include "binding/error.h"
#include "model/model.h"

namespace clip::binding {

Napi::Object makeKernels(Napi::Env env);                                // kernels.cc: NativeKernels
Napi::Value loadModel(const Napi::CallbackInfo& info);                  // model.cc
Napi::Value cancelLoad(const Napi::CallbackInfo& info);                 // model.cc
ModelConfig readModelConfig(Napi::Value spec, Napi::Value preprocess);  // spec.cc

}  // namespace clip::binding
