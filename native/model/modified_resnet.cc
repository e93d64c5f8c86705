#include "model/modified_resnet.h"

#include <algorithm>
#include <array>

#include "model/ops.h"
#include "model/tail.h"

namespace clip {
namespace {

// Feature maps are rows of channels, one per pixel. They are stored in slots that the steps reuse: the
// block's input, two for the results between its convolutions, and the downsample path; unless the model is
// float32, also the input of a matrix product in the model's dtype. The residual path stays float32.
constexpr int kMaps = 5, kOperand = 4;
constexpr int mapCount(Dtype dtype) { return dtype == Dtype::float32 ? kMaps - 1 : kMaps; }

class FeatureMaps {
 public:
  // pixels: those of the largest map that becomes the input of a matrix product.
  FeatureMaps(Arena& arena, size_t bytes, size_t pixels, Dtype dtype) : dtype_(dtype) {
    for (int i = 0; i < mapCount(dtype); i++) slots_[i] = arena.take(bytes);
    if (dtype != Dtype::int8) return;
    scale_ = static_cast<float*>(arena.take(pixels * sizeof(float)));
    zero_ = static_cast<int32_t*>(arena.take(pixels * sizeof(int32_t)));
  }
  // As float32.
  MatrixView at(int slot, int channels) const { return at(slot, channels, Dtype::float32); }
  // The input of a convolution, which quantises its windows itself.
  MatrixView between(int slot, int channels) const { return at(slot, channels, rowDtype(dtype_)); }
  MatrixView operand(int channels) const { return at(kOperand, channels, dtype_); }
  void swap(int a, int b) { std::swap(slots_[a], slots_[b]); }

 private:
  MatrixView at(int slot, int channels, Dtype dtype) const {
    return {.data = slots_[slot],
            .stride = lineStride(static_cast<size_t>(channels) * bytesOf(dtype)),
            .dtype = dtype,
            .rowScale = scale_,
            .rowZero = zero_};
  }

