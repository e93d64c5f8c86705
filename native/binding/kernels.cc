// NativeKernels: one op of a backend per call, on the pool. Float arrays are used where they are and kept
// alive until the promise settles; index arrays are copied, because a changed index would be a wild read.
#include "binding/convert.h"
#include "binding/job.h"
#include "binding/surface.h"
#include "cpu/context.h"

#include <cstring>

namespace clip::binding {
namespace {

// The arguments of one kernel call.
class Call : public Fields {
 public:
  explicit Call(const Napi::CallbackInfo& info) : Fields(info[0], ""), env_(info.Env()) {
    threads_ = integer("threads", 1, kMaxThreads);
    if (has("backend")) {
      const std::string name = string("backend");
      backend_ = findBackend(name);
      std::string why;
      if (!backend_ || !backend_->available(&why))
        throw Error{"ERR_CLIP_BACKEND",
                    "Backend '" + name +
                        "' is not available: " + (backend_ ? why : "this build has none of that name"),
                    {},
                    "backend",
                    {},
                    name};
    } else {
      backend_ = &chooseBackend("auto");
    }
  }

  template <class T>
  T* array(const char* key, std::initializer_list<size_t> shape) {
    const Elements<T> e = typed<T>(key, product(shape));
    keep_.push_back(e.array);
    return e.data;
  }
  template <class T>
  Elements<T> arrayOfRows(const char* key, int cols) {
    const Elements<T> e = typed<T>(key);
    if (e.length == 0 || e.length % cols)
      wrong(path(key), "have a multiple of " + std::to_string(cols) + " elements, at least one row",
            std::to_string(e.length));
    keep_.push_back(e.array);
    return e;
  }

  void keep(Napi::Value array) { keep_.push_back(array); }

  // Runs body(backend, context) on the pool. It must hold no JavaScript value.
  Napi::Value run(std::function<void(const Backend&, Context&)> body) {
    Environment::Call call;
    call.keep = std::move(keep_);
    call.result = [name = backend_->name](Napi::Env env) -> Napi::Value {
      return Napi::String::New(env, name);
    };
    return Environment::of(env_).beginOnPool(std::move(call), [backend = backend_, threads = threads_,
                                                               body = std::move(body)] {
      const std::unique_ptr<Context, void (*)(Context*)> context(backend->open(threads), backend->close.f);
      if (!context) throw std::bad_alloc();
      body(*backend, *context);
    });
  }

