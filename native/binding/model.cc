// NativeModel: loading, and one queue entry per call. The model's methods are closures over its state instead
// of prototype methods, so there is no `this` that a caller could replace by another object.
#include "binding/convert.h"
#include "binding/job.h"
#include "binding/surface.h"
#include "model/text_transformer.h"
#include "model/weights.h"
#include "ops/call.h"
#include "threads/context.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace clip::binding {
namespace {

constexpr int64_t kMaxJob = int64_t{1} << 53;

constexpr std::initializer_list<std::pair<const char*, Output>> kOutputs = {
    {"embedding", Output::embedding}, {"pooled", Output::pooled}, {"tokens", Output::tokens}};

struct ModelState {
  Napi::Env env;
  std::shared_ptr<Queue> queue;
  bool image;  // whether there is an image tower
  std::optional<TextTransformerConfig> text;
  PreprocessConfig preprocess{};
  int size = 0;             // side of the preprocessed image
  int64_t weightBytes = 0;  // the external memory reported to the garbage collector for this object

  ~ModelState() { tell(0); }
  void tell(int64_t bytes) {
    int64_t now;
    napi_adjust_external_memory(env, bytes - weightBytes, &now);
    weightBytes = bytes;
  }
};
using State = std::shared_ptr<ModelState>;

Napi::Value toFloats(Napi::Env env, const float* data, size_t count) {
  Napi::Float32Array array = Environment::of(env).newFloats(count);
  if (count) std::memcpy(array.Data(), data, count * sizeof(float));
  return array;
}

// A queue job together with the objects that keep its inputs alive.
struct Input {
  std::shared_ptr<Queue::Job> job = std::make_shared<Queue::Job>();
  std::vector<Loan> keep;
  std::vector<Napi::Value> spend;

  const void* hold(const HeldInput& in) {
    if (in.ours) spend.push_back(in.array);
    keep.emplace_back(in.array, in.field, in.ours ? Loan::Use::own : Loan::Use::read);
    return keep.back().as<void>();
  }
};

// `filled`: an array that the job writes to, which is the result; without it, the result is a copy of the
// job's output.
Napi::Value enqueue(const State& state, int64_t id, Input input, Napi::Value filled = {}) {
  Environment& environment = Environment::of(state->env);
  const std::shared_ptr<Queue::Job> job = input.job;
  const std::shared_ptr<Queue> queue = state->queue;
  Environment::Call call;
  call.keep = std::move(input.keep);
  call.spend = std::move(input.spend);
  call.filled = filled;
  if (filled.IsEmpty())
    call.result = [job](Napi::Env env) { return toFloats(env, job->out.get(), job->floats); };
  call.cancel = [job, queue] { queue->cancel(job); };
  call.owner = queue.get();
  call.job = id;
  return environment.begin(std::move(call), [&](Environment::Ticket ticket) {
    job->done = [mailbox = environment.mailbox(), ticket](std::exception_ptr failure) {
      mailbox->post(ticket, std::move(failure));
    };
    queue->push(job);
  });
}

void readImages(const State& state, Napi::Value value, Input& input) {
  const Napi::Array array = readArray(value, "images");
  std::vector<Image>& images = input.job->images;
  images.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    try {
      images.push_back(readImage(array.Get(i), "images[" + std::to_string(i) + "]", state->size,
                                 [&input](const HeldInput& in) { return input.hold(in); }));
    } catch (Error& e) {
      e.index = static_cast<int>(i);
      throw;
    }
  }
}

void readTexts(const State& state, Napi::Value ids, Napi::Value lengths, Queue::Job& job) {
  const auto id = readTyped<int32_t>(ids, "ids");
  const auto length = readTyped<int32_t>(lengths, "lengths");
  // Copied first and checked afterwards, because JavaScript can't change the copies.
  job.ids.assign(id.data, id.data + id.length);
  job.lengths.assign(length.data, length.data + length.length);
  checkTexts(*state->text, job.ids, job.lengths);
  toTextRows(*state->text, job.ids, job.lengths);
}

