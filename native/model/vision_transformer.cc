#include "model/vision_transformer.h"

#include "model/transformer_tower.h"

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

}  // namespace

bool encodeImageBatch(const Pass& pass, const ImageTransformerConfig& c, const ImageTransformerWeights& w,
                      const ImageBatch& batch, float* const* out) {
  const int images = pass.backend.bucket(batch.count()), patches = images * c.patches(),
            width = c.blocks.width, first = c.classToken ? 1 : 0;
  const UploadedImages uploaded(pass, batch, images, c.imageSize);
  TowerRows rows = rowsOf(c, batch.count(), images);
  rows.calls = uploaded.calls();
  const int32_t* zero = pass.arena.copy(std::vector<int32_t>{0});
  const MatrixView patch = pass.arena.rows(patches, 3 * c.patchSize * c.patchSize, w.patch.format.rows);
  const MatrixView table = pass.arena.rows(first + patches, width, Dtype::float32);

  const std::optional<HostRows> results = runTransformer(pass, c, w, rows, [&](const Ops& ops) {
    // p = each image cut into patches of (3, patch, patch)
    uploaded.cut(pass, c.patchSize, patch);
    // [class; p W_patch]: the patch convolution as a matrix product
    if (c.classToken)
      ops.gather({.data = const_cast<float*>(w.classToken), .stride = table.stride}, zero, table, 1, width);
    ops.linear(patch, w.patch, rowsFrom(table, first), patches);
    return RowTable{.data = table.data, .stride = table.stride, .dtype = Dtype::float32};
  });
  if (!results) return false;
  deliver(*results, batch.count(), pass.output == Output::tokens ? c.tokens() : 1, out);
  return true;
}

}  // namespace clip