  const Dtype dtype_;
  std::array<void*, kMaps> slots_{};
  float* scale_ = nullptr;
  int32_t* zero_ = nullptr;
};

size_t mapBytes(int64_t side, int64_t channels) {
  return static_cast<size_t>(side * side) * lineStride(static_cast<size_t>(channels) * sizeof(float));
}

// The size in bytes of the largest map of one image.
size_t largestMap(const ResNetConfig& c) {
  const int half = (c.imageSize + 1) / 2, quarter = half / 2;
  size_t bytes = std::max(mapBytes(c.imageSize, 3), mapBytes(half, c.width));
  for (int l = 0, side = quarter; l < 4; l++, side = side / 2) {
    const int planes = c.width << l;
    bytes = std::max({bytes, mapBytes(side, 4 * planes), mapBytes(l == 0 ? side : side * 2 + 1, planes)});
  }
  // The input of the attention pool has an additional row for the mean of each image.
  return bytes + lineStride(static_cast<size_t>(c.features()) * sizeof(float));
}

// Computes one block, from slot 0 to slot 0. Returns the side length of its output.
int bottleneck(const Ops& ops, const BottleneckWeights& w, int stride, int images, int side,
               FeatureMaps& maps) {
  const int pixels = images * side * side, outSide = side / stride, outPixels = images * outSide * outSide;
  const int in = w.conv1.in, planes = w.conv1.out;
  const MatrixView x = maps.at(0, in), a = maps.between(1, planes);
  const MatrixView b = stride > 1 ? maps.at(2, planes) : maps.between(2, planes);
  // a = relu(bn1(conv1(x))); b = relu(bn2(conv2(a)))
  const MatrixView xIn = ops.as(x, maps.operand(in), pixels, in);
  ops.linear(xIn, w.conv1, a, pixels, Activation::relu);
  ops.conv3x3(a, w.conv2, b, images, side);
  // an average pool replaces conv2's stride
  if (stride > 1) ops.pool(b, a, images, side, planes, stride);
  const MatrixView narrow = stride > 1 ? a : b;
  if (!w.downsample.packed) {
    // x = relu(bn3(conv3(b)) + x)
    ops.linear(ops.as(narrow, maps.operand(planes), outPixels, planes), w.conv3, x, outPixels,
               Activation::relu, x);
    return outSide;
  }
  // y = bn(conv(pool(x))); y = relu(bn3(conv3(b)) + y)
  const MatrixView y = maps.at(3, w.conv3.out);
  MatrixView pooled = xIn;
  if (stride > 1) {
    pooled = maps.between(2, in);
    ops.pool(x, pooled, images, side, in, stride);
    pooled = ops.as(pooled, maps.operand(in), outPixels, in);
  }
  ops.linear(pooled, w.downsample, y, outPixels);
  ops.linear(ops.as(narrow, maps.operand(planes), outPixels, planes), w.conv3, y, outPixels, Activation::relu,
             y);
  maps.swap(0, 3);
  return outSide;
}

// The rows of the attention pool: each image's mean, then its pixels. Images after the first n are padding.
struct PoolRows {
  std::vector<int32_t> id, position, first, meanRow;
  PoolRows(int n, int images, int tokens) {
    const int pixels = tokens - 1;
    for (int i = 0; i < images; i++) {
      meanRow.push_back(i * tokens);
      for (int t = 0; t < tokens; t++) {
        // the means are stored after the pixels
        id.push_back(i >= n ? -1 : t == 0 ? images * pixels + i : i * pixels + t - 1);
        position.push_back(t);
        first.push_back(i >= n ? -1 : i * tokens);
      }
    }
  }
};

}  // namespace

size_t resNetImageBytes(const ResNetConfig& c, Dtype dtype) { return mapCount(dtype) * largestMap(c); }

bool encodeImageBatch(const Pass& pass, const ResNetConfig& c, const ResNetWeights& w,
                      const ImageBatch& batch, float* const* out) {
  Arena& arena = pass.arena;
  const Backend& backend = pass.backend;
  const Ops ops(backend, pass.context);
  const int images = backend.bucket(batch.count()), tokens = c.tokens(), rows = images * tokens,
            features = c.features();
  const bool all = pass.output == Output::tokens;
  const int queries = all ? rows : images;

  // Inputs.
  const UploadedImages uploaded(pass, batch, images, c.imageSize);
  const PoolRows index(batch.count(), images, tokens);
  const int32_t* id = arena.copy(index.id);
  const int32_t* position = arena.copy(index.position);
  const int32_t* meanRow = arena.copy(index.meanRow);
  const Sequences sequences{
      .rows = rows, .mask = Mask::full, .first = arena.copy(index.first), .parent = nullptr};

  // Intermediate results.
  const size_t quarter = static_cast<size_t>((c.imageSize + 1) / 4);
  FeatureMaps maps(arena, images * largestMap(c), images * quarter * quarter, pass.dtype);
  const MatrixView token = arena.rows(rows, features, Dtype::float32);
  const MatrixView asking = all ? token : arena.rows(images, features, Dtype::float32);
  // The products of the attention pool use the model's dtype, everything else float32.
  const MatrixView tokenIn = arena.rows(rows, features, pass.dtype);
  const MatrixView askingIn = all ? tokenIn : arena.rows(images, features, pass.dtype);
  const MatrixView query = arena.rows(queries, features, Dtype::float32);
  const MatrixView keyValue = arena.rows(rows, 2 * features, Dtype::float32);
  const MatrixView pooled = arena.rows(queries, features, Dtype::float32);
  // The attention pool's output projection is also the projection into the joint space.
  const Tail tail(pass, pooled, queries, features, w.projection);

  bool finished = true;
  const GraphKey key = graphKeyOf(pass, GraphKey::image, rows, images, tokens, uploaded.calls());
  if (!backend.begin(pass.context, key)) {
    // The stem: three convolutions, the first of stride 2, and an average pool.
    uploaded.cut(pass, 1, maps.between(0, 3));  // patches of one pixel: rows of (r, g, b)
    int side = (c.imageSize + 1) / 2;
    const MatrixView half1 = maps.between(1, c.width / 2), half2 = maps.between(2, c.width / 2);
    ops.conv3x3(maps.between(0, 3), w.stem[0], half1, images, c.imageSize, 2);
    ops.conv3x3(half1, w.stem[1], half2, images, side);
    ops.conv3x3(half2, w.stem[2], maps.at(1, c.width), images, side);
    ops.pool(maps.at(1, c.width), maps.at(0, c.width), images, side, c.width, 2);
    side /= 2;
    // Four stages of bottlenecks; each except the first halves the side length.
    for (int l = 0; l < 4 && finished; l++)
      for (size_t i = 0; i < w.layers[l].size() && finished; i++) {
        finished = !(pass.stopped && pass.stopped());
        if (finished) side = bottleneck(ops, w.layers[l][i], l > 0 && i == 0 ? 2 : 1, images, side, maps);
      }
    if (finished) {
      // t = [mean(x); x] + position
      const MatrixView x = maps.at(0, features);
      ops.pool(x, rowsFrom(x, images * side * side), images, side, features, side);
      backend.embed(pass.context, {.table = x.data,
                                   .tableStride = x.stride,
                                   .tableDtype = Dtype::float32,
                                   .ids = id,
                                   .positions = w.position,
                                   .position = position,
                                   .y = token,
                                   .rows = rows,
                                   .cols = features});
      // softmax(q k' / sqrt(d)) v, where only the mean has a query
      if (!all) ops.gather(token, meanRow, asking, images, features);
      const MatrixView keys = ops.as(token, tokenIn, rows, features);
      ops.linear(all ? keys : ops.as(asking, askingIn, queries, features), w.query, query, queries);
      ops.linear(keys, w.keyValue, keyValue, rows);
      BlocksConfig heads;
      heads.width = features;
      heads.heads = c.heads;
      ops.attention(query, keyValue, columns(keyValue, features), pooled, sequences, queries,
                    all ? nullptr : meanRow, heads);
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
