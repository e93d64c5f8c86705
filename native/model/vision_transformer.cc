#include "model/vision_transformer.h"

#include <algorithm>

#include "model/transformer.h"

namespace clip {
namespace {

// Which rows the ops read, for images of `tokens` rows each: the class token, then the patches. Those behind
// the first n are padding.
struct Indices {
  std::vector<int32_t> id, position, first, classRow;
  Indices(int n, int images, int tokens) {
    const int patches = tokens - 1;
    for (int i = 0; i < images; i++) {
      classRow.push_back(i * tokens);
      for (int t = 0; t < tokens; t++) {
        // row 0 of the table is the class token
        id.push_back(i >= n ? -1 : t == 0 ? 0 : 1 + i * patches + t - 1);
        position.push_back(t);
        first.push_back(i >= n ? -1 : i * tokens);
      }
    }
  }
};

}  // namespace

bool encodeImageBatch(const Pass& pass, const VisionConfig& c, const VisionWeights& w, int embedDim,
                      const ImageBatch& batch, float* const* out) {
  Arena& arena = pass.arena;
  const Backend& backend = pass.backend;
  const Ops ops(backend, pass.context);
  const int images = backend.bucket(batch.count()), tokens = c.tokens(), patches = tokens - 1,
            rows = images * tokens;
  const int patchValues = 3 * c.patchSize * c.patchSize;
  const bool all = pass.output == Output::tokens, joint = pass.output == Output::embedding;

  // What comes from outside.
  const UploadedImages uploaded(pass, batch, images, c.imageSize);
  const Indices index(batch.count(), images, tokens);
  const int32_t* id = arena.copy(index.id);
  const int32_t* position = arena.copy(index.position);
  const int32_t* classRow = arena.copy(index.classRow);
  const Sequences sequences{
      .rows = rows, .mask = Mask::full, .first = arena.copy(index.first), .parent = nullptr};

  // Where the steps write. The patches are read before the blocks begin.
  const Activations patch = arena.rows(images * patches, patchValues, w.patch.dtype);
  const Activations table = arena.rows(1 + images * patches, c.width, Dtype::float32);
  TransformerBuffers buffers(arena, c, rows, pass.dtype);
  const Activations embedded = arena.rows(rows, c.width, Dtype::float32);
  const int results = all ? rows : images;
  const Activations normed = arena.rows(results, c.width, Dtype::float32);
  const Activations embedding = arena.rows(images, embedDim, Dtype::float32);

  bool finished = true;
  const Plan plan = planOf(pass, Plan::image, rows, images, tokens, uploaded.calls());
  if (!backend.begin(pass.context, plan)) {
    // p = each image cut into patches of (3, patch, patch)
    uploaded.cut(pass, c.patchSize, patch);
    // position[0] is 0: the one row of the class token
    // e = [class; p W_patch]: the patch convolution as a matrix product
    ops.gather({.data = const_cast<float*>(w.classToken), .stride = table.stride}, position, table, 1,
               c.width);
    ops.linear(patch, w.patch, rowsFrom(table, 1), images * patches);
    // x = LN_pre(e + position)
    backend.embed(pass.context, {.table = table.data,
                                 .tableStride = table.stride,
                                 .tableDtype = Dtype::float32,
                                 .ids = id,
                                 .positions = w.position,
                                 .position = position,
                                 .y = embedded,
                                 .rows = rows,
                                 .cols = c.width});
    ops.layerNorm(embedded, w.preNorm, buffers.x, rows, c);
    // x = the blocks; of the last one only the class token's row, unless all are asked for
    const Pooled pooled = all ? Pooled{} : Pooled{.count = images, .row = classRow};
    Activations x;
    finished = runBlocks(ops, arena, c, w.blocks, sequences, pooled, buffers, pass.stopped, x);
    if (finished) {
      // y = LN_post(x)
      ops.layerNorm(x, w.postNorm, normed, results, c);
      // z = y W_projection
      if (joint) ops.linear(normed, w.projection, embedding, images);
      // z / |z|
      if (pass.normalise) ops.normalise(joint ? embedding : normed, results, joint ? embedDim : c.width);
    }
  }
  backend.end(pass.context, finished);
  if (!finished) return false;

  const int columns = joint ? embedDim : c.width, perImage = all ? tokens : 1;
  deliver(pass, joint ? embedding : normed, batch.count(), perImage, columns, out);
  return true;
}

}  // namespace clip
