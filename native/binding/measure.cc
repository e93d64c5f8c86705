// NativeMeasure: measurements for benchmarks that no public kernel offers. A model packs its weights once;
// the public `linear` packs them in every call, so its time says little about the product itself.
#if defined(_WIN32)
#include <windows.h>
#else
#include <time.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "binding/convert.h"
#include "binding/job.h"
#include "binding/kernel_call.h"
#include "binding/surface.h"
#include "cpu/peak.h"
#include "threads/context.h"
#include "ops/cases.h"
#include "profile.h"

namespace clip::binding {
namespace {

// Operations per second of one thread.
Napi::Value peak(const Napi::CallbackInfo& info) {
  const Fields a(info[0], "");
  const auto dtype = a.dtype("dtype", kRowDtypes);
  Environment::Call call;
  const auto rate = std::make_shared<double>(0);
  call.result = [rate](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, *rate); };
  return Environment::of(info.Env()).beginOnPool(std::move(call), [rate, dtype] {
    *rate = measurePeak(dtype);
  });
}

// Bytes per second that the given number of threads read from memory.
Napi::Value stream(const Napi::CallbackInfo& info) {
  const Fields a(info[0], "");
  const int threads = a.integer("threads", 1, kMaxThreads);
  const auto rate = std::make_shared<double>(0);
  Environment::Call call;
  call.result = [rate](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, *rate); };
  return Environment::of(info.Env()).beginOnPool(std::move(call), [rate, threads] {
    *rate = measureStream(threads);
  });
}

// Starts or stops profiling for models that are loaded from now on, and returns what was measured so far.
Napi::Value profile(const Napi::CallbackInfo& info) {
  const bool on = Fields(info[0], "").boolean("on");
  const std::vector<OpTimes> times = readProfile(!on);
  if (on) startProfile();
  const Napi::Env env = info.Env();
  const Napi::Array list = Napi::Array::New(env, times.size());
  for (size_t i = 0; i < times.size(); ++i) {
    const OpTimes& t = times[i];
    Napi::Float32Array seconds = Napi::Float32Array::New(env, t.seconds.size());
    if (!t.seconds.empty()) std::memcpy(seconds.Data(), t.seconds.data(), t.seconds.size() * sizeof(float));
    const Napi::Object o = Napi::Object::New(env);
    o.Set("op", t.op);
    o.Set("rows", t.rows);
    o.Set("in", t.in);
    o.Set("out", t.out);
    o.Set("dtype", nameOf(t.dtype));
    o.Set("weightBytes", t.weightBytes);
    o.Set("seconds", seconds);
    list.Set(static_cast<uint32_t>(i), o);
  }
  return list;
}

// Times linear with weights that are packed once: times[i] in ms. Each run uses the next of several copies of
// the weight, so many that they come from memory and not from cache, as they do in a model.
Napi::Value linear(const Napi::CallbackInfo& info) {
  const Fields a(info[0], "");
  const int rows = a.integer("rows"), in = a.integer("inFeatures"), out = a.integer("outFeatures");
  const auto dtype = a.dtype("dtype", kRowDtypes);
  const Dtype weights = a.has("weightDtype") ? a.dtype("weightDtype", kModelDtypes) : dtype;
  const int threads = a.integer("threads", 1, kMaxThreads), copies = a.integer("copies", 1, 1024);
  const Elements<float> times = a.typed<float>("times");
  const Backend& backend = chosenBackend(a);
  if (!backend.linear.has({weights, dtype}))
    throw Error{"ERR_CLIP_DTYPE", std::string(backend.name) + " does not run this dtype", {}, "dtype"};
  Environment::Call call;
  call.keep.emplace_back(times.array, "times", Loan::Use::write);
  float* const to = call.keep.back().as<float>();
  call.result = [name = backend.name](Napi::Env env) -> Napi::Value { return Napi::String::New(env, name); };
  return Environment::of(info.Env()).beginOnPool(std::move(call), [=, count = times.length, &backend] {
    const std::unique_ptr<Context, void (*)(Context*)> context(backend.open(threads), backend.close.f);
    if (!context) throw std::bad_alloc();
    std::vector<float> weight(size_t(in) * out), bias(out, 0.1f), scale(rows, 0.01f);
    std::vector<int32_t> zero(rows, 128);
    uint32_t state = 1;
    for (float& w : weight) w = float((state = state * 1664525u + 1013904223u) >> 8) / (1 << 24) - 0.5f;
    const size_t stride = lineStride(in * bytesOf(dtype)), outStride = lineStride(out * sizeof(float));
    BackendBuffer x(backend, stride * rows), y(backend, outStride * rows);
    for (int r = 0; r < rows; ++r) {
      auto* row = static_cast<std::byte*>(x.data()) + r * stride;
      for (int i = 0; i < in; ++i) {
        const float value = weight[(size_t(r) * 131 + i) % weight.size()];
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        const auto half = static_cast<uint16_t>(bits >> 16);
        const auto byte = static_cast<uint8_t>(128 + 100 * value);
        if (dtype == Dtype::float32) std::memcpy(row + 4 * size_t(i), &value, 4);
        if (dtype == Dtype::bfloat16) std::memcpy(row + 2 * size_t(i), &half, 2);
        if (dtype == Dtype::int8) std::memcpy(row + i, &byte, 1);
      }
    }
    std::vector<std::unique_ptr<BackendBuffer>> packed;
    for (int i = 0; i < copies; ++i) {
      endIfStopped();
      packed.push_back(std::make_unique<BackendBuffer>(backend, backend.packedSize(weights, in, out)));
      backend.pack({.dst = packed.back()->data(),
                    .rows = weight.data(),
                    .rowStride = size_t(in),
                    .in = in,
                    .out = out,
                    .firstRow = 0,
                    .rowCount = out,
                    .dtype = weights});
    }
    for (size_t i = 0; i < count; ++i) {
      endIfStopped();
      const auto from = std::chrono::steady_clock::now();
      backend.linear(*context, {.x = {x.data(), stride, dtype, scale.data(), zero.data()},
                                .w = packed[i % copies]->data(),
                                .bias = bias.data(),
                                .residual = {},
                                .y = {y.data(), outStride, Dtype::float32, nullptr, nullptr},
                                .rows = rows,
                                .in = in,
                                .out = out,
                                .activation = Activation::none,
                                .weights = weights});
      to[i] = std::chrono::duration<float, std::milli>(std::chrono::steady_clock::now() - from).count();
    }
  });
}

