// Kernels that go row by row, and those that compare rows with each other.
#include "cosine.h"
#include "rows.h"
#include "timing_support.h"

namespace clip::cuda::timing {
namespace {

std::string size(int a, int b) { return std::to_string(a) + " x " + std::to_string(b); }

// The residual stream of 64 images of ViT-B/32; its pooled rows.
int rowsOf(const Bench& b) { return b.small ? 5 : 3200; }
int pooledOf(const Bench& b) { return b.small ? 3 : 64; }
int widthOf(const Bench& b) { return b.small ? 40 : 768; }
int dimOf(const Bench& b) { return b.small ? 24 : 512; }

// FLOPs of a number: as in cuda/report.md.
Work layerNorm(Bench& b) {
  const int rows = rowsOf(b), cols = widthOf(b);
  const LayerNorm call{.x = b.matrix(rows, cols, Dtype::float32),
                       .weight = b.floats(static_cast<size_t>(cols)),
                       .bias = b.floats(static_cast<size_t>(cols)),
                       .y = b.matrix(rows, cols, Dtype::bfloat16),
                       .rows = rows,
                       .cols = cols,
                       .epsilon = 1e-5f};
  return {size(rows, cols) + " to bfloat16", 8. * rows * cols, 6. * rows * cols + 8. * cols, false,
          b.launching(launchOf(call), call)};
}

Work normalise(Bench& b) {
  const int rows = pooledOf(b), cols = dimOf(b);
  const Normalise call{.x = b.matrix(rows, cols, Dtype::float32),
                       .y = b.matrix(rows, cols, Dtype::float32),
                       .rows = rows,
                       .cols = cols};
  return {size(rows, cols), 3. * rows * cols, 8. * rows * cols, false, b.launching(launchOf(call), call)};
}

Work convert(Bench& b) {
  const int rows = rowsOf(b), cols = widthOf(b);
  const Convert call{.x = b.matrix(rows, cols, Dtype::float32),
                     .y = b.matrix(rows, cols, Dtype::bfloat16),
                     .rows = rows,
                     .cols = cols};
  return {size(rows, cols) + " to bfloat16", 0, 6. * rows * cols, false, b.launching(launchOf(call), call)};
}

Work embed(Bench& b) {
  const int rows = rowsOf(b), cols = widthOf(b), tokens = b.small ? 3 : 50;
  const Activations table = b.matrix(rows, cols, Dtype::float32);
  std::vector<int32_t> id, at;
  for (int r = 0; r < rows; r++) id.push_back(r), at.push_back(r % tokens);
  const Embed call{.table = table.data,
                   .tableStride = table.stride,
                   .tableDtype = Dtype::float32,
                   .ids = b.copy(id),
                   .positions = b.floats(static_cast<size_t>(tokens) * cols),
                   .position = b.copy(at),
                   .y = b.matrix(rows, cols, Dtype::float32),
                   .rows = rows,
                   .cols = cols};
  return {size(rows, cols), 1. * rows * cols, 12. * rows * cols, false, b.launching(launchOf(call), call)};
}

Work gather(Bench& b) {
  const int rows = rowsOf(b), count = pooledOf(b), cols = widthOf(b);
  std::vector<int32_t> row;
  for (int i = 0; i < count; i++) row.push_back(i * (rows / count));
  const Gather call{.x = b.matrix(rows, cols, Dtype::float32),
                    .row = b.copy(row),
                    .y = b.matrix(count, cols, Dtype::float32),
                    .count = count,
                    .cols = cols};
  return {size(count, cols), 0, 8. * count * cols, false, b.launching(launchOf(call), call)};
}

Work patches(Bench& b) {
  const int images = b.small ? 1 : 64, side = b.small ? 8 : 224, patch = b.small ? 4 : 32;
  const int rows = images * (side / patch) * (side / patch), cols = 3 * patch * patch;
  const Patches call{.pixels = static_cast<const uint8_t*>(
                         b.numbers((static_cast<size_t>(rows) * cols + 3) / 4, Dtype::float32)),
                     .value = b.floats(3 * 256),
                     .planes = nullptr,
                     .y = b.matrix(rows, cols, Dtype::bfloat16),
                     .images = images,
                     .size = side,
                     .patch = patch};
  return {size(images, side) + ", patches of " + std::to_string(patch), 0, 3. * rows * cols, false,
          b.launching(launchOf(call), call)};
}

// Before RN50's second layer, 16 images.
Work pool(Bench& b) {
  const int images = b.small ? 1 : 16, side = b.small ? 6 : 56, channels = b.small ? 8 : 256;
  const int pixels = images * side * side;
  const Pooling call{.x = b.matrix(pixels, channels, Dtype::float32),
                     .y = b.matrix(pixels / 4, channels, Dtype::bfloat16),
                     .images = images,
                     .height = side,
                     .width = side,
                     .channels = channels,
                     .kernelHeight = 2,
                     .kernelWidth = 2};
  return {std::to_string(images) + " x " + size(side, side) + " x " + std::to_string(channels) + " by 2",
          1. * pixels * channels, 4. * pixels * channels + 0.5 * pixels * channels, false,
          b.launching(launchOf(call), call)};
}

// A batch of texts, each token's logits over OpenAI's vocabulary.
Work softmaxCrossEntropy(Bench& b) {
  const int rows = pooledOf(b), cols = b.small ? 70 : 49408;
  std::vector<int32_t> target;
  for (int r = 0; r < rows; r++) target.push_back(r * 31 % cols);
  const SoftmaxCrossEntropy call{.x = b.matrix(rows, cols, Dtype::float32),
                                 .target = b.copy(target),
                                 .loss = b.floats(static_cast<size_t>(rows)),
                                 .gradient = b.matrix(rows, cols, Dtype::float32),
                                 .rows = rows,
                                 .cols = cols,
                                 .scale = 1};
  return {size(rows, cols), 8. * rows * cols, 8. * rows * cols, false, b.launching(launchOf(call), call)};
}

// 64 images and ImageNet's classes.
CosineSoftmax softmaxCall(Bench& b) {
  const int rows = pooledOf(b), dim = dimOf(b), classes = b.small ? 30 : 1000;
  return {.queries = nullptr,
          .classes = {.data = b.floats(static_cast<size_t>(classes) * dim)},
          .y = b.floats(static_cast<size_t>(rows) * classes),
          .rows = rows,
          .classCount = classes,
          .dim = dim,
          .scale = 100,
          .score = Score::probability};
}
Work scores(Bench& b) {
  const CosineSoftmax c = softmaxCall(b);
  const float* const unit = b.floats(static_cast<size_t>(c.rows) * c.dim);
  const double products = double{1} * c.rows * c.classCount;
  return {size(c.rows, c.classCount) + " x " + std::to_string(c.dim),
          2 * products * c.dim + 2. * c.classCount * c.dim,
          4. * (c.rows + c.classCount) * c.dim + 4 * products, false,
          b.launching(cosineScoresLaunch(c), c, unit)};
}
Work softmaxRows(Bench& b) {
  const CosineSoftmax c = softmaxCall(b);
  const double scores = double{1} * c.rows * c.classCount;
  return {size(c.rows, c.classCount), 4 * scores, 8 * scores, false, b.launching(softmaxRowsLaunch(c), c)};
}

// An image and a hundred thousand classes.
struct Ranking {
  TopClasses c;
  TopKScratch scratch;
};
Ranking ranking(Bench& b) {
  const int classes = b.small ? 1100 : 100000, dim = b.small ? 8 : 512, k = 5;
  const int chunks = chunksOf(classes);
  const auto n = static_cast<size_t>(chunks);
  return {.c = {.queries = nullptr,
                .classes = {.data = b.floats(static_cast<size_t>(classes) * dim)},
                .index = static_cast<int32_t*>(b.zeros(4 * k)),
                .value = static_cast<float*>(b.zeros(4 * k)),
                .rows = 1,
                .classCount = classes,
                .dim = dim,
                .k = k,
                .scale = 100,
                .score = Score::probability},
          .scratch = {.unit = b.floats(static_cast<size_t>(dim)),
                      .sums = {static_cast<float*>(b.zeros(4 * n)), static_cast<float*>(b.zeros(4 * n))},
                      .value = static_cast<float*>(b.zeros(4 * n * k)),
                      .index = static_cast<int32_t*>(b.zeros(4 * n * k)),
                      .head = static_cast<int32_t*>(b.zeros(4 * n))}};
}
Work topK(Bench& b) {
  const Ranking r = ranking(b);
  const double products = double{1} * r.c.classCount * r.c.dim;
  return {"1 x " + size(r.c.classCount, r.c.dim) + ", the best 5", 4 * products, 4 * products, false,
          b.launching(cosineTopKLaunch(r.c), r.c, r.scratch)};
}
Work topKMerge(Bench& b) {
  const Ranking r = ranking(b);
  b.stream().run(b.launching(cosineTopKLaunch(r.c), r.c, r.scratch));
  const int chunks = chunksOf(r.c.classCount);
  return {std::to_string(chunks) + " lists of 5", 0, 4. * chunks * (2 + 2 * 5), false,
          b.launching(cosineTopKMergeLaunch(r.c), r.c, r.scratch)};
}

struct Loss {
  InfoNce n;
  InfoNceScratch scratch;
};
Loss loss(Bench& b) {
  const int rows = b.small ? 9 : 1024, dim = b.small ? 8 : 512;
  const auto n = static_cast<size_t>(rows) * chunksOf(rows), values = static_cast<size_t>(rows) * dim;
  const auto sums = [&] { return ChunkSums{b.floats(n), b.floats(n)}; };
  return {
      .n = {.images = b.floats(values),
            .texts = b.floats(values),
            .rows = rows,
            .dim = dim,
            .scale = 20,
            .loss = nullptr,
            .imagesGradient = nullptr,
            .textsGradient = nullptr,
            .scaleGradient = nullptr},
      .scratch = {
          .sums = {sums(), sums()}, .diagonal = b.floats(static_cast<size_t>(rows)), .loss = b.floats(1)}};
}
Work infoNce(Bench& b) {
  const Loss l = loss(b);
  return {size(l.n.rows, l.n.dim) + " pairs", 4. * l.n.rows * l.n.rows * l.n.dim, 8. * l.n.rows * l.n.dim,
          false, b.launching(infoNceLaunch(l.n), l.n, l.scratch)};
}
Work infoNceLoss(Bench& b) {
  const Loss l = loss(b);
  return {std::to_string(l.n.rows) + " pairs", 0, 20. * l.n.rows, false,
          b.launching(infoNceLossLaunch(), l.n, l.scratch)};
}

}  // namespace

void addRows(std::vector<Case>& cases) {
  cases.push_back({"clip_layer_norm", layerNorm});
  cases.push_back({"clip_normalise", normalise});
  cases.push_back({"clip_convert", convert});
  cases.push_back({"clip_embed", embed});
  cases.push_back({"clip_gather", gather});
  cases.push_back({"clip_patches", patches});
  cases.push_back({"clip_pool", pool});
  cases.push_back({"clip_softmax_cross_entropy", softmaxCrossEntropy});
  cases.push_back({"clip_cosine_scores", scores});
  cases.push_back({"clip_softmax_rows", softmaxRows});
  cases.push_back({"clip_cosine_top_k", topK});
  cases.push_back({"clip_cosine_top_k_merge", topKMerge});
  cases.push_back({"clip_info_nce", infoNce});
  cases.push_back({"clip_info_nce_loss", infoNceLoss});
}

}  // namespace clip::cuda::timing