// The number of rows per text of `output: 'tokens'` for these texts: the length of the longest.
Napi::Value textTokens(const State& state, const Napi::CallbackInfo& info) {
  return throwing(info, [&]() -> Napi::Value {
    if (!state->text) wrong("model", "have a text tower", "a model loaded without it");
    Queue::Job job;
    readTexts(state, info[0], info[1], job);
    int32_t longest = 0;
    for (const int32_t length : job.lengths) longest = std::max(longest, length);
    return Napi::Number::New(info.Env(), longest);
  });
}

int64_t readJob(const Napi::CallbackInfo& info) { return readInteger(info[0], "job", 0, kMaxJob); }

Napi::Value empty(Napi::Env env) {
  return Environment::of(env).begin(
      {.result = [](Napi::Env e) { return toFloats(e, nullptr, 0); }},
      [env](Environment::Ticket ticket) { Environment::of(env).mailbox()->post(ticket, nullptr); });
}

Napi::Value encodeImage(const State& state, const Napi::CallbackInfo& info, Queue::Kind kind) {
  return rejecting(info, [&]() -> Napi::Value {
    if (!state->image && kind == Queue::Kind::image)
      wrong("model", "have an image tower", "a model loaded without it");
    const int64_t id = readJob(info);
    Input input;
    input.job->kind = kind;
    readImages(state, info[1], input);
    if (kind == Queue::Kind::image) {
      input.job->output = Fields::readChoice<Output>(info[2], "output", kOutputs);
      input.job->normalise = readBoolean(info[3], "normalize");
    }
    if (input.job->images.empty()) return empty(info.Env());
    if (kind == Queue::Kind::image) return enqueue(state, id, std::move(input));
    // Planes are large (600 KB for a side of 224 pixels), so the pool writes them directly into the result
    // array and the JavaScript thread need not copy them.
    Napi::Float32Array planes =
        Environment::of(info.Env())
            .newFloats(ops::product({input.job->images.size(), 3, static_cast<size_t>(state->size),
                                     static_cast<size_t>(state->size)}));
    input.job->planes = planes.Data();
    return enqueue(state, id, std::move(input), planes);
  });
}

// { left, top, width, height } of reachingPart. If the image can't be resized, the result is the whole image,
// and the pass reports the error.
Napi::Value reachingPart(const State& state, const Napi::CallbackInfo& info) {
  return throwing(info, [&]() -> Napi::Value {
    const int width = static_cast<int>(readInteger(info[0], "width", 1, INT32_MAX)),
              height = static_cast<int>(readInteger(info[1], "height", 1, INT32_MAX));
    Part part{0, 0, width, height};
    try {
      part = clip::reachingPart(state->preprocess, width, height);
    } catch (const Error&) {
    }
    const Napi::Object o = Napi::Object::New(info.Env());
    o.Set("left", part.left);
    o.Set("top", part.top);
    o.Set("width", part.width);
    o.Set("height", part.height);
    return o;
  });
}

Napi::Value encodeText(const State& state, const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    if (!state->text) wrong("model", "have a text tower", "a model loaded without it");
    const int64_t id = readJob(info);
    Input input;
    input.job->kind = Queue::Kind::text;
    readTexts(state, info[1], info[2], *input.job);
    input.job->output = Fields::readChoice<Output>(info[3], "output", kOutputs);
    input.job->normalise = readBoolean(info[4], "normalize");
    if (input.job->lengths.empty()) return empty(info.Env());
    return enqueue(state, id, std::move(input));
  });
}

Napi::Value dispose(const State& state, const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    Environment& environment = Environment::of(info.Env());
    return environment.begin({.result =
                                  [state](Napi::Env env) {
                                    state->tell(0);
                                    return env.Undefined();
                                  }},
                             [&](Environment::Ticket ticket) {
                               state->queue->dispose([mailbox = environment.mailbox(), ticket] {
                                 mailbox->post(ticket, nullptr);
                               });
                             });
  });
}

