#include "model/conv_next.h"

#include <algorithm>

#include "model/ops.h"
#include "model/tail.h"
#include "model/windows.h"

namespace clip {
namespace {

constexpr int kStages = ConvNextConfig::kStages;

size_t matrixBytes(int64_t rows, int64_t columns, Dtype dtype) {
  return static_cast<size_t>(rows) * lineStride(static_cast<size_t>(columns) * bytesOf(dtype));
}

// The sizes in bytes, per image, of the memory that the stages reuse.
struct MapBytes {
  size_t map = 0;      // a feature map in float32
  size_t operand = 0;  // the input of a matrix product
  size_t wide = 0;     // the hidden rows of an MLP, and the windows of a downsampling
  size_t hidden = 0;   // the hidden rows as the input of a product, in int8
  size_t pixels = 0;   // rows at most

  MapBytes(const ConvNextConfig& c, Dtype dtype) {
    for (int s = 0; s < kStages; s++) {
      const auto& [width, layers, mlp] = c.stages[s];
      const int count = c.pixels(s);
      map = std::max(map, matrixBytes(count, width, Dtype::float32));
      operand = std::max(operand, matrixBytes(count, width, dtype));
      wide = std::max(wide, matrixBytes(count, mlp, rowDtype(dtype)));
      if (dtype == Dtype::int8) hidden = std::max(hidden, matrixBytes(count, mlp, dtype));
      pixels = std::max(pixels, static_cast<size_t>(count));
      if (s + 1 == kStages) continue;
      operand = std::max(operand, matrixBytes(c.pixels(s + 1), 4 * width, dtype));
      wide = std::max(wide, matrixBytes(c.pixels(s + 1), 4 * width, Dtype::float32));
    }
  }
  size_t total() const { return 2 * map + operand + wide + hidden; }
};

// Memory for one matrix at a time.
class Slot {
 public:
  Slot(Arena& arena, size_t bytes, size_t rows, bool scaled) : data_(arena.take(bytes)) {
    if (!scaled) return;
    scale_ = static_cast<float*>(arena.take(rows * sizeof(float)));
    zero_ = static_cast<int32_t*>(arena.take(rows * sizeof(int32_t)));
  }
  MatrixView at(int columns, Dtype dtype) const {
    return {.data = data_,
            .stride = lineStride(static_cast<size_t>(columns) * bytesOf(dtype)),
            .dtype = dtype,
            .rowScale = scale_,
            .rowZero = zero_};
  }

