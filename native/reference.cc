// The specification: every op in plain loops with double accumulators, one comment per equation. The other
// backends are tested against this file, and this file against golden values of the original implementations.
// Work is split over rows only. Weights are "packed" as a row-major copy.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cpu/context.h"
#include "half.h"
#include "reference.h"
#include "resample.h"

namespace clip {
namespace {

const float* in(const Activations& a, int r) {
  return reinterpret_cast<const float*>(static_cast<const char*>(a.data) + size_t(r) * a.stride);
}
float* out(const Activations& a, int r) {
  return reinterpret_cast<float*>(static_cast<char*>(a.data) + size_t(r) * a.stride);
}

// body(r) for every row, on the context's threads.
template <class F>
void eachRow(Context& context, int rows, const F& body) {
  parallelFor(
      context.threads, rows, [](const void* f, int r, int) { (*static_cast<const F*>(f))(r); }, &body);
}

bool available(std::string*) { return true; }
bool runs(Dtype t) { return t == Dtype::float32; }
double epsilon(Dtype) { return 0x1p-24; }  // results are rounded once, to float32

size_t packedSize(Dtype, int in, int out) { return size_t(in) * out * sizeof(float); }
void pack(const Pack& p) {
  float* dst = static_cast<float*>(p.dst) + size_t(p.firstRow) * p.in;
  for (int r = 0; r < p.rowCount; r++)
    std::memcpy(dst + size_t(r) * p.in, p.rows + size_t(r) * p.rowStride, size_t(p.in) * sizeof(float));
}

double relu(double v) { return v < 0 ? 0 : v; }  // NaN stays NaN

double nonlinear(Nonlinearity n, double v) {
  switch (n) {
    case Nonlinearity::none:
    case Nonlinearity::relu:  // comes after the residual
      return v;
    case Nonlinearity::quickGelu:
      return v / (1 + std::exp(-1.702 * v));  // x sigmoid(1.702 x): CLIP, model.py QuickGELU
    case Nonlinearity::gelu:
      return 0.5 * v * std::erfc(-v / std::sqrt(2.0));  // x Phi(x): Hendrycks & Gimpel 2016
  }
  return v;
}

// y = f(x Wt + b) + residual: torch.nn.Linear, W as checkpoints store it, (out, in).
void linear(Context& context, const Linear& l) {
  eachRow(context, l.rows, [&](int r) {
    const float* x = in(l.x, r);
    const float* w = static_cast<const float*>(l.w);
    float* y = out(l.y, r);
    for (int j = 0; j < l.out; j++, w += l.in) {
      double sum = 0;
      for (int i = 0; i < l.in; i++) sum += double(x[i]) * w[i];
      if (l.bias) sum += l.bias[j];
      sum = nonlinear(l.nonlinearity, sum);
      if (l.residual.data) sum += in(l.residual, r)[j];
      y[j] = float(l.nonlinearity == Nonlinearity::relu ? relu(sum) : sum);
    }
  });
}

// y = (x - E[x]) / sqrt(Var[x] + epsilon) * weight + bias, biased variance: Ba et al. 2016,
// torch.nn.LayerNorm.
void layerNorm(Context& context, const LayerNorm& l) {
  eachRow(context, l.rows, [&](int r) {
    const float* x = in(l.x, r);
    float* y = out(l.y, r);
    double mean = 0, variance = 0;
    for (int i = 0; i < l.cols; i++) mean += x[i];
    mean /= l.cols;
    for (int i = 0; i < l.cols; i++) variance += (x[i] - mean) * (x[i] - mean);
    const double scale = 1 / std::sqrt(variance / l.cols + l.epsilon);
    for (int i = 0; i < l.cols; i++) y[i] = float((x[i] - mean) * scale * l.weight[i] + l.bias[i]);
  });
}

// softmax(q Kt / sqrt(dim)) V over the keys that the mask lets a query see: Vaswani et al. 2017, equation 1.
void attention(Context& context, const Attention& a) {
  std::vector<int> end(a.rows);  // full: one past the last row of r's sequence
  if (a.mask == Mask::full)
    for (int r = a.rows - 1; r >= 0; r--)
      end[r] = r + 1 < a.rows && a.first[r + 1] == a.first[r] ? end[r + 1] : r + 1;
  eachRow(context, a.queries, [&](int i) {
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
      const size_t column = size_t(h) * a.dim;
      const float* q = in(a.q, i) + column;
      double top = -std::numeric_limits<double>::infinity(), sum = 0;
      for (size_t j = 0; j < keys.size(); j++) {
        const float* k = in(a.k, keys[j]) + column;
        double dot = 0;
        for (int d = 0; d < a.dim; d++) dot += double(q[d]) * k[d];
        top = std::max(top, p[j] = dot * scale);
      }
      for (double& x : p) sum += x = std::exp(x - top);
      std::fill(sums.begin(), sums.end(), 0.0);
      for (size_t j = 0; j < keys.size(); j++) {
        const float* v = in(a.v, keys[j]) + column;
        for (int d = 0; d < a.dim; d++) sums[d] += p[j] * v[d];
      }
      for (int d = 0; d < a.dim; d++) out(a.out, i)[column + d] = float(sums[d] / sum);
    }
  });
}

// Token plus position: Radford et al. 2021 section 2.4.
void embed(Context& context, const Embed& e) {
  eachRow(context, e.rows, [&](int r) {
    const char* row = static_cast<const char*>(e.table) + size_t(e.ids[r]) * e.tableStride;
    const float* position = e.positions + size_t(e.position[r]) * e.cols;
    float* y = out(e.y, r);
    for (int c = 0; c < e.cols; c++) y[c] = widen(row, e.tableDtype, c) + position[c];
  });
}

void gather(Context& context, const Gather& g) {
  eachRow(context, g.count,
          [&](int i) { std::memmove(out(g.y, i), in(g.x, g.row[i]), size_t(g.cols) * sizeof(float)); });
}

// The columns of the convolution that the patch embedding is: Dosovitskiy et al. 2021 equation 1, torch's
// unfold order.
void patches(Context& context, const Patches& p) {
  const int grid = p.size / p.patch, area = p.patch * p.patch;
  eachRow(context, p.images * grid * grid, [&](int r) {
    const int image = r / (grid * grid), top = r / grid % grid * p.patch, left = r % grid * p.patch;
    float* y = out(p.y, r);
    for (int c = 0; c < 3; c++)
      for (int i = 0; i < area; i++) {
        const size_t row = size_t(top) + i / p.patch, column = size_t(left) + i % p.patch;
        y[c * area + i] =
            p.pixels ? p.value[c * 256 + p.pixels[((size_t(image) * p.size + row) * p.size + column) * 3 + c]]
                     : p.planes[((size_t(image) * 3 + c) * p.size + row) * p.size + column];
      }
  });
}

// y[o] = relu(sum over (ky, kx, c) of x[oy * stride + ky - pad, ox * stride + kx - pad, c] w[o, ky, kx, c] +
// b[o]): torch.nn.Conv2d followed by its (folded) batch norm and ReLU, He et al. 2016.
void conv(Context& context, const Conv& c) {
  const int outHeight = c.outHeight(), outWidth = c.outWidth();
  eachRow(context, c.images * outHeight * outWidth, [&](int r) {
    const int image = r / (outHeight * outWidth), oy = r / outWidth % outHeight, ox = r % outWidth;
    for (int o = 0; o < c.out; o++) {
      const float* w = static_cast<const float*>(c.w) + size_t(o) * c.kernel * c.kernel * c.in;
      double sum = 0;
      for (int ky = 0; ky < c.kernel; ky++)
        for (int kx = 0; kx < c.kernel; kx++, w += c.in) {
          const int y = oy * c.stride + ky - c.pad, x = ox * c.stride + kx - c.pad;
          if (y < 0 || y >= c.height || x < 0 || x >= c.width) continue;
          const float* pixel = in(c.x, (image * c.height + y) * c.width + x);
          for (int i = 0; i < c.in; i++) sum += double(pixel[i]) * w[i];
        }
      out(c.y, r)[o] = float(relu(sum + c.bias[o]));
    }
  });
}

// y = mean over the window: torch.nn.AvgPool2d.
void pool(Context& context, const Pooling& p) {
  const int outHeight = p.height / p.kernelHeight, outWidth = p.width / p.kernelWidth;
  eachRow(context, p.images * outHeight * outWidth, [&](int r) {
    const int image = r / (outHeight * outWidth), oy = r / outWidth % outHeight, ox = r % outWidth;
    for (int c = 0; c < p.channels; c++) {
      double sum = 0;
      for (int ky = 0; ky < p.kernelHeight; ky++)
        for (int kx = 0; kx < p.kernelWidth; kx++)
          sum +=
              in(p.x, (image * p.height + oy * p.kernelHeight + ky) * p.width + ox * p.kernelWidth + kx)[c];
      out(p.y, r)[c] = float(sum / (p.kernelHeight * p.kernelWidth));
    }
  });
}

double norm(const float* x, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += double(x[i]) * x[i];
  const double root = std::sqrt(sum);
  return root < 1e-12 ? 1e-12 : root;  // torch.nn.functional.normalize; NaN stays NaN
}

// y = x / max(|x|, 1e-12).
void normalise(Context& context, const Normalise& n) {
  eachRow(context, n.rows, [&](int r) {
    const double length = norm(in(n.x, r), n.cols);
    for (int i = 0; i < n.cols; i++) out(n.y, r)[i] = float(in(n.x, r)[i] / length);
  });
}

double cosine(const float* a, const float* b, int n) {
  double dot = 0;
  for (int i = 0; i < n; i++) dot += double(a[i]) * b[i];
  return dot / norm(a, n) / norm(b, n);
}

// p(class | query) = softmax(scale * cosine): Radford et al. 2021 section 3.1.2.
void cosineSoftmax(Context& context, const CosineSoftmax& c) {
  eachRow(context, c.rows, [&](int r) {
    const float* query = c.queries + size_t(r) * c.dim;
    float* y = c.y + size_t(r) * c.classCount;
    std::vector<double> score(c.classCount);
    double top = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int j = 0; j < c.classCount; j++) {
      const double v = cosine(query, c.classes + size_t(j) * c.dim, c.dim);
      top = std::max(top, score[j] = c.score == Score::cosine ? v : c.scale * v);
    }
    for (double v : score) sum += std::exp(v - top);
    for (int j = 0; j < c.classCount; j++)
      y[j] = float(c.score == Score::probability ? std::exp(score[j] - top) / sum : score[j]);
  });
}

