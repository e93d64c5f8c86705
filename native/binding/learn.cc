// NativeLearn: one fit per call, on the pool. Features are read in place; labels are copied, because a label
// changed after the check would cause an out-of-bounds write.
#include <algorithm>
#include <atomic>

#include "binding/kernel_call.h"
#include "binding/surface.h"
#include "learn/contrastive.h"
#include "learn/logistic.h"
#include "learn/tip_adapter.h"
#include "threads/context.h"

namespace clip::binding {
namespace {

// The arrays that one call uses.
struct Lent {
  std::vector<Loan> loans;

  const float* read(const Fields& f, const char* key, std::initializer_list<size_t> shape) {
    return lend(f, key, shape, Loan::Use::read);
  }
  float* write(const Fields& f, const char* key, std::initializer_list<size_t> shape) {
    return lend(f, key, shape, Loan::Use::write);
  }

 private:
  float* lend(const Fields& f, const char* key, std::initializer_list<size_t> shape, Loan::Use use) {
    loans.emplace_back(f.typed<float>(key, ops::product(shape)).array, f.path(key), use);
    return loans.back().as<float>();
  }
};

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
    Lent lent;
    const float* features = lent.read(f, "features", {n, d});
    fit->weights = lent.write(f, "weights", {k, d});
    fit->bias = lent.write(f, "bias", {k});
    fit->labels = f.indices("labels", n, 0, classes - 1);
    const double c = f.number("c");
    if (!(c > 0)) wrong("c", "be more than 0", std::to_string(c));
    fit->problem = {.features = features,
                    .labels = fit->labels.data(),
                    .rows = rows,
                    .width = width,
                    .classes = classes,
                    .c = c,
                    .maxIterations = f.integer("maxIterations")};
    const int threads = f.integer("threads", 1, kMaxThreads);
    const Backend& backend = chosenBackend(f);

    Environment::Call call;
    call.keep = std::move(lent.loans);
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
      if (fit->cancel) return;  // already rejected
      for (size_t i = 0; i < k; ++i) {
        for (size_t j = 0; j < d; ++j) fit->weights[i * d + j] = static_cast<float>(x[i * (d + 1) + j]);
        fit->bias[i] = static_cast<float>(x[i * (d + 1) + d]);
      }
    });
  });
}

learn::Training readTraining(const Fields& f) {
  const double rate = f.number("rate"), decay = f.number("weightDecay");
  if (!(rate > 0)) wrong("rate", "be more than 0", std::to_string(rate));
  if (!(decay >= 0)) wrong("weightDecay", "be at least 0", std::to_string(decay));
  return {.epochs = f.integer("epochs"),
          .batch = f.integer("batch"),
          .rate = rate,
          .weightDecay = decay,
          .seed = static_cast<uint32_t>(f.integer("seed", 0))};
}

// Starts a training. `work` gets a function that tells whether to continue; `result` converts the outcome.
template <class State>
Napi::Value train(const Napi::CallbackInfo& info, const std::shared_ptr<State>& state, std::vector<Loan> keep,
                  std::function<void(const std::function<bool()>&)> work) {
  Environment::Call call;
  call.keep = std::move(keep);
  call.job = readInteger(info[0], "job", 0, INT32_MAX);
  call.cancel = [state] { state->cancel = true; };
  call.result = [state](Napi::Env env) { return state->toJs(env); };
  return Environment::of(info.Env()).beginOnPool(std::move(call), [state, work = std::move(work)] {
    work([&] { return !state->cancel; });
  });
}

Napi::Value tipAdapter(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const Fields f(info[1], "");
    struct State {
      std::vector<int32_t> labels, owners;
      std::atomic<bool> cancel{false};
      double loss = 0;
      Napi::Value toJs(Napi::Env env) const { return Napi::Number::New(env, loss); }
    };
    const auto state = std::make_shared<State>();
    const int rows = f.integer("rows"), dim = f.integer("dim"), classes = f.integer("classCount"),
              count = f.integer("keyCount");
    const size_t d = static_cast<size_t>(dim);
    Lent lent;
    const float* features = lent.read(f, "features", {static_cast<size_t>(rows), d});
    const float* weights = lent.read(f, "classes", {static_cast<size_t>(classes), d});
    float* keys = lent.write(f, "keys", {static_cast<size_t>(count), d});
    state->labels = f.indices("labels", rows, 0, classes - 1);
    state->owners = f.indices("owners", count, 0, classes - 1);
    const learn::TipAdapter problem{.features = features,
                                    .labels = state->labels.data(),
                                    .classes = weights,
                                    .owners = state->owners.data(),
                                    .rows = rows,
                                    .dim = dim,
                                    .classCount = classes,
                                    .keyCount = count,
                                    .scale = f.number("logitScale"),
                                    .alpha = f.number("alpha"),
                                    .beta = f.number("beta")};
    const learn::Training training = readTraining(f);
    const int threads = f.integer("threads", 1, kMaxThreads);
    const Backend& backend = chosenBackend(f);
    return train(info, state, std::move(lent.loans), [=, &backend](const std::function<bool()>& keepGoing) {
      state->loss = learn::fineTune(problem, training, backend, threads, keys, keepGoing);
    });
  });
}

Napi::Value contrastive(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const Fields f(info[1], "");
    struct State {
      std::atomic<bool> cancel{false};
      learn::ContrastiveResult result{};
      Napi::Value toJs(Napi::Env env) const {
        const Napi::Object o = Napi::Object::New(env);
        o.Set("logitScale", result.logitScale);
        o.Set("loss", result.loss);
        return o;
      }
    };
    const auto state = std::make_shared<State>();
    const int pairs = f.integer("pairs", 2), dim = f.integer("embedDim");
    Lent lent;
    const auto side = [&](const char* key) {
      const Fields g(f.value(key), key);
      const int width = g.integer("width");
      const size_t w = static_cast<size_t>(width);
      const float* features = lent.read(g, "features", {static_cast<size_t>(pairs), w});
      float* projection = lent.write(g, "projection", {static_cast<size_t>(dim), w});
      const float* bias = g.has("bias") ? lent.read(g, "bias", {static_cast<size_t>(dim)}) : nullptr;
      return learn::Side{.features = features, .width = width, .projection = projection, .bias = bias};
    };
    const learn::Contrastive problem{
        .images = side("images"), .texts = side("texts"), .pairs = pairs, .embedDim = dim};
    const double scale = f.number("logitScale");
    if (!(scale > 0)) wrong("logitScale", "be more than 0", std::to_string(scale));
    const learn::Training training = readTraining(f);
    if (training.batch < 2) wrong("batch", "be 2 or more", std::to_string(training.batch));
    const int threads = f.integer("threads", 1, kMaxThreads);
    const Backend& backend = chosenBackend(f);
    return train(info, state, std::move(lent.loans), [=, &backend](const std::function<bool()>& keepGoing) {
      state->result = learn::adapt(problem, scale, training, backend, threads, keepGoing);
    });
  });
}

}  // namespace

Napi::Object makeLearn(Napi::Env env) {
  const Napi::Object o = Napi::Object::New(env);
  o.Set("logistic", Napi::Function::New(env, logistic, "logistic"));
  o.Set("tipAdapter", Napi::Function::New(env, tipAdapter, "tipAdapter"));
  o.Set("contrastive", Napi::Function::New(env, contrastive, "contrastive"));
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
