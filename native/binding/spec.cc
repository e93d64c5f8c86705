// ModelSpec and PreprocessSpec of lib/checkpoint/spec.ts -> ModelConfig. The numbers come from a
// configuration file that somebody else wrote, so a bad one is ERR_CLIP_CONFIG; whether the tensors fit is
// checked when they are read.
#include <cmath>

#include "binding/convert.h"
#include "binding/surface.h"

namespace clip::binding {
namespace {

constexpr const char* config = "ERR_CLIP_CONFIG";
constexpr int kMaxDimension = 1 << 20;  // products of two stay far inside int64, tokens inside int

void readTransformer(const Fields& f, TransformerConfig& t) {
  t.width = f.integer("width", 1, kMaxDimension, config);
  t.layers = f.integer("layers", 0, 10000, config);
  t.heads = f.integer("heads", 1, t.width, config);
  if (t.width % t.heads)
    wrong(f.path("heads"), "divide the width " + std::to_string(t.width), std::to_string(t.heads), config);
  t.mlp = f.integer("mlp", 1, kMaxDimension, config);
  t.nonlinearity = f.choice<Nonlinearity>(
      "activation", {{"quickGelu", Nonlinearity::quickGelu}, {"gelu", Nonlinearity::gelu}});
  const double eps = f.number("layerNormEps");
  if (!(eps >= 0 && eps < 1))
    wrong(f.path("layerNormEps"), "be from 0 to 1", describe(f.value("layerNormEps")), config);
  t.layerNormEps = static_cast<float>(eps);
}

std::vector<int64_t> readSizes(Napi::Value value, const std::string& field, int64_t low) {
  const Napi::Array array = readArray(value, field);
  if (array.Length() > 8) wrong(field, "have at most 8 dimensions", std::to_string(array.Length()));
  std::vector<int64_t> sizes;
  for (uint32_t i = 0; i < array.Length(); ++i)
    sizes.push_back(readInteger(array.Get(i), field + "[" + std::to_string(i) + "]", low, int64_t{1} << 53));
  return sizes;
}

TensorView readTensor(Napi::Value value, const std::string& path, size_t files) {
  const Fields f(value, path);
  TensorView t;
  t.name = f.string("name");
  t.file = f.integer("file", 0, static_cast<int>(files) - 1);
  t.dtype = f.choice<Dtype>(
      "dtype",
      {{"F32", Dtype::float32}, {"F16", Dtype::float16}, {"BF16", Dtype::bfloat16}, {"F64", Dtype::float64}});
  t.shape = readSizes(f.value("shape"), f.path("shape"), 0);
  t.strides = readSizes(f.value("strides"), f.path("strides"), 0);
  if (t.shape.size() != t.strides.size())
    wrong(f.path("strides"), "have " + std::to_string(t.shape.size()) + " elements",
          std::to_string(t.strides.size()));
  t.offset = static_cast<uint64_t>(readInteger(f.value("offset"), f.path("offset"), 0, int64_t{1} << 53));
  return t;
}

void readTriple(const Fields& f, const char* key, float to[3], bool nonZero) {
  const Napi::Array array = readArray(f.value(key), f.path(key));
  if (array.Length() != 3) wrong(f.path(key), "have 3 elements", std::to_string(array.Length()), config);
  for (uint32_t i = 0; i < 3; ++i) {
    const std::string field = f.path(key) + "[" + std::to_string(i) + "]";
    to[i] = static_cast<float>(readNumber(array.Get(i), field));
    if (nonZero && !(to[i] > 0)) wrong(field, "be greater than 0", describe(array.Get(i)), config);
  }
}

}  // namespace

PreprocessConfig readPreprocess(Napi::Value value) {
  const Fields f(value, "preprocess");
  PreprocessConfig p;
  p.size = f.integer("size", 1, 16384, config);
  p.filter = f.choice<Filter>(
      "interpolation",
      {{"nearest", Filter::nearest}, {"bilinear", Filter::bilinear}, {"bicubic", Filter::bicubic}});
  p.mode = f.choice<PreprocessConfig::Mode>("mode", {{"shortest", PreprocessConfig::shortest},
                                                     {"squash", PreprocessConfig::squash},
                                                     {"longest", PreprocessConfig::longest}});
  readTriple(f, "mean", p.mean, false);
  readTriple(f, "std", p.std, true);
  return p;
}

ModelConfig readModelConfig(Napi::Value spec, Napi::Value preprocess) {
  const Fields f(spec, "spec");
  ModelConfig c;
  const Napi::Array files = readArray(f.value("files"), f.path("files"));
  const Napi::Array bytes = readArray(f.value("fileBytes"), f.path("fileBytes"));
  if (files.Length() == 0 || files.Length() != bytes.Length())
    wrong(f.path("fileBytes"), "have one size per file, at least one", std::to_string(bytes.Length()));
  for (uint32_t i = 0; i < files.Length(); ++i) {
    const std::string at = "[" + std::to_string(i) + "]";
    c.files.push_back(readString(files.Get(i), f.path("files") + at));
    if (c.files.back().find('\0') != std::string::npos)
      wrong(f.path("files") + at, "be a path without zero bytes", "one");
    c.fileBytes.push_back(
        static_cast<uint64_t>(readInteger(bytes.Get(i), f.path("fileBytes") + at, 0, int64_t{1} << 53)));
  }
  c.embedDim = f.integer("embedDim", 0, kMaxDimension, config);
  if (f.has("logitScale")) c.logitScale = static_cast<float>(f.number("logitScale"));
  if (f.has("image")) {
    const Fields g(f.value("image"), "spec.image");
    const std::string kind = g.string("kind");
    if (kind == "vit") {
      VisionConfig v;
      readTransformer(g, v);
      v.imageSize = g.integer("imageSize", 1, 16384, config);
      v.patchSize = g.integer("patchSize", 1, v.imageSize, config);
      c.image = v;
    } else if (kind == "modifiedResNet") {
      ResNetConfig r;
      r.imageSize = g.integer("imageSize", 32, 4096, config);
      r.width = g.integer("width", 2, 4096, config);
      r.heads = g.integer("heads", 1, 32 * r.width, config);
      const Napi::Array layers = readArray(g.value("layers"), g.path("layers"));
      if (layers.Length() != 4)
        wrong(g.path("layers"), "have 4 elements", std::to_string(layers.Length()), config);
      for (uint32_t i = 0; i < 4; ++i)
        r.layers[i] = static_cast<int>(readInteger(layers.Get(i), g.path("layers"), 1, 1024));
      c.resNet = r;
    } else {
      wrong(g.path("kind"), "be 'vit' or 'modifiedResNet'", "\"" + kind + "\"", config);
    }
  }
  if (f.has("text")) {
    const Fields g(f.value("text"), "spec.text");
    TextConfig t;
    readTransformer(g, t);
    t.contextLength = g.integer("contextLength", 1, kMaxDimension, config);
    t.vocabSize = g.integer("vocabSize", 1, 1 << 24, config);
    c.text = t;
  }
  if (!c.hasImageTower() && !c.text) wrong("spec", "have an image or a text tower", "neither");
  const Napi::Object tensors = readObject(f.value("tensors"), f.path("tensors"));
  const Napi::Array names = tensors.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = readString(names.Get(i), "spec.tensors");
    c.tensors.emplace(name, readTensor(tensors.Get(name), "spec.tensors." + name, c.files.size()));
  }
  c.preprocess = readPreprocess(preprocess);
  if (c.hasImageTower() && c.preprocess.size != c.imageSize())
    wrong("preprocess.size", "be the image tower's " + std::to_string(c.imageSize()),
          std::to_string(c.preprocess.size), config);
  return c;
}

}  // namespace clip::binding
