#include "model/vision_transformer.h"

#include "model/ops.h"
#include "model/transformer_tower.h"
#include "model/windows.h"

namespace clip {
namespace {

// The rows of images with `tokens` rows each: the class token if there is one, then the patches. Images after
// the first n are padding.
TowerRows rowsOf(const ImageTransformerConfig& c, int n, int images) {
  const int tokens = c.tokens(), patches = c.patches(), first = tokens - patches;
  TowerRows rows{.results = images,
                 .usedRows = n * tokens,
                 .usedResults = n,
                 .tower = GraphKey::image,
                 .longest = tokens};
  for (int i = 0; i < images; i++)
    for (int t = 0; t < tokens; t++) {
      // The class token is row 0 of the table; it is not rotated.
      rows.id.push_back(i >= n ? -1 : t < first ? 0 : first + i * patches + t - first);
      rows.position.push_back(t);
      if (c.rope) rows.angle.push_back(t - first);
      rows.first.push_back(i >= n ? -1 : i * tokens);
      // The attention pool asks from the first row.
      if (c.pool == PoolKind::mean ? t >= first : t == 0) rows.pooled.push_back(i * tokens + t);
    }
  return rows;
}

// MobileCLIP's stem: three products with GELU between them. Each takes the 2 x 2 windows of the one before.
class Stem {
 public:
  Stem(Arena& arena, const ImageTransformerConfig& c, const ImageTransformerWeights& w, int images,
       Dtype dtype)
      : w_(w) {
    int side = c.imageSize / ImageTransformerConfig::kStemPatch;
    patch_ = arena.rows(images * side * side, w.stem[0].in, rowDtype(dtype));
    patchIn_ = dtype == Dtype::int8 ? arena.rows(images * side * side, w.stem[0].in, dtype) : patch_;
    for (Step& step : steps_) {
      const int i = static_cast<int>(&step - steps_), width = w.stem[i].out;
      step.pixels = images * side * side;
      step.windows = arena.copy(windowRows(images, side));
      step.map = arena.rows(step.pixels, width, Dtype::float32);
      step.window = {.data = arena.take(static_cast<size_t>(step.pixels) * width * sizeof(float)),
                     .stride = static_cast<size_t>(4 * width) * sizeof(float)};
      step.windowIn = dtype == Dtype::float32 ? step.window : arena.rows(step.pixels / 4, 4 * width, dtype);
      side /= 2;
    }
  }
  void run(const Pass& pass, const Ops& ops, const UploadedImages& images, const MatrixView& y) const {
    images.cut(pass, ImageTransformerConfig::kStemPatch, patch_);
    MatrixView x = ops.as(patch_, patchIn_, steps_[0].pixels, w_.stem[0].in);
    for (const Step& step : steps_) {
      const LinearWeight& stem = w_.stem[&step - steps_];
      ops.linear(x, stem, step.map, step.pixels, Activation::gelu);
      MatrixView tap = step.window;
      tap.stride /= 4;
      ops.gather(step.map, step.windows, tap, step.pixels, stem.out);
      x = ops.as(step.window, step.windowIn, step.pixels / 4, 4 * stem.out);
    }
    ops.linear(x, w_.patch, y, steps_[1].pixels / 4);
  }

 private:
  struct Step {
    int pixels = 0;
    const int32_t* windows = nullptr;
    MatrixView map, window, windowIn;
  };
  const ImageTransformerWeights& w_;
  MatrixView patch_, patchIn_;
  Step steps_[2];
};

}  // namespace

bool encodeImageBatch(const Pass& pass, const ImageTransformerConfig& c, const ImageTransformerWeights& w,
                      const ImageBatch& batch, float* const* out) {
  const int images = pass.backend.bucket(batch.count()), patches = images * c.patches(),
            width = c.blocks.width, first = c.classToken ? 1 : 0;
  const UploadedImages uploaded(pass, batch, images, c.imageSize);
  TowerRows rows = rowsOf(c, batch.count(), images);
  rows.calls = uploaded.calls();
  const int32_t* zero = pass.arena.copy(std::vector<int32_t>{0});
  std::optional<Stem> stem;
  MatrixView patch;
  if (c.stem[0])
    stem.emplace(pass.arena, c, w, images, pass.dtype);
  else
    patch = pass.arena.rows(patches, 3 * c.patchSize * c.patchSize, w.patch.format.rows);
  const MatrixView table = pass.arena.rows(first + patches, width, Dtype::float32);

  const std::optional<HostRows> results = runTransformer(pass, c, w, rows, [&](const Ops& ops) {
    // p = each image cut into patches of (3, patch, patch)
    if (!stem) uploaded.cut(pass, c.patchSize, patch);
    // [class; p W_patch]: the patch convolution as a matrix product
    if (c.classToken)
      ops.gather({.data = const_cast<float*>(w.classToken), .stride = table.stride}, zero, table, 1, width);
    if (stem)
      stem->run(pass, ops, uploaded, rowsFrom(table, first));
    else
      ops.linear(patch, w.patch, rowsFrom(table, first), patches);
    return RowTable{.data = table.data, .stride = table.stride, .dtype = Dtype::float32};
  });
  if (!results) return false;
  deliver(*results, batch.count(), pass.output == Output::tokens ? c.tokens() : 1, out);
  return true;
}

}  // namespace clip
