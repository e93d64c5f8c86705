#include "model/modified_resnet.h"

#include <algorithm>
#include <array>

#include "model/ops.h"

namespace clip {
namespace {

constexpr int kMaps = 4;

// Feature maps are rows of channels, one per pixel, in four slots that the steps take turns in: the block's
// input, two for what lies between its convolutions, and the block's other path.
class FeatureMaps {
 public:
  FeatureMaps(Arena& arena, size_t bytes) {
    for (void*& slot : slots_) slot = arena.take(bytes);
  }
  Activations at(int slot, int channels) const {
    return {.data = slots_[slot], .stride = lineStride(static_cast<size_t>(channels) * sizeof(float))};
  }
  void swap(int a, int b) { std::swap(slots_[a], slots_[b]); }

 private:
  std::array<void*, kMaps> slots_;
};

size_t mapBytes(int64_t side, int64_t channels) {
  return static_cast<size_t>(side * side) * lineStride(static_cast<size_t>(channels) * sizeof(float));
}

// The largest map of one picture.
size_t largestMap(const ResNetConfig& c) {
  const int half = (c.imageSize + 1) / 2, quarter = half / 2;
  size_t bytes = std::max(mapBytes(c.imageSize, 3), mapBytes(half, c.width));
  for (int l = 0, side = quarter; l < 4; l++, side = side / 2) {
    const int planes = c.width << l;
    bytes = std::max({bytes, mapBytes(side, 4 * planes), mapBytes(l == 0 ? side : side * 2 + 1, planes)});
  }
  // The attention pool's table has a row for the mean of each picture.
  return bytes + lineStride(static_cast<size_t>(c.features()) * sizeof(float));
}

// One block, from slot 0 to slot 0. Returns the side of its output.
int bottleneck(const Ops& ops, const BottleneckWeights& w, int stride, int images, int side,
               FeatureMaps& maps) {
  const int pixels = images * side * side, outSide = side / stride, outPixels = images * outSide * outSide;
  const Activations x = maps.at(0, w.conv1.in), a = maps.at(1, w.conv1.out), b = maps.at(2, w.conv1.out);
  // a = relu(bn1(conv1(x))); b = relu(bn2(conv2(a)))
  ops.linear(x, w.conv1, a, pixels, Nonlinearity::relu);
  ops.conv3x3(a, w.conv2, b, images, side);
  // an average pool stands for conv2's stride
  if (stride > 1) ops.pool(b, a, images, side, w.conv1.out, stride);
  const Activations narrow = stride > 1 ? a : b;
  if (!w.downsample.packed) {
    // x = relu(bn3(conv3(b)) + x)
    ops.linear(narrow, w.conv3, x, outPixels, Nonlinearity::relu, x);
    return outSide;
  }
  // y = bn(conv(pool(x))); y = relu(bn3(conv3(b)) + y)
  const Activations y = maps.at(3, w.conv3.out);
  Activations pooled = x;
  if (stride > 1) {
    pooled = maps.at(2, w.conv1.in);
    ops.pool(x, pooled, images, side, w.conv1.in, stride);
  }
  ops.linear(pooled, w.downsample, y, outPixels);
  ops.linear(narrow, w.conv3, y, outPixels, Nonlinearity::relu, y);
  maps.swap(0, 3);
  return outSide;
}

// The rows of the attention pool: each picture's mean, then its pixels.
struct PoolRows {
  std::vector<int32_t> id, position, first, meanRow;
  PoolRows(int images, int tokens) {
    const int pixels = tokens - 1;
    for (int i = 0; i < images; i++) {
      meanRow.push_back(i * tokens);
      for (int t = 0; t < tokens; t++) {
        id.push_back(t == 0 ? images * pixels + i : i * pixels + t - 1);  // the means lie behind the pixels
        position.push_back(t);
        first.push_back(i * tokens);
      }
    }
  }
};

}  // namespace

size_t resNetImageBytes(const ResNetConfig& c) { return kMaps * largestMap(c); }

bool encodeImageBatch(const Pass& pass, const ResNetConfig& c, const ResNetWeights& w, int embedDim,
                      const ImageBatch& batch, float* const* out) {
  Arena& arena = pass.arena;
  const Backend& backend = pass.backend;
  const Ops ops(backend, pass.context);
  const int images = batch.count(), tokens = c.tokens(), rows = images * tokens, features = c.features();
  const bool all = pass.output == Output::tokens;
  const int queries = all ? rows : images;

  // What comes from outside.
  const UploadedImages uploaded(pass, batch, c.imageSize);
  const PoolRows index(images, tokens);
  const int32_t* id = arena.copy(index.id);
  const int32_t* position = arena.copy(index.position);
  const int32_t* meanRow = arena.copy(index.meanRow);
  const Sequences sequences{
      .rows = rows, .mask = Mask::full, .first = arena.copy(index.first), .parent = nullptr};

  // Where the steps write.
  FeatureMaps maps(arena, images * largestMap(c));
  const Activations token = arena.rows(rows, features, Dtype::float32);
  const Activations asking = all ? token : arena.rows(images, features, Dtype::float32);
  const Activations query = arena.rows(queries, features, Dtype::float32);
  const Activations keyValue = arena.rows(rows, 2 * features, Dtype::float32);
  const Activations pooled = arena.rows(queries, features, Dtype::float32);
  const Activations embedding = arena.rows(images, embedDim, Dtype::float32);

  bool finished = true;
  const Plan plan{.tower = Plan::image, .rowsBucket = rows, .sequencesBucket = images};
  if (!backend.begin(pass.context, plan)) {
    // The stem: three convolutions, the first of stride 2, and an average pool.
    uploaded.cut(pass, 1, maps.at(0, 3));  // patches of one pixel: rows of (r, g, b)
    int side = (c.imageSize + 1) / 2;
    ops.conv3x3(maps.at(0, 3), w.stem[0], maps.at(1, c.width / 2), images, c.imageSize, 2);
    ops.conv3x3(maps.at(1, c.width / 2), w.stem[1], maps.at(2, c.width / 2), images, side);
    ops.conv3x3(maps.at(2, c.width / 2), w.stem[2], maps.at(1, c.width), images, side);
    ops.pool(maps.at(1, c.width), maps.at(0, c.width), images, side, c.width, 2);
    side /= 2;
    // Four stages of bottlenecks; each but the first halves the side.
    for (int l = 0; l < 4 && finished; l++)
      for (size_t i = 0; i < w.layers[l].size() && finished; i++) {
        finished = !(pass.stopped && pass.stopped());
        if (finished) side = bottleneck(ops, w.layers[l][i], l > 0 && i == 0 ? 2 : 1, images, side, maps);
      }
    if (finished) {
      // t = [mean(x); x] + position
      const Activations x = maps.at(0, features);
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
      // softmax(q k' / sqrt(d)) v, where only the mean asks; then its output projection is the joint space
      if (!all) ops.gather(token, meanRow, asking, images, features);
      ops.linear(asking, w.query, query, queries);
      ops.linear(token, w.keyValue, keyValue, rows);
      TransformerConfig heads;
      heads.width = features;
      heads.heads = c.heads;
      ops.attention(query, keyValue, columns(keyValue, features), pooled, sequences, queries,
                    all ? nullptr : meanRow, heads);
      if (pass.output == Output::embedding) {
        ops.linear(pooled, w.projection, embedding, images);
        if (pass.normalise) ops.normalise(embedding, images, embedDim);
      }
    }
  }
  backend.end(pass.context);
  if (!finished) return false;

  const bool joint = pass.output == Output::embedding;
  deliver(pass, joint ? embedding : pooled, images, all ? tokens : 1, joint ? embedDim : features, out);
  return true;
}

}  // namespace clip
