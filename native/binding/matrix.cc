// NativeMatrix: a matrix in a file, and cosineTopK on it. Methods are closures over the file, as in model.cc.
#include <atomic>

#include "binding/kernel_call.h"
#include "binding/surface.h"
#include "model/matrix_file.h"

namespace clip::binding {
namespace {

constexpr int64_t kMaxOffset = int64_t{1} << 53;
using File = std::shared_ptr<const MatrixFile>;

Napi::Value topK(KernelCall& c, const File& file) {
  const int rows = c.integer("rows"), k = c.integer("k", 1, file->shape().rows);
  const int64_t job = readInteger(c.value("job"), "job", 0, INT32_MAX);
  MatrixFile::Query query{
      .queries = c.array<float>("queries", {rowsOf(rows), rowsOf(file->shape().dim)}).host,
      .rows = rows,
      .scale = static_cast<float>(c.number("logitScale")),
      .score = c.choice<Score>("as", ops::kScores),
      .bias = ops::logitBias(c),
  };
  int32_t* const index = c.output<int32_t>("index", {rowsOf(rows), rowsOf(k)}).host;
  float* const value = c.output<float>("value", {rowsOf(rows), rowsOf(k)}).host;
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  c.cancellable(file.get(), job, [cancelled] { cancelled->store(true); });
  return c.runHere([=](const Backend& b, Context& context) {
    std::vector<TopK> best;
    best.reserve(rowsOf(rows));
    for (size_t r = 0; r < rowsOf(rows); ++r) best.push_back({value + r * k, index + r * k, k});
    file->topK(b, context.threads, query, best.data(), *cancelled);
  });
}

Napi::Value makeMatrix(Napi::Env env, const File& opened) {
  const Napi::Object o = Napi::Object::New(env);
  const auto file = std::make_shared<File>(opened);
  const auto add = [&](const char* name, std::function<Napi::Value(const Napi::CallbackInfo&)> body) {
    o.Set(name, Napi::Function::New(env, body, name));
  };
  add("topK", [file](const Napi::CallbackInfo& info) {
    return rejecting(info, [&]() -> Napi::Value {
      if (!*file) throw Error{"ERR_CLIP_DISPOSED", "This matrix was closed"};
      KernelCall call(info);
      return topK(call, *file);
    });
  });
  add("cancel", [file](const Napi::CallbackInfo& info) {
    return throwing(info, [&]() -> Napi::Value {
      if (*file) Environment::of(info.Env()).cancel(file->get(), readInteger(info[0], "job", 0, INT32_MAX));
      return info.Env().Undefined();
    });
  });
  // Running calls keep the file open until they are done.
  add("close", [file](const Napi::CallbackInfo& info) -> Napi::Value {
    file->reset();
    return info.Env().Undefined();
  });
  return o;
}

}  // namespace

Napi::Value openMatrix(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const Fields a(info[0], "");
    const std::string path = a.string("file");
    MatrixFile::Shape shape;
    shape.offset = static_cast<uint64_t>(readInteger(a.value("offset"), "offset", 0, kMaxOffset));
    shape.rows = a.integer("rows");
    shape.dim = a.integer("dim");
    shape.dtype = a.dtype("dtype", kRowDtypes);
    const auto opened = std::make_shared<File>();
    Environment::Call call;
    call.result = [opened](Napi::Env env) { return makeMatrix(env, *opened); };
    return Environment::of(info.Env()).beginOnPool(std::move(call), [=] {
      *opened = std::make_shared<const MatrixFile>(path, shape);
    });
  });
}

}  // namespace clip::binding