 private:
  void* data_;
  float* scale_ = nullptr;
  int32_t* zero_ = nullptr;
};

}  // namespace

size_t convNextImageBytes(const ConvNextConfig& c, Dtype dtype) { return MapBytes(c, dtype).total(); }

bool encodeImageBatch(const Pass& pass, const ConvNextConfig& c, const ConvNextWeights& w,
                      const ImageBatch& batch, float* const* out) {
  Arena& arena = pass.arena;
  const Backend& backend = pass.backend;
  const Ops ops(backend, pass.context);
  const int images = backend.bucket(batch.count()), width = c.width(), tokens = c.tokens();
  const bool all = pass.output == Output::tokens, joint = pass.output == Output::embedding;
  const int results = all ? images * tokens : images;

  // Inputs.
  const UploadedImages uploaded(pass, batch, images, c.imageSize);
  const int32_t* windows[kStages] = {};
  for (int s = 1; s < kStages; s++) windows[s] = arena.copy(windowRows(images, c.side(s - 1)));

  // Intermediate results. The residual path is float32.
  const MapBytes bytes(c, pass.dtype);
  const size_t n = static_cast<size_t>(images), rows = n * bytes.pixels;
  const bool quantised = pass.dtype == Dtype::int8;
  const MatrixView patch =
      arena.rows(images * c.pixels(0), 3 * c.patchSize * c.patchSize, w.stages[0].downsample.format.rows);
  const Slot map(arena, n * bytes.map, rows, false), mixed(arena, n * bytes.map, rows, false),
      operand(arena, n * bytes.operand, rows, quantised), wide(arena, n * bytes.wide, rows, false);
  const Slot hidden = quantised ? Slot(arena, n * bytes.hidden, rows, true) : wide;
  const MatrixView mean = arena.rows(images, width, Dtype::float32);
  const MatrixView normed = arena.rows(results, width, Dtype::float32);
  const bool hasMlp = joint && w.headFc1.packed;
  const MatrixView head = hasMlp ? arena.rows(images, c.headMlp, Dtype::float32) : normed;
  const Tail tail(pass, head, results, width, w.projection);

  BlocksConfig norms;
  norms.layerNormEps = c.layerNormEps;
  const auto layerNorm = [&](const MatrixView& x, const NormWeight& weight, const MatrixView& y, int count,
                             int columns) {
    norms.width = columns;
    ops.layerNorm(x, weight, y, count, norms);
  };

  bool finished = true;
  const GraphKey key = graphKeyOf(pass, GraphKey::image, images * c.pixels(0), images, 1, uploaded.calls());
  if (!backend.begin(pass.context, key)) {
    // x = LN(p W_stem + b_stem), where p is each image cut into patches
    const int first = c.stages[0].width;
    uploaded.cut(pass, c.patchSize, patch);
    ops.linear(patch, w.stages[0].downsample, mixed.at(first, Dtype::float32), images * c.pixels(0));
    layerNorm(mixed.at(first, Dtype::float32), w.stemNorm, map.at(first, Dtype::float32),
              images * c.pixels(0), first);
    for (int s = 0; s < kStages && finished; s++) {
      const int channels = c.stages[s].width, mlp = c.stages[s].mlp, pixels = images * c.pixels(s);
      const MatrixView x = map.at(channels, Dtype::float32), y = mixed.at(channels, Dtype::float32),
                       h = operand.at(channels, pass.dtype), z = wide.at(mlp, rowDtype(pass.dtype));
      if (s > 0) {
        // x = windows of 2 x 2 pixels of LN(x), each as one row, times W + b
        const int in = c.stages[s - 1].width, before = images * c.pixels(s - 1);
        const MatrixView normedMap = mixed.at(in, Dtype::float32);
        layerNorm(map.at(in, Dtype::float32), w.stages[s].norm, normedMap, before, in);
        MatrixView tap = wide.at(4 * in, Dtype::float32);
        MatrixView window = tap;
        tap.stride = static_cast<size_t>(in) * sizeof(float);
        window.stride = 4 * tap.stride;
        ops.gather(normedMap, windows[s], tap, 4 * pixels, in);
        ops.linear(ops.as(window, operand.at(4 * in, pass.dtype), pixels, 4 * in), w.stages[s].downsample, x,
                   pixels);
      }
      for (const ConvNextBlockWeights& block : w.stages[s].blocks) {
        finished = !(pass.stopped && pass.stopped());
        if (!finished) break;
        // x = x + gelu(LN(depthwise(x)) W_1 + b_1) W_2 + b_2
        ops.depthwise7x7(x, block.depthwise, block.depthwiseBias, y, images, c.side(s), channels);
        layerNorm(y, block.norm, h, pixels, channels);
        ops.linear(h, block.fc1, z, pixels, Activation::gelu);
        ops.linear(ops.as(z, hidden.at(mlp, pass.dtype), pixels, mlp), block.fc2, x, pixels, Activation::none,
                   x);
      }
    }
    if (finished) {
      // y = LN(mean of the pixels), or LN of each
      const MatrixView x = map.at(width, Dtype::float32);
      if (!all) ops.mean(x, mean, images, tokens, width);
      layerNorm(all ? x : mean, w.headNorm, normed, results, width);
      if (hasMlp) ops.linear(normed, w.headFc1, head, images, Activation::gelu);
      tail.run(ops);
    }
  }
  backend.end(pass.context, finished);
  if (!finished) return false;

  const int perImage = all ? tokens : 1;
  deliver(tail.results(pass, batch.count() * perImage), batch.count(), perImage, out);
  return true;
}

}  // namespace clip
