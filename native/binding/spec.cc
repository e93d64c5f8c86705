// Converts ModelSpec and PreprocessSpec of lib/native/spec.ts to ModelConfig and checks the types only.
// checkConfig checks the values, and whether the tensors fit is checked when they are read. The values come
// from a configuration file of unknown origin, so an invalid one is ERR_CLIP_CONFIG.
#include "binding/convert.h"
#include "binding/surface.h"

namespace clip::binding {
namespace {

constexpr const char* config = "ERR_CLIP_CONFIG";

int whole(const Fields& f, const char* key) { return f.integer(key, INT32_MIN, INT32_MAX, config); }

BlocksConfig readBlocks(const Fields& f) {
  BlocksConfig b;
  b.width = whole(f, "width");
  b.layers = whole(f, "layers");
  b.heads = whole(f, "heads");
  b.mlp = whole(f, "mlp");
  b.activation = f.choice<Activation>("activation", {{"quickGelu", Activation::quickGelu},
                                                     {"gelu", Activation::gelu},
                                                     {"geluTanh", Activation::geluTanh},
                                                     {"relu", Activation::relu}});
  b.layerNormEps = static_cast<float>(f.number("layerNormEps"));
  if (f.has("gate")) b.gate = f.choice<Gating>("gate", {{"silu", Gating::silu}, {"gelu", Gating::gelu}});
  b.innerNorms = f.has("innerNorms") && f.boolean("innerNorms");
  b.postNorm = f.has("postNorm") && f.boolean("postNorm");
  return b;
}

// Reads what both kinds of transformer towers have in common; the caller reads their embeddings.
void readTransformer(const Fields& f, TransformerConfig& t) {
  t.preNorm = f.boolean("preNorm");
  t.mask = f.choice<Mask>("mask", {{"full", Mask::full}, {"causal", Mask::causal}});
  t.blocks = readBlocks(Fields(f.value("blocks"), f.path("blocks")));
  t.pool = f.choice<PoolKind>("pool", {{"first", PoolKind::first},
                                       {"mean", PoolKind::mean},
                                       {"attention", PoolKind::attention},
                                       {"last", PoolKind::last},
                                       {"argmax", PoolKind::argmax},
                                       {"eos", PoolKind::eos}});
  t.project = f.choice<Projection>("project", {{"none", Projection::none},
                                               {"matrix", Projection::matrix},
                                               {"identity", Projection::identity},
                                               {"mlp", Projection::mlp}});
  t.finalNorm = !f.has("finalNorm") || f.boolean("finalNorm");
  if (t.project == Projection::mlp) {
    const Fields mlp(f.value("projectionMlp"), f.path("projectionMlp"));
    t.projectionMlp = {
        whole(mlp, "hidden"),
        mlp.choice<Activation>("activation", {{"none", Activation::none}, {"gelu", Activation::gelu}})};
  }
}

// Reads the tower's embedding, which must be of the given kind.
Fields readEmbed(const Fields& tower, const std::string& kind) {
  Fields f(tower.value("embed"), tower.path("embed"));
  const std::string is = f.string("kind");
  if (is != kind) wrong(f.path("kind"), "be '" + kind + "'", "\"" + is + "\"", config);
  return f;
}

ImageTransformerConfig readImageTransformer(const Fields& f) {
  ImageTransformerConfig c;
  readTransformer(f, c);
  const Fields embed = readEmbed(f, "patches");
  c.imageSize = whole(embed, "imageSize");
  c.patchSize = whole(embed, "patchSize");
  c.classToken = embed.boolean("classToken");
  c.classPosition = !embed.has("classPosition") || embed.boolean("classPosition");
  if (embed.has("stem")) {
    const Napi::Array stem = readArray(embed.value("stem"), embed.path("stem"));
    if (stem.Length() != 2)
      wrong(embed.path("stem"), "have 2 elements", std::to_string(stem.Length()), config);
    for (uint32_t i = 0; i < 2; ++i)
      c.stem[i] =
          static_cast<int>(readInteger(stem.Get(i), embed.path("stem"), INT32_MIN, INT32_MAX, config));
  }
  if (embed.has("rope")) {
    const Fields rope(embed.value("rope"), embed.path("rope"));
    c.rope = {.offset = whole(rope, "offset"),
              .reference = whole(rope, "reference"),
              .columnFirst = rope.choice<bool>("first", {{"row", false}, {"column", true}})};
  }
  c.normFirst = f.has("normFirst") && f.boolean("normFirst");
  if (c.pool == PoolKind::attention) {
    const Fields pool(f.value("attentionPool"), f.path("attentionPool"));
    c.attentionPool = {whole(pool, "heads"), whole(pool, "mlp")};
  }
  return c;
}

TextTransformerConfig readTextTransformer(const Fields& f) {
  TextTransformerConfig c;
  readTransformer(f, c);
  const Fields embed = readEmbed(f, "tokens");
  c.contextLength = whole(embed, "contextLength");
  c.vocabSize = whole(embed, "vocabSize");
  if (embed.has("padId")) c.padId = whole(embed, "padId");
  if (embed.has("maskedId")) c.maskedId = whole(embed, "maskedId");
  if (embed.has("tokenScale")) c.tokenScale = static_cast<float>(embed.number("tokenScale"));
  if (embed.has("sinusoid")) c.sinusoid = whole(embed, "sinusoid");
  if (c.pool == PoolKind::eos) c.endId = whole(embed, "endId");
  return c;
}

ResNetConfig readResNet(const Fields& f) {
  ResNetConfig r;
  r.imageSize = whole(f, "imageSize");
  r.width = whole(f, "width");
  r.heads = whole(f, "heads");
  const Napi::Array layers = readArray(f.value("layers"), f.path("layers"));
  if (layers.Length() != 4)
    wrong(f.path("layers"), "have 4 elements", std::to_string(layers.Length()), config);
  for (uint32_t i = 0; i < 4; ++i)
    r.layers[i] =
        static_cast<int>(readInteger(layers.Get(i), f.path("layers"), INT32_MIN, INT32_MAX, config));
  return r;
}

ConvNextConfig readConvNext(const Fields& f) {
  ConvNextConfig c;
  c.imageSize = whole(f, "imageSize");
  c.patchSize = whole(f, "patchSize");
  c.layerNormEps = static_cast<float>(f.number("layerNormEps"));
  if (f.has("headMlp")) c.headMlp = whole(f, "headMlp");
  const Napi::Array stages = readArray(f.value("stages"), f.path("stages"));
  if (stages.Length() != ConvNextConfig::kStages)
    wrong(f.path("stages"), "have 4 elements", std::to_string(stages.Length()), config);
  for (uint32_t i = 0; i < ConvNextConfig::kStages; ++i) {
    const Fields stage(stages.Get(i), f.path("stages") + "[" + std::to_string(i) + "]");
    c.stages[i] = {whole(stage, "width"), whole(stage, "layers"), whole(stage, "mlp")};
  }
  return c;
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

void readTriple(const Fields& f, const char* key, float to[3]) {
  const Napi::Array array = readArray(f.value(key), f.path(key));
  if (array.Length() != 3) wrong(f.path(key), "have 3 elements", std::to_string(array.Length()), config);
  for (uint32_t i = 0; i < 3; ++i)
    to[i] = static_cast<float>(readNumber(array.Get(i), f.path(key) + "[" + std::to_string(i) + "]"));
}

}  // namespace

PreprocessConfig readPreprocess(Napi::Value value) {
  const Fields f(value, "preprocess");
  PreprocessConfig p;
  p.size = whole(f, "size");
  p.filter = f.choice<Filter>(
      "interpolation",
      {{"nearest", Filter::nearest}, {"bilinear", Filter::bilinear}, {"bicubic", Filter::bicubic}});
  p.mode = f.choice<PreprocessConfig::Mode>("mode", {{"shortest", PreprocessConfig::shortest},
                                                     {"squash", PreprocessConfig::squash},
                                                     {"longest", PreprocessConfig::longest}});
  readTriple(f, "mean", p.mean);
  readTriple(f, "std", p.std);
  return p;
}

ModelConfig readModelConfig(Napi::Value spec, Napi::Value preprocess) {
  const Fields f(spec, "spec");
  ModelConfig c;
  const Napi::Array files = readArray(f.value("files"), f.path("files"));
  const Napi::Array bytes = readArray(f.value("fileBytes"), f.path("fileBytes"));
  if (files.Length() == 0 || files.Length() != bytes.Length())
    wrong(f.path("fileBytes"), "contain one size per file, and at least one", std::to_string(bytes.Length()));
  for (uint32_t i = 0; i < files.Length(); ++i) {
    const std::string at = "[" + std::to_string(i) + "]";
    c.files.push_back(readString(files.Get(i), f.path("files") + at));
    if (c.files.back().find('\0') != std::string::npos)
      wrong(f.path("files") + at, "be a path without zero bytes", "one");
    c.fileBytes.push_back(
        static_cast<uint64_t>(readInteger(bytes.Get(i), f.path("fileBytes") + at, 0, int64_t{1} << 53)));
  }
  c.embedDim = whole(f, "embedDim");
  if (f.has("image")) {
    const Fields g(f.value("image"), "spec.image");
    const std::string kind = g.string("kind");
    if (kind == "transformer")
      c.image = readImageTransformer(g);
    else if (kind == "modifiedResNet")
      c.resNet = readResNet(g);
    else if (kind == "convNext")
      c.convNext = readConvNext(g);
    else
      wrong(g.path("kind"), "be 'transformer', 'modifiedResNet' or 'convNext'", "\"" + kind + "\"", config);
  }
  if (f.has("text")) c.text = readTextTransformer(Fields(f.value("text"), "spec.text"));
  const Napi::Object tensors = readObject(f.value("tensors"), f.path("tensors"));
  const Napi::Array names = tensors.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = readString(names.Get(i), "spec.tensors");
    c.tensors.emplace(name, readTensor(tensors.Get(name), "spec.tensors." + name, c.files.size()));
  }
  c.preprocess = readPreprocess(preprocess);
  return c;
}

}  // namespace clip::binding