// The cases of an op, from native/ops/cases.h.
Napi::Value cases(const Napi::CallbackInfo& info) {
  const Fields a(info[0], "");
  const std::string op = a.string("op");
  const Napi::Env env = info.Env();
  const Napi::Array list = Napi::Array::New(env);
  for (const ops::Case& c : ops::casesOf(op.c_str(), ~0u)) {
    const Napi::Object o = Napi::Object::New(env);
    o.Set("name", c.name);
    o.Set("tested", Napi::Boolean::New(env, c.uses & ops::kTested));
    o.Set("timed", Napi::Boolean::New(env, c.uses & ops::kTimed));
    const Napi::Object sizes = Napi::Object::New(env);
    for (const ops::Field& f : c.fields)
      if (f.key) sizes.Set(f.key, f.value);
    o.Set("sizes", sizes);
    const Napi::Object lists = Napi::Object::New(env);
    for (const ops::List& l : ops::listsOf(op.c_str(), c)) {
      Napi::Int32Array values = Napi::Int32Array::New(env, l.values.size());
      std::copy(l.values.begin(), l.values.end(), values.Data());
      lists.Set(l.key, values);
    }
    o.Set("lists", lists);
    list.Set(list.Length(), o);
  }
  return list;
}

// The processor time of the calling thread in milliseconds. It shows the cost of a turn of the event loop
// even on a busy machine.
Napi::Value threadTime(const Napi::CallbackInfo& info) {
#if defined(_WIN32)
  FILETIME created, ended, kernel, user;
  GetThreadTimes(GetCurrentThread(), &created, &ended, &kernel, &user);
  const auto ticks = [](FILETIME t) {
    return 4294967296.0 * t.dwHighDateTime + t.dwLowDateTime;  // in units of 100 ns
  };
  return Napi::Number::New(info.Env(), (ticks(kernel) + ticks(user)) / 1e4);
#else
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return Napi::Number::New(info.Env(), now.tv_sec * 1e3 + now.tv_nsec / 1e6);
#endif
}

}  // namespace

Napi::Object makeMeasure(Napi::Env env) {
  const Napi::Object o = Napi::Object::New(env);
  const auto add = [&](const char* name, Napi::Value (*f)(const Napi::CallbackInfo&)) {
    o.Set(name, Napi::Function::New(
                    env,
                    [f](const Napi::CallbackInfo& info) {
                      return rejecting(info, [&]() -> Napi::Value { return f(info); });
                    },
                    name));
  };
  add("peak", peak);
  add("stream", stream);
  add("linear", linear);
  add("profile", profile);
  add("cases", cases);
  add("threadTime", threadTime);
  return o;
}

}  // namespace clip::binding
