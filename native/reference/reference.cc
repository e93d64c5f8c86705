// The specification: every op in plain loops with double accumulators, one comment per equation. The other
// backends are tested against this file, and this file is tested against golden values of the original
// implementations. Work is divided by rows only. Linear and conv are in linear.cc, the cosines in cosine.cc.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "threads/context.h"
#include "reference/reference.h"
#include "resample.h"

namespace clip {
namespace reference {
namespace {

bool available(std::string*) { return true; }
double epsilon(Dtype t) { return t == Dtype::bfloat16 ? 0x1p-8 : 0x1p-24; }  // results are rounded once

double asBfloat16(double x) {
  const uint16_t half = toBfloat16(static_cast<float>(x));
  return widen(&half, Dtype::bfloat16, 0);
}

}  // namespace

// y = (x - E[x]) / sqrt(Var[x] + epsilon) * weight + bias, with the biased variance: Ba et al. 2016,
// torch.nn.LayerNorm.
void layerNorm(Context& context, const LayerNorm& l) {
  eachRow(context.threads, l.rows, [&](int r) {
    const float* x = in(l.x, r);
    std::vector<float> y(l.cols);
    double mean = 0, variance = 0;
    for (int i = 0; i < l.cols; i++) mean += x[i];
    mean /= l.cols;
    for (int i = 0; i < l.cols; i++) variance += (x[i] - mean) * (x[i] - mean);
    const double scale = 1 / std::sqrt(variance / l.cols + l.epsilon);
    for (int i = 0; i < l.cols; i++) y[i] = float((x[i] - mean) * scale * l.weight[i] + l.bias[i]);
    writeRow(l.y, r, y.data(), l.cols);
  });
}

// softmax(q Kt / sqrt(dim)) V over the keys that the mask lets a query see: Vaswani et al. 2017, equation 1.
// For bfloat16, the exponentials are rounded to bfloat16 before they are used.
void attention(Context& context, const Attention& a) {
  std::vector<int> end(a.rows);  // full: one past the last row of r's sequence
  if (a.mask == Mask::full)
    for (int r = a.rows - 1; r >= 0; r--)
      end[r] = r + 1 < a.rows && a.first[r + 1] == a.first[r] ? end[r + 1] : r + 1;
  eachRow(context.threads, a.queries, [&](int i) {
    const int row = a.queryRow ? a.queryRow[i] : i;
    std::vector<int> keys;
    if (a.mask == Mask::tree) {
      for (int r = row; r >= 0; r = a.parent[r]) keys.push_back(r);
      std::reverse(keys.begin(), keys.end());
    } else {
      for (int r = a.first[row]; r < (a.mask == Mask::full ? end[row] : row + 1); r++) keys.push_back(r);
    }
    const double scale = 1 / std::sqrt(double(a.dim));
    std::vector<double> p(keys.size()), sums(a.dim);
    for (int h = 0; h < a.heads; h++) {
      endIfStopped();
      const size_t column = size_t(h) * a.dim;
      double top = -std::numeric_limits<double>::infinity(), sum = 0;
      for (size_t j = 0; j < keys.size(); j++) {
        double dot = 0;
        for (int d = 0; d < a.dim; d++) dot += number(a.q, i, column + d) * number(a.k, keys[j], column + d);
        top = std::max(top, p[j] = dot * scale);
      }
      for (double& x : p) {
        x = std::exp(x - top);
        if (a.q.dtype == Dtype::bfloat16) x = asBfloat16(x);
        sum += x;
      }
      std::fill(sums.begin(), sums.end(), 0.0);
      for (size_t j = 0; j < keys.size(); j++)
        for (int d = 0; d < a.dim; d++) sums[d] += p[j] * number(a.v, keys[j], column + d);
      for (int d = 0; d < a.dim; d++) put(a.out, i, column + d, sums[d] / sum);
    }
  });
}

// Token embedding plus position embedding: Radford et al. 2021 section 2.4.
void embed(Context& context, const Embed& e) {
  eachRow(context.threads, e.rows, [&](int r) {
    const char* row = static_cast<const char*>(e.table) + size_t(e.ids[r]) * e.tableStride;
    const float* position = e.positions + size_t(e.position[r]) * e.cols;
    float* y = out(e.y, r);
    for (int c = 0; c < e.cols; c++) y[c] = widen(row, e.tableDtype, c) + position[c];
  });
}

void gather(Context& context, const Gather& g) {
  eachRow(context.threads, g.count,
          [&](int i) { std::memmove(out(g.y, i), in(g.x, g.row[i]), size_t(g.cols) * sizeof(float)); });
}

// The columns of the convolution that computes the patch embedding: Dosovitskiy et al. 2021 equation 1, in
// the order of torch's unfold.
void patches(Context& context, const Patches& p) {
  const int grid = p.size / p.patch, area = p.patch * p.patch;
  eachRow(context.threads, p.images * grid * grid, [&](int r) {
    const int image = r / (grid * grid), top = r / grid % grid * p.patch, left = r % grid * p.patch;
    for (int c = 0; c < 3; c++)
      for (int i = 0; i < area; i++) {
        const size_t row = size_t(top) + i / p.patch, column = size_t(left) + i % p.patch;
        const size_t pixel = (size_t(image) * p.size + row) * p.size + column;
        put(p.y, r, size_t(c) * area + i,
            p.pixels ? p.value[c * 256 + p.pixels[pixel * 3 + c]]
                     : p.planes[((size_t(image) * 3 + c) * p.size + row) * p.size + column]);
      }
  });
}

// y = mean over the window: torch.nn.AvgPool2d.
void pool(Context& context, const Pooling& p) {
  const int outHeight = p.height / p.kernelHeight, outWidth = p.width / p.kernelWidth;
  eachRow(context.threads, p.images * outHeight * outWidth, [&](int r) {
    const int image = r / (outHeight * outWidth), oy = r / outWidth % outHeight, ox = r % outWidth;
    for (int c = 0; c < p.channels; c++) {
      double sum = 0;
      for (int ky = 0; ky < p.kernelHeight; ky++)
        for (int kx = 0; kx < p.kernelWidth; kx++)
          sum +=
              in(p.x, (image * p.height + oy * p.kernelHeight + ky) * p.width + ox * p.kernelWidth + kx)[c];
      put(p.y, r, c, sum / (p.kernelHeight * p.kernelWidth));
    }
  });
}

// y = x cos + turned(x) sin, where a pair (a, b) is turned to (-b, a): Su et al. 2021, equation 34.
void rope(Context& context, const Rope& p) {
  eachRow(context.threads, p.rows, [&](int r) {
    const float* cosine = p.position[r] < 0 ? nullptr : p.table + size_t(p.position[r]) * 2 * p.dim;
    for (int h = 0; h < p.heads; h++)
      for (int i = 0; i < p.dim; i += 2) {
        const size_t at = size_t(h) * p.dim + i;
        const double a = number(p.x, r, at), b = number(p.x, r, at + 1);
        put(p.y, r, at, cosine ? a * cosine[i] + b * cosine[p.dim + i] : a);
        put(p.y, r, at + 1, cosine ? b * cosine[i + 1] + a * cosine[p.dim + i + 1] : b);
      }
  });
}

// y = f(a) * b: Shazeer 2020, equation 6.
void gate(Context& context, const Gate& g) {
  eachRow(context.threads, g.rows, [&](int r) {
    for (int i = 0; i < g.cols; i++) {
      const double a = number(g.a, r, i);
      const double f =
          g.activation == Gating::silu ? a / (1 + std::exp(-a)) : 0.5 * a * std::erfc(-a / std::sqrt(2.0));
      put(g.y, r, i, f * number(g.b, r, i));
    }
  });
}

}  // namespace reference

const Backend referenceBackend{
    .name = "reference",
    .device = "reference",
    .features = "",
    .borrowed = "",
    .available = reference::available,
    .epsilon = reference::epsilon,
    .requireHead = cpuRequireHead,
    .open = cpuOpen,
    .close = cpuClose,
    .alloc = cpuAlloc,
    .free = cpuFree,
    .plainMemory = true,
    .upload = cpuCopy,
    .download = cpuCopy,
    .packRows = 1,
    .packedSize = reference::packedSize,
    .pack = reference::pack,
    .bucket = cpuBucket,
    .begin = cpuBegin,
    .end = cpuEnd,
    .linear = {reference::linear,
               {uniform(Dtype::float32),
                {Dtype::float16, Dtype::float32},
                uniform(Dtype::bfloat16),
                uniform(Dtype::int8)}},
    .attention = {reference::attention, {uniform(Dtype::float32), uniform(Dtype::bfloat16)}},
    .conv = {reference::conv, {uniform(Dtype::float32), uniform(Dtype::bfloat16), uniform(Dtype::int8)}},
#define CLIP_ENTRY(op, Arguments) .op = reference::op,
    CLIP_OTHER_OPS(CLIP_ENTRY)
#undef CLIP_ENTRY
};

}  // namespace clip
