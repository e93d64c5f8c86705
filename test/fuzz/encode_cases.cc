#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>

#include "case_support.h"
#include "model/image.h"
#include "model/text_transformer.h"
#include "tiny_model.h"

namespace clip::fuzz {
namespace {

constexpr float kCanary = -12345.5f;

// Decoded pixels of any mode in a buffer of exactly their size, so that an access beyond it is a fault.
struct OwnedImage {
  std::unique_ptr<uint8_t[]> bytes;
  Image image;
};

OwnedImage anyImage(Choices& c, int64_t mostPixels) {
  OwnedImage p;
  Image& i = p.image;
  i.mode =
      c.pick({PixelMode::L, PixelMode::LA, PixelMode::RGB, PixelMode::RGBA, PixelMode::CMYK, PixelMode::I16});
  i.nearest = c.oneIn(5);
  i.width = c.oneIn(3) ? 1 + static_cast<int>(c.below(static_cast<uint64_t>(mostPixels))) : c.within(1, 90);
  i.height = c.within(1, std::max<int>(1, static_cast<int>(std::min<int64_t>(mostPixels / i.width, 120))));
  if (c.oneIn(2)) std::swap(i.width, i.height);
  const size_t n =
      static_cast<size_t>(i.width) * i.height * channelsOf(i.mode) * (i.mode == PixelMode::I16 ? 2 : 1);
  p.bytes = std::make_unique<uint8_t[]>(n);
  uint32_t state = static_cast<uint32_t>(c.below(1 << 16));
  const bool flat = c.oneIn(4);
  for (size_t k = 0; k < n; k++) {
    if (!flat) state = state * 1664525u + 1013904223u;
    p.bytes[k] = static_cast<uint8_t>(state >> 24);
  }
  i.data = p.bytes.get();
  return p;
}

// Some or all of the part that affects the result, or any rectangle, in a buffer without anything around it.
OwnedImage anyPart(Choices& c, const OwnedImage& whole, const PreprocessConfig& config) {
  const Image& i = whole.image;
  Part part = reachingPart(config, i.width, i.height);
  if (c.oneIn(3)) {
    part.left = static_cast<int>(c.below(i.width));
    part.top = static_cast<int>(c.below(i.height));
    part.width = c.within(1, i.width - part.left);
    part.height = c.within(1, i.height - part.top);
  } else if (c.oneIn(3)) {  // one column or row more or less on one side
    if (c.oneIn(2) && part.left > 0) part.left--, part.width++;
    if (c.oneIn(2) && part.height > 1) part.height--;
    if (c.oneIn(2) && part.left + part.width < i.width) part.width++;
    if (c.oneIn(2) && part.height > 1) part.top++, part.height--;
  }
  OwnedImage p;
  p.image = i;
  p.image.part = part;
  const size_t pixel = channelsOf(i.mode) * (i.mode == PixelMode::I16 ? 2 : 1), row = part.width * pixel;
  p.bytes = std::make_unique<uint8_t[]>(row * part.height);
  for (int y = 0; y < part.height; y++)
    std::memcpy(p.bytes.get() + y * row,
                i.data + (static_cast<size_t>(part.top + y) * i.width + part.left) * pixel, row);
  p.image.data = p.bytes.get();
  return p;
}

bool isPart(const Part& outer, const Part& inner) {
  return outer.left <= inner.left && outer.top <= inner.top &&
         outer.left + outer.width >= inner.left + inner.width &&
         outer.top + outer.height >= inner.top + inner.height;
}

Output anyOutput(Choices& c) { return c.pick({Output::embedding, Output::pooled, Output::tokens}); }

// `floats` numbers of results between canaries.
class Result {
 public:
  explicit Result(size_t floats) : values_(floats + 2, kCanary) {}
  float* data() { return values_.data() + 1; }
  void check() const {
    if (values_.front() != kCanary || values_.back() != kCanary) fault("wrote beside the result");
  }