// The same, the k best only: by score, ties by lower index; NaN counts as best, as in torch.topk.
void cosineTopK(Context& context, const CosineTopK& c) {
  eachRow(context, c.rows, [&](int r) {
    const float* query = c.queries + size_t(r) * c.dim;
    std::vector<double> score(c.classCount);
    std::vector<int> order(c.classCount);
    double top = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int j = 0; j < c.classCount; j++) {
      const double v = cosine(query, c.classes + size_t(j) * c.dim, c.dim);
      top = std::max(top, score[j] = c.score == Score::cosine ? v : c.scale * v);
      order[j] = j;
    }
    for (double v : score) sum += std::exp(v - top);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return std::isnan(score[a]) ? !std::isnan(score[b]) : score[a] > score[b];
    });
    for (int i = 0; i < c.k; i++) {
      const double v = score[order[i]];
      c.index[size_t(r) * c.k + i] = order[i];
      c.value[size_t(r) * c.k + i] = float(c.score == Score::probability ? std::exp(v - top) / sum : v);
    }
  });
}

}  // namespace

const Backend referenceBackend{
    .name = "reference",
    .device = "reference",
    .borrowed = "",
    .available = available,
    .runs = runs,
    .epsilon = epsilon,
    .open = cpuOpen,
    .close = cpuClose,
    .alloc = cpuAlloc,
    .free = cpuFree,
    .upload = cpuCopy,
    .download = cpuCopy,
    .packRows = 1,
    .packedSize = packedSize,
    .pack = pack,
    .begin = cpuBegin,
    .end = cpuEnd,
    .linear = linear,
    .layerNorm = layerNorm,
    .attention = attention,
    .embed = embed,
    .gather = gather,
    .resize = referenceResize,
    .patches = patches,
    .conv = conv,
    .pool = pool,
    .normalise = normalise,
    .cosineSoftmax = cosineSoftmax,
    .cosineTopK = cosineTopK,
};

}  // namespace clip