Napi::Value counters(const State& state, const Napi::CallbackInfo& info) {
  return throwing(info, [&]() -> Napi::Value {
    const Queue::Counters c = state->queue->counters();
    const Napi::Object o = Napi::Object::New(info.Env());
    o.Set("textRows", static_cast<double>(c.textRows));
    o.Set("textNodes", static_cast<double>(c.textNodes));
    o.Set("imageRows", static_cast<double>(c.imageRows));
    o.Set("passes", static_cast<double>(c.passes));
    o.Set("jobs", static_cast<double>(c.jobs));
    return o;
  });
}

Napi::Value toPackCache(Napi::Env env, const Model& model) {
  const Napi::Object o = Napi::Object::New(env);
  const PackCacheUse use = model.packCacheUse();
  o.Set("use", use == PackCacheUse::mapped    ? "mapped"
               : use == PackCacheUse::written ? "written"
               : use == PackCacheUse::failed  ? "failed"
                                              : "off");
  o.Set("file", model.packCacheFile());
  o.Set("reason", model.packCacheFailure());
  return o;
}

Napi::Value toWeightNames(Napi::Env env, const WeightNames& names) {
  const Napi::Object o = Napi::Object::New(env);
  o.Set("image", names.image);
  o.Set("text", names.text);
  return o;
}

// The sizes of the towers' outputs: { embedDim, image?, text? }.
Napi::Value toShapes(Napi::Env env, const ModelConfig& c) {
  const Napi::Object shapes = Napi::Object::New(env);
  shapes.Set("embedDim", c.embedDim);
  if (c.hasImageTower()) {
    const Napi::Object image = Napi::Object::New(env);
    image.Set("size", c.imageSize());
    image.Set("tokens", c.imageTokens());
    image.Set("width", c.imageWidth());
    image.Set("joint", c.imageProjection() != Projection::none);
    shapes.Set("image", image);
  }
  if (c.text) {
    const Napi::Object text = Napi::Object::New(env);
    text.Set("contextLength", c.text->contextLength);
    text.Set("vocabSize", c.text->vocabSize);
    text.Set("width", c.text->blocks.width);
    text.Set("joint", c.text->project != Projection::none);
    shapes.Set("text", text);
  }
  return shapes;
}

Napi::Value makeModel(Napi::Env env, std::unique_ptr<Model> model) {
  const auto state = std::make_shared<ModelState>(ModelState{env, nullptr, false, {}, {}, 0, 0});
  state->image = model->config().hasImageTower();
  state->text = model->config().text;
  state->preprocess = model->config().preprocess;
  state->size = state->preprocess.size;
  const Napi::Object o = Napi::Object::New(env);
  const auto property = [&](const char* name, Napi::Value value) {
    o.DefineProperty(Napi::PropertyDescriptor::Value(name, value, napi_enumerable));
  };
  property("backend", Napi::String::New(env, model->backend().name));
  property("active", Napi::String::New(env, activeName(model->backend())));
  property("device", Napi::String::New(env, model->backend().device));
  property("threads", Napi::Number::New(env, model->options().threads));
  property("shapes", toShapes(env, model->config()));
  property("weightNames", toWeightNames(env, model->weightNames()));
  property("packCache", toPackCache(env, *model));
  const auto bytes = static_cast<int64_t>(model->weightBytes());
  property("weightBytes", Napi::Number::New(env, static_cast<double>(bytes)));
  state->queue = std::make_shared<Queue>(std::move(model));
  Environment::of(env).watch(state->queue);
  state->tell(bytes);

  const auto method = [&](const char* name, auto body) {
    property(name, Napi::Function::New(env, body, name));
  };
  method("encodeImage",
         [state](const Napi::CallbackInfo& info) { return encodeImage(state, info, Queue::Kind::image); });
  method("preprocess", [state](const Napi::CallbackInfo& info) {
    return encodeImage(state, info, Queue::Kind::preprocess);
  });
  method("reachingPart", [state](const Napi::CallbackInfo& info) { return reachingPart(state, info); });
  method("encodeText", [state](const Napi::CallbackInfo& info) { return encodeText(state, info); });
  method("textTokens", [state](const Napi::CallbackInfo& info) { return textTokens(state, info); });
  method("dispose", [state](const Napi::CallbackInfo& info) { return dispose(state, info); });
  method("counters", [state](const Napi::CallbackInfo& info) { return counters(state, info); });
  method("cancel", [state](const Napi::CallbackInfo& info) {
    return throwing(info, [&]() -> Napi::Value {
      Environment::of(info.Env()).cancel(state->queue.get(), readJob(info));
      return info.Env().Undefined();
    });
  });
  return o;
}

}  // namespace