 private:
  std::vector<float> values_;
};

void encodeImages(Model& m, Choices& c) {
  const int size = m.config().preprocess.size, count = c.within(0, 3);
  if (size > 64) return;  // a mutated patch size would take hours under the sanitizers
  std::vector<OwnedImage> owned;
  std::vector<std::vector<float>> planes;
  for (int i = 0; i < count; i++) {
    if (c.oneIn(3)) {
      planes.emplace_back(size_t{3} * size * size,
                          c.oneIn(4) ? std::numeric_limits<float>::quiet_NaN() : 0.5f);
      Image image;
      image.width = image.height = size;
      image.planes = planes.back().data();
      owned.push_back({nullptr, image});
    } else {
      owned.push_back(anyImage(c, 5000));
    }
  }
  std::vector<const Image*> images;
  for (const OwnedImage& p : owned) images.push_back(&p.image);
  const Output output = anyOutput(c);
  Result out(count * m.imageFloats(output));
  const bool stop = c.oneIn(30);
  guarded(
      [&] { m.encodeImages(images.data(), count, output, c.oneIn(2), out.data(), [&] { return stop; }); });
  out.check();
  if (count > 0) {
    Result one(size_t{3} * size * size);
    guarded([&] { m.preprocess(*images[0], one.data()); });
    one.check();
  }
}

void encodeTokens(Model& m, Choices& c) {
  const TextTransformerConfig& t = *m.config().text;
  const int texts = c.within(0, 5);
  std::vector<int32_t> lengths, ids;
  bool bad = false;
  for (int i = 0; i < texts; i++) {
    const int most = std::min(t.contextLength, 100);
    lengths.push_back(c.within(1, most));
    // Few different tokens, so that texts share prefixes.
    for (int k = 0; k < lengths.back(); k++)
      ids.push_back(static_cast<int32_t>(c.below(std::min(t.vocabSize, 3))));
  }
  if (texts > 0 && c.oneIn(4)) {
    ids[c.below(ids.size())] = c.hostileInt();
    for (const int32_t id : ids) bad = bad || id < 0 || id >= t.vocabSize;
  }
  if (texts > 0 && c.oneIn(8)) {  // longer than the context, with as many ids
    const int more = c.within(1, 20);
    lengths.back() = std::min(lengths.back(), t.contextLength) + more;
    if (lengths.back() > t.contextLength) bad = true;
    ids.resize(ids.size() + static_cast<size_t>(more));
  } else if (texts > 0 && c.oneIn(8)) {
    lengths[c.below(lengths.size())] = c.pick({0, -1, INT_MIN, INT_MAX});
    bad = true;
  }
  const Output output = anyOutput(c);
  size_t floats = 0;
  for (const int32_t n : lengths) bad = bad || n < 1 || n > t.contextLength;
  // A text that consists of masked ids only has no rows.
  const int32_t* text = ids.data();
  for (size_t i = 0; !bad && t.maskedId && i < lengths.size(); text += lengths[i++])
    bad = std::count(text, text + lengths[i], *t.maskedId) == lengths[i];
  std::vector<int32_t> rows = ids, rowCounts = lengths;
  if (!bad) {
    toTextRows(t, rows, rowCounts);
    floats = m.textFloats(output, rowCounts.data(), texts);
  }
  Result out(floats);
  const End end = guarded([&] {
    checkTexts(t, ids, lengths);
    m.encodeTexts(rows.data(), rowCounts.data(), texts, output, c.oneIn(2), out.data(), [] { return false; });
  });
  out.check();
  if (bad && end != End::refused) fault("a token or length out of range was taken");
  if (!bad && end == End::refused) fault("valid tokens were refused");
}

}  // namespace

void exercise(Model& m, Choices& c) {
  if (m.config().hasImageTower()) encodeImages(m, c);
  if (m.config().text) encodeTokens(m, c);
}

End imageCase(Choices& c) {
  const OwnedImage p = anyImage(c, 60000);
  PreprocessConfig config;
  config.size = c.oneIn(20) ? c.within(1, 400) : c.within(1, 48);
  config.filter = c.pick({Filter::bicubic, Filter::bilinear, Filter::nearest});
  config.mode = c.pick({PreprocessConfig::shortest, PreprocessConfig::squash, PreprocessConfig::longest});
  const size_t bytes = size_t{3} * config.size * config.size;
  std::unique_ptr<uint8_t[]> first;
  End end = End::done;
  const bool inParts = c.oneIn(2);
  for (const Backend* const* b = backends(); *b; b++) {
    if (!(*b)->available(nullptr)) continue;
    const auto rgb = std::make_unique<uint8_t[]>(bytes);
    Context* context = (*b)->open(1);
    end = guarded([&] { resizeAndCrop(**b, *context, config, p.image, rgb.get()); });
    if (end == End::done && inParts) {
      const OwnedImage part = anyPart(c, p, config);
      const auto fromPart = std::make_unique<uint8_t[]>(bytes);
      const End partEnd = guarded([&] { resizeAndCrop(**b, *context, config, part.image, fromPart.get()); });
      if (partEnd == End::done && std::memcmp(fromPart.get(), rgb.get(), bytes) != 0)
        fault(std::string("other pixels from a part on ") + (*b)->name);
      const bool mayBePart =
          !p.image.nearest &&
          (p.image.mode == PixelMode::RGB || p.image.mode == PixelMode::L || p.image.mode == PixelMode::CMYK);
      if (partEnd == End::refused && mayBePart &&
          isPart(part.image.part, reachingPart(config, p.image.width, p.image.height)))
        fault(std::string("a sufficient part was refused on ") + (*b)->name);
    }
    (*b)->close(context);
    if (end == End::refused) return end;  // too narrow, on every backend
    if (first && std::memcmp(first.get(), rgb.get(), bytes) != 0)
      fault(std::string("other pixels on ") + (*b)->name);
    if (!first)
      first = std::make_unique_for_overwrite<uint8_t[]>(bytes), std::memcpy(first.get(), rgb.get(), bytes);
  }
  return end;
}

End tokensCase(Choices& c) {
  // A few models for the whole run, because only the tokens vary. They are never destroyed, because at exit
  // their backend would be gone before them.
  static std::vector<std::unique_ptr<Model>>& models = *new std::vector<std::unique_ptr<Model>>;
  if (models.empty())
    for (uint64_t seed = 0; models.size() < 8; seed++) {
      SeededChoices own(seed);
      TinyModel m = tinyModel(own);
      if (!m.config.text) continue;
      m.config.files[0] = folder() + "/tokens";
      std::ofstream(m.config.files[0], std::ios::binary)
          .write(reinterpret_cast<const char*>(m.bytes.data()), static_cast<std::streamsize>(m.bytes.size()));
      const std::atomic<bool> cancel{false};
      models.push_back(Model::load(m.config, {.threads = 2}, cancel));
    }
  encodeTokens(*models[c.below(models.size())], c);
  return End::done;
}

const std::string& folder() {
  struct Folder {
    std::string path;
    Folder() {
      std::string name = (std::filesystem::temp_directory_path() / "clip-native-fuzz-XXXXXX").string();
      if (!mkdtemp(name.data())) fault("can't make a temporary folder");
      path = name;
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static const Folder f;
  return f.path;
}

}  // namespace clip::fuzz