 private:
  Napi::Env env_;
  const Backend* backend_ = nullptr;
  int threads_ = 1;
  std::vector<Napi::Value> keep_;
};

Activations dense(const float* data, int cols) {
  return {const_cast<float*>(data), static_cast<size_t>(cols) * sizeof(float), Dtype::float32, nullptr,
          nullptr};
}

size_t rowsOf(int n) { return static_cast<size_t>(n); }

// Rows of all sequences must be countable in an int.
int checkedRows(const Call& c, const char* key, int a, int b) {
  const size_t rows = product({rowsOf(a), rowsOf(b)});
  if (rows > INT32_MAX) wrong(c.path(key), "make at most 2147483647 rows", std::to_string(rows));
  return static_cast<int>(rows);
}

Napi::Value attention(Call& c) {
  const int sequences = c.integer("sequences"), length = c.integer("length");
  const int heads = c.integer("heads", 1, 4096), dim = c.integer("headDim", 1, 1024);
  const int rows = checkedRows(c, "length", sequences, length), cols = heads * dim;
  const Mask mask =
      c.choice<Mask>("mask", {{"full", Mask::full}, {"causal", Mask::causal}, {"tree", Mask::tree}});
  struct Lists {
    std::vector<int32_t> first, parent, queryRow;
  } lists;
  if (mask == Mask::tree) {
    lists.parent = c.indices("parent", rows, -1, rows - 1);
    for (int r = 0; r < rows; ++r)
      if (lists.parent[r] >= r)
        wrong("parent[" + std::to_string(r) + "]", "be less than " + std::to_string(r),
              std::to_string(lists.parent[r]));
  } else {
    lists.first.resize(rows);
    for (int r = 0; r < rows; ++r) lists.first[r] = r - r % length;
  }
  int queries = rows;
  if (c.has("queryRow")) {
    const size_t n = c.typed<int32_t>("queryRow").length;
    if (n == 0 || n > INT32_MAX) wrong("queryRow", "have at least one element", std::to_string(n));
    lists.queryRow = c.indices("queryRow", n, 0, rows - 1);
    queries = static_cast<int>(n);
  }
  const auto* q = c.array<float>("q", {rowsOf(queries), rowsOf(cols)});
  const auto* k = c.array<float>("k", {rowsOf(rows), rowsOf(cols)});
  const auto* v = c.array<float>("v", {rowsOf(rows), rowsOf(cols)});
  auto* out = c.array<float>("out", {rowsOf(queries), rowsOf(cols)});
  return c.run([=, lists = std::move(lists)](const Backend& b, Context& context) {
    const auto pointer = [](const std::vector<int32_t>& list) {
      return list.empty() ? nullptr : list.data();
    };
    b.attention(context, {.q = dense(q, cols),
                          .k = dense(k, cols),
                          .v = dense(v, cols),
                          .out = dense(out, cols),
                          .rows = rows,
                          .queries = queries,
                          .queryRow = pointer(lists.queryRow),
                          .heads = heads,
                          .dim = dim,
                          .mask = mask,
                          .first = pointer(lists.first),
                          .parent = pointer(lists.parent)});
  });
}

Napi::Value linear(Call& c) {
  const int rows = c.integer("rows"), in = c.integer("inFeatures"), out = c.integer("outFeatures");
  const auto kind = c.choice<Nonlinearity>(
      "activation",
      {{"none", Nonlinearity::none}, {"quickGelu", Nonlinearity::quickGelu}, {"gelu", Nonlinearity::gelu}});
  const auto* x = c.array<float>("x", {rowsOf(rows), rowsOf(in)});
  const auto* weight = c.array<float>("weight", {rowsOf(out), rowsOf(in)});
  const float* bias = c.has("bias") ? c.array<float>("bias", {rowsOf(out)}) : nullptr;
  const float* residual =
      c.has("residual") ? c.array<float>("residual", {rowsOf(rows), rowsOf(out)}) : nullptr;
  auto* y = c.array<float>("out", {rowsOf(rows), rowsOf(out)});
  return c.run([=](const Backend& b, Context& context) {
    const size_t bytes = b.packedSize(Dtype::float32, in, out);
    const auto release = [&b, bytes](void* p) { b.free(p, bytes); };
    const std::unique_ptr<void, decltype(release)> packed(b.alloc(bytes), release);
    if (!packed) throw std::bad_alloc();
    b.pack({.dst = packed.get(),
            .rows = weight,
            .rowStride = rowsOf(in),
            .in = in,
            .out = out,
            .firstRow = 0,
            .rowCount = out,
            .dtype = Dtype::float32});
    b.linear(context, {.x = dense(x, in),
                       .w = packed.get(),
                       .bias = bias,
                       .residual = residual ? dense(residual, out) : Activations{},
                       .y = dense(y, out),
                       .rows = rows,
                       .in = in,
                       .out = out,
                       .nonlinearity = kind});
  });
}

Napi::Value layerNorm(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const double epsilon = c.number("epsilon");
  if (epsilon < 0) wrong("epsilon", "be at least 0", std::to_string(epsilon));
  const auto* x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  const auto* weight = c.array<float>("weight", {rowsOf(cols)});
  const auto* bias = c.array<float>("bias", {rowsOf(cols)});
  auto* out = c.array<float>("out", {rowsOf(rows), rowsOf(cols)});
  return c.run([=](const Backend& b, Context& context) {
    b.layerNorm(context, {.x = dense(x, cols),
                          .weight = weight,
                          .bias = bias,
                          .y = dense(out, cols),
                          .rows = rows,
                          .cols = cols,
                          .epsilon = static_cast<float>(epsilon)});
  });
}

constexpr std::initializer_list<std::pair<const char*, Score>> kScores = {
    {"probability", Score::probability}, {"logit", Score::logit}, {"cosine", Score::cosine}};

Napi::Value cosineSoftmax(Call& c) {
  const int rows = c.integer("rows"), classes = c.integer("classCount"), dim = c.integer("dim");
  const float scale = static_cast<float>(c.number("logitScale"));
  const Score score = c.choice<Score>("as", kScores);
  const auto* queries = c.array<float>("queries", {rowsOf(rows), rowsOf(dim)});
  const auto* matrix = c.array<float>("classes", {rowsOf(classes), rowsOf(dim)});
  auto* out = c.array<float>("out", {rowsOf(rows), rowsOf(classes)});
  return c.run([=](const Backend& b, Context& context) {
    b.cosineSoftmax(context, {.queries = queries,
                              .classes = matrix,
                              .y = out,
                              .rows = rows,
                              .classCount = classes,
                              .dim = dim,
                              .scale = scale,
                              .score = score});
  });
}

Napi::Value cosineTopK(Call& c) {
  const int rows = c.integer("rows"), classes = c.integer("classCount"), dim = c.integer("dim");
  const int k = c.integer("k", 1, classes);
  const float scale = static_cast<float>(c.number("logitScale"));
  const Score score = c.choice<Score>("as", kScores);
  const auto* queries = c.array<float>("queries", {rowsOf(rows), rowsOf(dim)});
  const auto* matrix = c.array<float>("classes", {rowsOf(classes), rowsOf(dim)});
  auto* index = c.array<int32_t>("index", {rowsOf(rows), rowsOf(k)});
  auto* value = c.array<float>("value", {rowsOf(rows), rowsOf(k)});
  return c.run([=](const Backend& b, Context& context) {
    b.cosineTopK(context, {.queries = queries,
                           .classes = matrix,
                           .index = index,
                           .value = value,
                           .rows = rows,
                           .classCount = classes,
                           .dim = dim,
                           .k = k,
                           .scale = scale,
                           .score = score});
  });
}

Napi::Value resize(Call& c) {
  constexpr int side = 1 << 20;
  const int width = c.integer("width", 1, side), height = c.integer("height", 1, side);
  const int channels = c.integer("channels", 1, 4);
  const int outWidth = c.integer("outWidth", 1, side), outHeight = c.integer("outHeight", 1, side);
  const Fields crop(c.value("crop"), "crop");
  const int x = crop.integer("x", 0, outWidth - 1), y = crop.integer("y", 0, outHeight - 1);
  const int w = crop.integer("width", 1, outWidth - x), h = crop.integer("height", 1, outHeight - y);
  const Filter filter = c.choice<Filter>(
      "filter", {{"nearest", Filter::nearest}, {"bilinear", Filter::bilinear}, {"bicubic", Filter::bicubic}});
  const auto* src = c.array<uint8_t>("src", {rowsOf(width), rowsOf(height), rowsOf(channels)});
  auto* out = c.array<uint8_t>("out", {rowsOf(w), rowsOf(h), rowsOf(channels)});
  return c.run([=](const Backend& b, Context& context) {
    b.resize(context, {.src = src,
                       .width = width,
                       .height = height,
                       .channels = channels,
                       .outWidth = outWidth,
                       .outHeight = outHeight,
                       .cropX = x,
                       .cropY = y,
                       .cropWidth = w,
                       .cropHeight = h,
                       .filter = filter,
                       // Image.resize: "if self.size[1] > self.size[0] * 100 and size[1] < self.size[1]"
                       .verticalFirst = height > int64_t{width} * 100 && outHeight < height,
                       .dst = out});
  });
}

Napi::Value embed(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto table = c.arrayOfRows<float>("table", cols), positions = c.arrayOfRows<float>("positions", cols);
  auto ids = c.indices("ids", rows, 0, static_cast<int64_t>(table.length / cols) - 1);
  auto position = c.indices("position", rows, 0, static_cast<int64_t>(positions.length / cols) - 1);
  auto* out = c.array<float>("out", {rowsOf(rows), rowsOf(cols)});
  return c.run([=, from = table.data, at = positions.data, ids = std::move(ids),
                position = std::move(position)](const Backend& b, Context& context) {
    b.embed(context, {.table = from,
                      .tableStride = cols * sizeof(float),
                      .tableDtype = Dtype::float32,
                      .ids = ids.data(),
                      .positions = at,
                      .position = position.data(),
                      .y = dense(out, cols),
                      .rows = rows,
                      .cols = cols});
  });
}

Napi::Value gather(Call& c) {
  const int count = c.integer("count"), cols = c.integer("cols");
  const auto x = c.arrayOfRows<float>("x", cols);
  auto row = c.indices("row", count, 0, static_cast<int64_t>(x.length / cols) - 1);
  auto* out = c.array<float>("out", {rowsOf(count), rowsOf(cols)});
  return c.run([=, from = x.data, row = std::move(row)](const Backend& b, Context& context) {
    b.gather(
        context,
        {.x = dense(from, cols), .row = row.data(), .y = dense(out, cols), .count = count, .cols = cols});
  });
}

Napi::Value normalise(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto* x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  auto* out = c.array<float>("out", {rowsOf(rows), rowsOf(cols)});
  return c.run([=](const Backend& b, Context& context) {
    b.normalise(context, {.x = dense(x, cols), .y = dense(out, cols), .rows = rows, .cols = cols});
  });
}

Napi::Value patches(Call& c) {
  const int images = c.integer("images"), size = c.integer("size", 1, 16384),
            patch = c.integer("patch", 1, size);
  const size_t grid = rowsOf(size / patch), cols = size_t{3} * patch * patch;
  if (cols > INT32_MAX / 4) wrong("patch", "be smaller", std::to_string(patch));
  const bool bytes = c.has("pixels");
  if (bytes == c.has("planes")) wrong("pixels", "be given, or else `planes`", bytes ? "both" : "neither");
  const uint8_t* pixels =
      bytes ? c.array<uint8_t>("pixels", {rowsOf(images), rowsOf(size), rowsOf(size), 3}) : nullptr;
  const float* value = bytes ? c.array<float>("value", {3 * 256}) : nullptr;
  const float* planes =
      bytes ? nullptr : c.array<float>("planes", {rowsOf(images), 3, rowsOf(size), rowsOf(size)});
  auto* out = c.array<float>("out", {rowsOf(images), grid, grid, cols});
  return c.run([=](const Backend& b, Context& context) {
    b.patches(context, {.pixels = pixels,
                        .value = value,
                        .planes = planes,
                        .y = dense(out, static_cast<int>(cols)),
                        .images = images,
                        .size = size,
                        .patch = patch});
  });
}

// resizeAndCrop and the normalise table, which are the model's: a kernel for tests only.
Napi::Value preprocess(Call& c) {
  const PreprocessConfig config = readPreprocess(c.value("preprocess"));
  const Image image =
      readImage(c.value("image"), "image", config.size, [&c](const void* data, size_t, Napi::Value owner) {
        c.keep(owner);
        return data;
      });
  const size_t side = rowsOf(config.size), pixels = side * side;
  auto* out = c.array<float>("out", {3, pixels});
  return c.run([=](const Backend& b, Context& context) {
    if (image.planes) {
      std::memcpy(out, image.planes, 3 * pixels * sizeof(float));
      return;
    }
    std::vector<uint8_t> rgb(3 * pixels);
    resizeAndCrop(b, context, config, image, rgb.data());
    float value[3 * 256];
    normaliseTable(config, value);
    for (size_t channel = 0; channel < 3; ++channel)
      for (size_t i = 0; i < pixels; ++i)
        out[channel * pixels + i] = value[channel * 256 + rgb[3 * i + channel]];
  });
}

}  // namespace

Napi::Object makeKernels(Napi::Env env) {
  const Napi::Object o = Napi::Object::New(env);
  const auto add = [&](const char* name, Napi::Value (*op)(Call&)) {
    o.Set(name, Napi::Function::New(
                    env,
                    [op](const Napi::CallbackInfo& info) {
                      return rejecting(info, [&]() -> Napi::Value {
                        Call call(info);
                        return op(call);
                      });
                    },
                    name));
  };
  add("attention", attention);
  add("linear", linear);
  add("layerNorm", layerNorm);
  add("cosineSoftmax", cosineSoftmax);
  add("cosineTopK", cosineTopK);
  add("resize", resize);
  add("embed", embed);
  add("gather", gather);
  add("normalise", normalise);
  add("patches", patches);
  add("preprocess", preprocess);
  return o;
}

}  // namespace clip::binding