Napi::Value loadModel(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const int64_t id = readJob(info);
    struct Load {
      ModelConfig config;
      LoadOptions options;
      std::atomic<bool> cancel{false};
      std::unique_ptr<Model> model;
    };
    const auto load = std::make_shared<Load>();
    load->config = readModelConfig(info[1], info[2]);
    const Fields f(info[3], "options");
    load->options.device = f.choice<const char*>(
        "device", {{"auto", "auto"}, {"cpu", "cpu"}, {"cuda", "cuda"}, {"reference", "reference"}});
    load->options.dtype = f.dtype("dtype", kModelDtypes);
    load->options.threads = f.integer("threads", 1, kMaxThreads);
    load->options.maxBatchRows = f.integer("maxBatchRows", 1, 1 << 20);
    if (f.has("unloaded")) load->options.unloaded = readModelConfig(f.value("unloaded"), info[2]);
    if (f.has("packCache")) {
      const Fields cache(f.value("packCache"), "options.packCache");
      load->options.packFolder = cache.string("folder");
      load->options.packName = cache.string("name");
      load->options.packKey = cache.string("key");
      for (const std::string& text :
           {load->options.packFolder, load->options.packName, load->options.packKey})
        if (text.find('\0') != std::string::npos)
          wrong("options.packCache", "have texts without zero bytes", "one");
    }

    Environment::Call call;
    call.result = [load](Napi::Env env) { return makeModel(env, std::move(load->model)); };
    call.cancel = [load] { load->cancel = true; };
    call.job = id;
    return Environment::of(info.Env()).beginOnPool(std::move(call), [load] {
      if (load->cancel) throw Cancelled{};
      load->model = Model::load(std::move(load->config), load->options, load->cancel);
    });
  });
}

Napi::Value nameWeights(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const int64_t id = readJob(info);
    struct Naming {
      ModelConfig config;
      int threads;
      std::atomic<bool> cancel{false};
      WeightNames names{};
    };
    const auto naming = std::make_shared<Naming>();
    naming->config = readModelConfig(info[1], info[2]);
    naming->threads = static_cast<int>(readInteger(info[3], "threads", 1, kMaxThreads));
    Environment::Call call;
    call.result = [naming](Napi::Env env) { return toWeightNames(env, naming->names); };
    call.cancel = [naming] { naming->cancel = true; };
    call.job = id;
    return Environment::of(info.Env()).beginOnPool(std::move(call), [naming] {
      if (naming->cancel) throw Cancelled{};
      checkConfig(naming->config);
      naming->names = clip::nameWeights(naming->config, naming->threads, naming->cancel);
    });
  });
}

Napi::Value cancelLoad(const Napi::CallbackInfo& info) {
  return throwing(info, [&]() -> Napi::Value {
    Environment::of(info.Env()).cancel(nullptr, readJob(info));
    return info.Env().Undefined();
  });
}

}  // namespace clip::binding
