#pragma once
// The parts that addon.cc puts together: NativeBinding of lib/native/surface.ts.
#include "binding/error.h"

#include <functional>
#include <string>

#include "model/model.h"

namespace clip::binding {

Napi::Object makeKernels(Napi::Env env);                  // kernels.cc: NativeKernels
Napi::Object makeMeasure(Napi::Env env);                  // measure.cc: NativeMeasure, with CLIP_TEST_ENTRIES
Napi::Object makeLearn(Napi::Env env);                    // learn.cc: NativeLearn
Napi::Object makeCuda(Napi::Env env);                     // cuda.cc: NativeCuda
Napi::Value loadModel(const Napi::CallbackInfo& info);    // model.cc
Napi::Value cancelLoad(const Napi::CallbackInfo& info);   // model.cc
Napi::Value nameWeights(const Napi::CallbackInfo& info);  // model.cc

Napi::Value openTokenizer(const Napi::CallbackInfo& info);  // tokenizer.cc
Napi::Value openMatrix(const Napi::CallbackInfo& info);     // matrix.cc

Napi::Value canDecodeScaled(const Napi::CallbackInfo& info);  // scaled_jpeg.cc
Napi::Value decodeScaled(const Napi::CallbackInfo& info);     // scaled_jpeg.cc

// spec.cc
ModelConfig readModelConfig(Napi::Value spec, Napi::Value preprocess);
PreprocessConfig readPreprocess(Napi::Value value);

// image.cc: reads a NativeImage. `hold` gets the array to which the image refers and returns the address that
// its bytes will have.
struct HeldInput {
  Napi::Value array;
  std::string field;
  bool ours;  // decoded or copied by lib, so nobody else uses it
};
using Hold = std::function<const void*(const HeldInput&)>;
Image readImage(Napi::Value value, const std::string& field, int size, const Hold& hold);

}  // namespace clip::binding
