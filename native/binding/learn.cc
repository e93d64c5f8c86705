// NativeLearn: one fit per call, on the pool. Features are read where they are; labels are copied, because a
// changed one would be a wild write.
#include <algorithm>
#include <atomic>

#include "binding/convert.h"
#include "binding/job.h"
#include "binding/surface.h"
#include "cpu/context.h"
#include "learn/logistic.h"

namespace clip::binding {
namespace {

const Backend& chosenBackend(const Fields& f) {
  if (!f.has("backend")) return chooseBackend("auto");
  const std::string name = f.string("backend");
  const Backend* backend = findBackend(name);
  std::string why = "this build has none of that name";
  if (!backend || !backend->available(&why))
    throw Error{
        "ERR_CLIP_BACKEND", "Backend '" + name + "' is not available: " + why, {}, "backend", {}, name};
  return *backend;
}

Napi::Value logistic(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const int64_t job = readInteger(info[0], "job", 0, INT32_MAX);
    const Fields f(info[1], "");
    struct Fit {
      learn::LogisticProblem problem;
      std::vector<int32_t> labels;
      float *weights, *bias;
      learn::LogisticResult result;
      std::atomic<bool> cancel{false};
    };
    const auto fit = std::make_shared<Fit>();
    const int rows = f.integer("rows"), width = f.integer("width"), classes = f.integer("classes", 2);
    const size_t n = static_cast<size_t>(rows), d = static_cast<size_t>(width),
                 k = static_cast<size_t>(classes);
    const Elements<float> features = f.typed<float>("features", product({n, d}));
    const Elements<float> weights = f.typed<float>("weights", product({k, d})),
                          bias = f.typed<float>("bias", k);
    fit->labels = f.indices("labels", n, 0, classes - 1);
    const double c = f.number("c");
    if (!(c > 0)) wrong("c", "be more than 0", std::to_string(c));
    fit->problem = {.features = features.data,
                    .labels = fit->labels.data(),
                    .rows = rows,
                    .width = width,
                    .classes = classes,
                    .c = c,
                    .maxIterations = f.integer("maxIterations")};
    fit->weights = weights.data;
    fit->bias = bias.data;
    const int threads = f.integer("threads", 1, kMaxThreads);
    const Backend& backend = chosenBackend(f);

    Environment::Call call;
    call.keep = {features.array, weights.array, bias.array};
    call.job = job;
    call.cancel = [fit] { fit->cancel = true; };
    call.result = [fit](Napi::Env env) -> Napi::Value {
      const Napi::Object o = Napi::Object::New(env);
      o.Set("loss", fit->result.loss);
      o.Set("gradientNorm", fit->result.gradientNorm);
      o.Set("iterations", fit->result.iterations);
      o.Set("converged", fit->result.converged);
      return o;
    };
    return Environment::of(info.Env()).beginOnPool(std::move(call), [fit, &backend, threads, d, k] {
      learn::Vector x(k * (d + 1));
      for (size_t i = 0; i < k; ++i) {
        std::copy(fit->weights + i * d, fit->weights + (i + 1) * d, x.begin() + i * (d + 1));
        x[i * (d + 1) + d] = fit->bias[i];
      }
      fit->result = learn::fitLogistic(fit->problem, backend, threads, x, [&] { return !fit->cancel; });
      if (fit->cancel) return;  // rejected already
      for (size_t i = 0; i < k; ++i) {
        for (size_t j = 0; j < d; ++j) fit->weights[i * d + j] = static_cast<float>(x[i * (d + 1) + j]);
        fit->bias[i] = static_cast<float>(x[i * (d + 1) + d]);
      }
    });
  });
}

}  // namespace

Napi::Object makeLearn(Napi::Env env) {
  const Napi::Object o = Napi::Object::New(env);
  o.Set("logistic", Napi::Function::New(env, logistic, "logistic"));
  o.Set("cancel", Napi::Function::New(
                      env,
                      [](const Napi::CallbackInfo& info) {
                        return throwing(info, [&]() -> Napi::Value {
                          const int64_t job = readInteger(info[0], "job", 0, INT32_MAX);
                          Environment::of(info.Env()).cancel(nullptr, job);
                          return info.Env().Undefined();
                        });
                      },
                      "cancel"));
  return o;
}

}  // namespace clip::binding
