// NativeKernels: one op of a backend per call, on the pool. Float arrays are used where they are and kept
// alive until the promise settles; index arrays are copied, because a changed index would be a wild read.
#include "binding/kernel_call.h"
#include "binding/surface.h"

namespace clip::binding {
namespace {

Napi::Value attention(KernelCall& c) {
  const int heads = c.integer("heads", 1, 4096), dim = c.integer("headDim", 1, 1024), cols = heads * dim;
  const Mask mask =
      c.choice<Mask>("mask", {{"full", Mask::full}, {"causal", Mask::causal}, {"tree", Mask::tree}});
  struct Lists {
    std::vector<int32_t> first, parent, queryRow;
  } lists;
  int rows = 0;
  if (mask != Mask::tree && c.has("first")) {
    const size_t n = c.typed<int32_t>("first").length;
    if (n == 0 || n > INT32_MAX) wrong("first", "have at least one element", std::to_string(n));
    rows = static_cast<int>(n);
    lists.first = c.indices("first", n, 0, rows - 1);
    for (int r = 0; r < rows; ++r)
      if (lists.first[r] != r && (r == 0 || lists.first[r] != lists.first[r - 1]))
        wrong("first[" + std::to_string(r) + "]", "be " + std::to_string(r) + " or the number before it",
              std::to_string(lists.first[r]));
  } else {
    const int sequences = c.integer("sequences"), length = c.integer("length");
    rows = checkedRows(c, "length", sequences, length);
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
  }
  int queries = rows;
  if (c.has("queryRow")) {
    const size_t n = c.typed<int32_t>("queryRow").length;
    if (n == 0 || n > INT32_MAX) wrong("queryRow", "have at least one element", std::to_string(n));
    lists.queryRow = c.indices("queryRow", n, 0, rows - 1);
    queries = static_cast<int>(n);
  }
  const Dtype dtype = c.dtype("dtype");
  if (dtype == Dtype::int8) wrong("dtype", "be 'float32' or 'bfloat16'", "'int8'");
  const Dtype outDtype = c.has("outDtype") ? c.dtype("outDtype") : dtype;
  if (outDtype == Dtype::int8) wrong("outDtype", "be 'float32' or 'bfloat16'", "'int8'");
  const LentMatrix q = c.matrix("q", queries, cols, dtype), k = c.matrix("k", rows, cols, dtype);
  const LentMatrix v = c.matrix("v", rows, cols, dtype), out = c.outputMatrix("out", queries, cols, outDtype);
  return c.run([=, lists = std::move(lists)](const Backend& b, Context& context, Arrays& at) {
    b.attention(context, {.q = at(q),
                          .k = at(k),
                          .v = at(v),
                          .out = at(out),
                          .rows = rows,
                          .queries = queries,
                          .queryRow = at(lists.queryRow),
                          .heads = heads,
                          .dim = dim,
                          .mask = mask,
                          .first = at(lists.first),
                          .parent = at(lists.parent)});
  });
}

Napi::Value linear(KernelCall& c) {
  const int rows = c.integer("rows"), in = c.integer("inFeatures"), out = c.integer("outFeatures");
  const auto kind = c.choice<Activation>("activation", {{"none", Activation::none},
                                                        {"quickGelu", Activation::quickGelu},
                                                        {"gelu", Activation::gelu},
                                                        {"relu", Activation::relu},
                                                        {"geluTanh", Activation::geluTanh}});
  const Dtype dtype = c.dtype("dtype"), outDtype = c.dtype("outDtype");
  if (dtype == Dtype::int8 && in > kMaxInt8Inputs)
    wrong("inFeatures", "be at most " + std::to_string(kMaxInt8Inputs) + " for int8", std::to_string(in));
  if (outDtype == Dtype::int8) wrong("outDtype", "be 'float32' or 'bfloat16'", "'int8'");
  const auto x = c.array<float>("x", {rowsOf(rows), rowsOf(in)});
  const auto weight = c.array<float>("weight", {rowsOf(out), rowsOf(in)});
  const auto bias = c.has("bias") ? c.array<float>("bias", {rowsOf(out)}) : Lent<const float>{};
  const auto residual =
      c.has("residual") ? c.array<float>("residual", {rowsOf(rows), rowsOf(out)}) : Lent<const float>{};
  const LentMatrix y = c.outputMatrix("out", rows, out, outDtype);
  const Dtype weights = c.has("weightDtype") ? c.Fields::dtype("weightDtype", kModelDtypes) : dtype;
  if (!c.backend().linear.has({weights, dtype}))
    wrong("weightDtype",
          std::string("be one that backend '") + c.backend().name + "' multiplies with " + nameOf(dtype),
          nameOf(weights));
  return c.run([=](const Backend& b, Context& context, Arrays& at) {
    const void* const w = packed(at, weight, in, out, weights);
    b.linear(context, {.x = castTo(at, x, rows, in, dtype),
                       .w = w,
                       .bias = at(bias),
                       .residual = residual.host ? at.dense(residual, out) : MatrixView{},
                       .y = at(y),
                       .rows = rows,
                       .in = in,
                       .out = out,
                       .activation = kind,
                       .weights = weights});
  });
}

Napi::Value layerNorm(KernelCall& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const double epsilon = c.number("epsilon");
  if (epsilon < 0) wrong("epsilon", "be at least 0", std::to_string(epsilon));
  const auto x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  const auto weight = c.array<float>("weight", {rowsOf(cols)});
  const auto bias = c.array<float>("bias", {rowsOf(cols)});
  const LentMatrix y = c.outputMatrix("out", rows, cols, c.dtype("outDtype"));
  return c.run([=](const Backend& b, Context& context, Arrays& at) {
    b.layerNorm(context, {.x = at.dense(x, cols),
                          .weight = at(weight),
                          .bias = at(bias),
                          .y = at(y),
                          .rows = rows,
                          .cols = cols,
                          .epsilon = static_cast<float>(epsilon)});
  });
}

Napi::Value infoNce(KernelCall& c) {
  const int rows = c.integer("rows"), dim = c.integer("dim");
  const float scale = static_cast<float>(c.number("logitScale"));
  const size_t n = rowsOf(rows), d = rowsOf(dim);
  const auto images = c.array<float>("images", {n, d});
  const auto texts = c.array<float>("texts", {n, d});
  const bool gradients = c.has("imagesGradient");
  const auto ofImages = gradients ? c.output<float>("imagesGradient", {n, d}) : Lent<float>{};
  const auto ofTexts = gradients ? c.output<float>("textsGradient", {n, d}) : Lent<float>{};
  double* const values = c.output<double>("values", {2}).host;  // loss, d loss / d scale
  return c.run([=](const Backend& b, Context& context, Arrays& at) {
    b.infoNce(context, {.images = at(images),
                        .texts = at(texts),
                        .rows = rows,
                        .dim = dim,
                        .scale = scale,
                        .loss = values,
                        .imagesGradient = at(ofImages),
                        .textsGradient = at(ofTexts),
                        .scaleGradient = values + 1});
  });
}

Napi::Value softmaxCrossEntropy(KernelCall& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const Dtype dtype = c.dtype("dtype"), outDtype = c.dtype("outDtype");
  for (const auto& [field, narrow] : {std::pair{"dtype", dtype}, {"outDtype", outDtype}})
    if (narrow == Dtype::int8) wrong(field, "be 'float32' or 'bfloat16'", "'int8'");
  // Rows that do not count may have any target.
  std::vector<int32_t> target = c.indices("targets", rowsOf(rows), INT32_MIN, INT32_MAX);
  const uint8_t* const mask = c.has("mask") ? c.typed<uint8_t>("mask", rowsOf(rows)).data : nullptr;
  int counted = 0;
  for (int r = 0; r < rows; ++r) {
    if (mask && !mask[r]) {
      target[r] = -1;
      continue;
    }
    counted++;
    if (target[r] < 0 || target[r] >= cols)
      wrong("targets[" + std::to_string(r) + "]", "be an integer from 0 to " + std::to_string(cols - 1),
            std::to_string(target[r]));
  }
  const float scale =
      c.has("scale") ? static_cast<float>(c.number("scale")) : 1 / static_cast<float>(counted);
  const LentMatrix x = c.matrix("logits", rows, cols, dtype);
  const auto loss = c.output<float>("loss", {rowsOf(rows)});
  const LentMatrix gradient =
      c.has("gradient") ? c.outputMatrix("gradient", rows, cols, outDtype) : LentMatrix{};
  double* const mean = c.output<double>("mean", {1}).host;
  return c.run([=, target = std::move(target)](const Backend& b, Context& context, Arrays& at) {
    b.softmaxCrossEntropy(context, {.x = at(x),
                                    .target = at(target),
                                    .loss = at(loss),
                                    .gradient = at(gradient),
                                    .rows = rows,
                                    .cols = cols,
                                    .scale = scale});
    at.giveBack();
    double sum = 0;
    for (int r = 0; r < rows; ++r) sum += double{loss.host[r]};
    *mean = sum / counted;  // NaN where no row counts
  });
}

Napi::Value resize(KernelCall& c) {
  constexpr int side = 1 << 20;
  const int width = c.integer("width", 1, side), height = c.integer("height", 1, side);
  const int channels = c.integer("channels", 1, 4);
  const int outWidth = c.integer("outWidth", 1, side), outHeight = c.integer("outHeight", 1, side);
  const Fields crop(c.value("crop"), "crop");
  const int x = crop.integer("x", 0, outWidth - 1), y = crop.integer("y", 0, outHeight - 1);
  const int w = crop.integer("width", 1, outWidth - x), h = crop.integer("height", 1, outHeight - y);
  const Filter filter = c.choice<Filter>(
      "filter", {{"nearest", Filter::nearest}, {"bilinear", Filter::bilinear}, {"bicubic", Filter::bicubic}});
  // Images are this process's on every backend.
  const uint8_t* const src = c.array<uint8_t>("src", {rowsOf(width), rowsOf(height), rowsOf(channels)}).host;
  uint8_t* const out = c.output<uint8_t>("out", {rowsOf(w), rowsOf(h), rowsOf(channels)}).host;
  return c.run([=](const Backend& b, Context& context, Arrays&) {
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

}  // namespace

const Backend& namedBackend(const Fields& fields) {
  if (!fields.has("backend")) return hostBackend();
  const std::string name = fields.string("backend");
  const Backend* const backend = findBackend(name);
  std::string why = "this build has none of that name";
  if (!backend || !backend->available(&why))
    throw Error{
        "ERR_CLIP_BACKEND", "Backend '" + name + "' is not available: " + why, {}, "backend", {}, name};
  return *backend;
}

const Backend& chosenBackend(const Fields& fields) {
  const Backend& backend = namedBackend(fields);
  if (!backend.plainMemory)
    throw Error{
        "ERR_CLIP_BACKEND",
        std::string("Backend '") + backend.name +
            "' computes on memory of its own, but this needs a backend that computes on the process's",
        {},
        "backend",
        {},
        backend.name};
  return backend;
}

Napi::Object makeKernels(Napi::Env env) {
  const Napi::Object o = Napi::Object::New(env);
  const auto add = [&](const char* name, Napi::Value (*op)(KernelCall&)) {
    o.Set(name, Napi::Function::New(
                    env,
                    [op](const Napi::CallbackInfo& info) {
                      return rejecting(info, [&]() -> Napi::Value {
                        KernelCall call(info);
                        return op(call);
                      });
                    },
                    name));
  };
  add("attention", attention);
  add("linear", linear);
  add("layerNorm", layerNorm);
  add("infoNce", infoNce);
  add("softmaxCrossEntropy", softmaxCrossEntropy);
  add("resize", resize);
  addCosineKernels(add);
#if CLIP_TEST_ENTRIES
  addTestKernels(add);
#endif
  return o;
}

}  // namespace clip::binding
