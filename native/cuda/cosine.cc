// The ops that compare rows on the device with each other.
#include <algorithm>
#include <limits>
#include <vector>

#include "context.h"
#include "cosine.h"
#include "ops.h"
#include "top_k.h"

namespace clip::cuda::ops {
namespace {

// The queries, normalized to length 1, in scratch memory.
float* unitQueries(Stream& stream, const float* queries, int rows, int dim) {
  const size_t bytes = static_cast<size_t>(rows) * dim * sizeof(float);
  float* const unit = stream.scratch(Stream::queryUnits, bytes)->as<float>();
  const Normalise n = denseNormalise(queries, unit, rows, dim);
  stream.run(launchOf(n), n);
  return unit;
}

// Divides scratch memory into consecutive pieces.
class Pieces {
 public:
  template <class T>
  void add(T** piece, size_t count) {
    offsets_.push_back({reinterpret_cast<void**>(piece), bytes_});
    bytes_ += (count * sizeof(T) + 63) / 64 * 64;
  }
  void place(Stream& stream) {
    char* const base = stream.scratch(Stream::scores, bytes_)->as<char>();
    for (const auto& [piece, offset] : offsets_) *piece = base + offset;
  }

 private:
  std::vector<std::pair<void**, size_t>> offsets_;
  size_t bytes_ = 0;
};

template <class T>
std::vector<T> fetch(Stream& stream, const T* from, size_t count) {
  std::vector<T> values(count);
  stream.download(values.data(), from, count * sizeof(T));
  return values;
}

}  // namespace

void run(Context& context, const CosineSoftmax& c) {
  Stream& stream = Stream::of(context);
  const float* const unit = unitQueries(stream, c.queries, c.rows, c.dim);
  stream.run(cosineScoresLaunch(c), c, unit);
  if (c.score == Score::probability || c.score == Score::sigmoid) stream.run(softmaxRowsLaunch(c), c);
}

// The kernels rank this part; the candidates are pushed to the heaps here, and finishTopK ranks them together
// with those of the other parts.
void run(Context& context, const CosineTopK& c) {
  Stream& stream = Stream::of(context);
  int most = 0;
  for (int r = 0; r < c.rows; r++) most = std::max(most, c.best[r].capacity);
  const int k = std::min(most, c.classCount), chunks = chunksOf(c.classCount);
  const size_t rows = static_cast<size_t>(c.rows), n = rows * static_cast<size_t>(chunks);
  TopClasses top{.queries = c.queries,
                 .classes = c.classes,
                 .index = nullptr,
                 .value = nullptr,
                 .rows = c.rows,
                 .classCount = c.classCount,
                 .dim = c.dim,
                 .k = k,
                 .scale = c.scale,
                 .score = c.score == Score::cosine ? Score::cosine : Score::logit,
                 .bias = c.bias};
  TopKScratch scratch{.unit = unitQueries(stream, c.queries, c.rows, c.dim),
                      .sums = {},
                      .value = nullptr,
                      .index = nullptr,
                      .head = nullptr};
  Pieces pieces;
  pieces.add(&top.index, rows * static_cast<size_t>(k));
  pieces.add(&top.value, rows * static_cast<size_t>(k));
  pieces.add(&scratch.sums.most, n);
  pieces.add(&scratch.sums.sum, n);
  pieces.add(&scratch.value, n * static_cast<size_t>(keptOf(k)));
  pieces.add(&scratch.index, n * static_cast<size_t>(keptOf(k)));
  pieces.add(&scratch.head, n);
  pieces.place(stream);
  stream.run(cosineTopKLaunch(top), top, scratch);
  stream.run(cosineTopKMergeLaunch(top), top, scratch);

  const auto index = fetch(stream, top.index, rows * static_cast<size_t>(k));
  const auto value = fetch(stream, top.value, rows * static_cast<size_t>(k));
  for (int r = 0; r < c.rows; r++)
    for (int i = 0; i < k; i++) {
      const size_t at = static_cast<size_t>(r) * k + i;
      c.best[r].push(value[at], index[at] + c.firstClass);
    }
  // A chunk of the kernels covers several blocks of kTopKBlock classes: its sums are stored in the first of
  // these blocks.
  constexpr int kPerChunk = kChunkClasses / kTopKBlock;
  const auto chunkMost = fetch(stream, scratch.sums.most, n), chunkSum = fetch(stream, scratch.sums.sum, n);
  for (int block = 0; block < blocksOf(c.classCount); block++)
    for (size_t r = 0; r < rows; r++) {
      const size_t from = static_cast<size_t>(block / kPerChunk) * rows + r;
      c.sums[static_cast<size_t>(block) * rows + r] =
          block % kPerChunk == 0 ? TopKSum{chunkMost[from], chunkSum[from]}
                                 : TopKSum{-std::numeric_limits<double>::infinity(), 0};
    }
}

// The kernels compute the loss; the gradients, which only training needs, are computed by this process.
void run(Context& context, const InfoNce& n) {
  Stream& stream = Stream::of(context);
  const size_t values = static_cast<size_t>(n.rows) * n.dim;
  if (n.imagesGradient) {
    const auto images = fetch(stream, n.images, values), texts = fetch(stream, n.texts, values);
    std::vector<float> ofImages(values), ofTexts(values);
    InfoNce here = n;
    here.images = images.data();
    here.texts = texts.data();
    here.imagesGradient = ofImages.data();
    here.textsGradient = ofTexts.data();
    stream.hostTable().infoNce(stream.host(), here);
    stream.upload(n.imagesGradient, ofImages.data(), values * sizeof(float));
    stream.upload(n.textsGradient, ofTexts.data(), values * sizeof(float));
    return;
  }
  const size_t rows = static_cast<size_t>(n.rows), sums = rows * static_cast<size_t>(chunksOf(n.rows));
  InfoNceScratch scratch{};
  Pieces pieces;
  for (ChunkSums& s : scratch.sums) {
    pieces.add(&s.most, sums);
    pieces.add(&s.sum, sums);
  }
  pieces.add(&scratch.diagonal, rows);
  pieces.add(&scratch.loss, 1);
  pieces.place(stream);
  stream.run(infoNceLaunch(n), n, scratch);
  stream.run(infoNceLossLaunch(), n, scratch);
  *n.loss = fetch(stream, scratch.loss, 1)[0];
}

}  // namespace clip::cuda::ops
