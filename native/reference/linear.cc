// The specification of the matrix products (float32 and bfloat16 with double accumulators, int8 with exact
// integers), of quantisation, and of the packing of weights, which here is a row-major copy, followed for
// int8 by the scale and sum of each row.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "threads/context.h"
#include "reference/reference.h"

namespace clip::reference {
namespace {

double relu(double v) { return v < 0 ? 0 : v; }  // NaN stays NaN

}  // namespace

double activate(Activation n, double v) {
  switch (n) {
    case Activation::none:
    case Activation::relu:  // applied after the residual, by the caller
      return v;
    case Activation::quickGelu:
      return v / (1 + std::exp(-1.702 * v));  // x sigmoid(1.702 x): CLIP, model.py QuickGELU
    case Activation::gelu:
      return 0.5 * v * std::erfc(-v / std::sqrt(2.0));  // x Phi(x): Hendrycks & Gimpel 2016
    case Activation::geluTanh:  // 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), without 1 - 1 in the tail
      return v / (1 + std::exp(-2 * std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v)));
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-v));
  }
  return v;
}

namespace {

struct Quantised {
  float scale;
  int32_t zero;
};

// Asymmetric bytes whose range includes 0, in float32 arithmetic, as specified at MatrixView in backend.h.
Quantised quantise(const float* x, int cols, uint8_t* bytes) {
  float low = 0, high = 0;
  bool finite = true;
  for (int i = 0; i < cols; i++) {
    finite = finite && std::isfinite(x[i]);
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  if (!finite || !std::isfinite(high - low)) {
    std::memset(bytes, 0, static_cast<size_t>(cols));
    return {std::numeric_limits<float>::quiet_NaN(), 0};
  }
  const float scale = std::max((high - low) / 255.0f, 1e-30f), inverse = 1.0f / scale;
  const int32_t zero = static_cast<int32_t>(std::nearbyint(-low * inverse));
  for (int i = 0; i < cols; i++) {
    const int32_t q = static_cast<int32_t>(std::nearbyint(x[i] * inverse)) + zero;
    bytes[i] = static_cast<uint8_t>(std::clamp(q, 0, 255));
  }
  return {scale, zero};
}

// A packed matrix (out, in): the rows and, for int8, a scale and a sum per row.
struct Packed {
  const void* data;
  int in, out;
  Dtype dtype;
  const float* scales() const {
    return reinterpret_cast<const float*>(static_cast<const int8_t*>(data) +
                                          (static_cast<size_t>(in) * out + 3) / 4 * 4);
  }
  const int32_t* sums() const { return reinterpret_cast<const int32_t*>(scales() + out); }
};

// The sum over i of x[i] w[o][i], where x is row r of a matrix in w's dtype, or in float32 if w is float16.
double product(const Packed& w, int o, const MatrixView& x, int r) {
  if (w.dtype == Dtype::int8) {
    const uint8_t* bytes = static_cast<const uint8_t*>(rowOf(x, r));
    const int8_t* weights = static_cast<const int8_t*>(w.data) + static_cast<size_t>(o) * w.in;
    int32_t sum = 0;
    for (int i = 0; i < w.in; i++) sum += bytes[i] * weights[i];
    const int64_t centred = int64_t{sum} - int64_t{x.rowZero[r]} * w.sums()[o];
    return double(x.rowScale[r]) * w.scales()[o] * double(centred);
  }
  const void* row = static_cast<const char*>(w.data) + static_cast<size_t>(o) * w.in * bytesOf(w.dtype);
  double sum = 0;
  for (int i = 0; i < w.in; i++) sum += double(widen(rowOf(x, r), x.dtype, i)) * widen(row, w.dtype, i);
  return sum;
}

}  // namespace

size_t packedSize(Dtype dtype, int in, int out) {
  const size_t values = static_cast<size_t>(in) * out;
  return dtype == Dtype::int8 ? (values + 3) / 4 * 4 + static_cast<size_t>(out) * 8 : values * bytesOf(dtype);
}

bool pack(const Pack& p) {
  bool exact = true;
  const Packed packed{p.dst, p.in, p.out, p.dtype};
  for (int r = 0; r < p.rowCount; r++) {
    const float* from = p.rows + static_cast<size_t>(r) * p.rowStride;
    const size_t row = static_cast<size_t>(p.firstRow) + r, at = row * p.in;
    if (p.dtype == Dtype::float32) {
      std::memcpy(static_cast<float*>(p.dst) + at, from, static_cast<size_t>(p.in) * sizeof(float));
    } else if (p.dtype == Dtype::float16) {
      auto* const to = static_cast<uint16_t*>(p.dst) + at;
      std::transform(from, from + p.in, to, toFloat16);
      for (int i = 0; i < p.in; i++) exact = exact && widen(to, Dtype::float16, i) == from[i];
    } else if (p.dtype == Dtype::bfloat16) {
      std::transform(from, from + p.in, static_cast<uint16_t*>(p.dst) + at, toBfloat16);
    } else {
      // Symmetric bytes, as specified at Linear in backend.h.
      float most = 0;
      bool finite = true;
      for (int i = 0; i < p.in; i++) {
        finite = finite && std::isfinite(from[i]);
        most = std::max(most, std::abs(from[i]));
      }
      const float scale = finite ? std::max(most / 127.0f, 1e-30f) : std::numeric_limits<float>::quiet_NaN();
      const float inverse = 1.0f / scale;
      int32_t sum = 0;
      for (int i = 0; i < p.in; i++) {
        const int32_t q =
            !finite ? 0 : std::clamp(static_cast<int32_t>(std::nearbyint(from[i] * inverse)), -127, 127);
        static_cast<int8_t*>(p.dst)[at + i] = static_cast<int8_t>(q);
        sum += q;
      }
      const_cast<float*>(packed.scales())[row] = scale;
      const_cast<int32_t*>(packed.sums())[row] = sum;
    }
  }
  return exact;
}

// y = f(x Wt + b) + residual: torch.nn.Linear, with W (out, in) as checkpoints store it.
void linear(Context& context, const Linear& l) {
  const Packed w{l.w, l.in, l.out, l.weights};
  eachRow(context.threads, l.rows, [&](int r) {
    for (int o = 0; o < l.out; o++) {
      endIfStopped();
      double sum = product(w, o, l.x, r);
      if (l.bias) sum += l.bias[o];
      sum = activate(l.activation, sum);
      if (l.residual.data) sum += in(l.residual, r)[o];
      put(l.y, r, o, l.activation == Activation::relu ? relu(sum) : sum);
    }
  });
}

// y[o] = f(sum over (ky, kx, c) of x[oy * stride + ky - pad, ox * stride + kx - pad, c] w[o, ky, kx, c] +
// b[o]): torch.nn.Conv2d followed by its (folded) batch norm and an activation function, He et al. 2016.
void conv(Context& context, const Conv& c) {
  const int outHeight = c.outHeight(), outWidth = c.outWidth(), inputs = c.kernel * c.kernel * c.in;
  const Packed w{c.w, inputs, c.out, c.dtype};
  eachRow(context.threads, c.images * outHeight * outWidth, [&](int r) {
    const int image = r / (outHeight * outWidth), oy = r / outWidth % outHeight, ox = r % outWidth;
    // The window as one row, with zeros outside the image.
    std::vector<float> window(static_cast<size_t>(inputs));
    float* to = window.data();
    for (int ky = 0; ky < c.kernel; ky++)
      for (int kx = 0; kx < c.kernel; kx++, to += c.in) {
        const int y = oy * c.stride + ky - c.pad, x = ox * c.stride + kx - c.pad;
        if (y < 0 || y >= c.height || x < 0 || x >= c.width) continue;
        for (int i = 0; i < c.in; i++)
          to[i] = static_cast<float>(number(c.x, (image * c.height + y) * c.width + x, i));
      }
    std::vector<uint8_t> bytes(c.dtype == Dtype::int8 ? window.size() : 0);
    MatrixView row{.data = window.data()};
    Quantised q{};
    if (c.dtype == Dtype::int8) {
      q = quantise(window.data(), inputs, bytes.data());
      row = {.data = bytes.data(), .dtype = Dtype::int8, .rowScale = &q.scale, .rowZero = &q.zero};
    }
    for (int o = 0; o < c.out; o++) {
      endIfStopped();
      const double sum = activate(c.activation, product(w, o, row, 0) + c.bias[o]);
      put(c.y, r, o, c.activation == Activation::relu ? relu(sum) : sum);
    }
  });
}

void writeRow(const MatrixView& y, int r, const float* x, int cols) {
  if (y.dtype == Dtype::int8) {
    const Quantised q = quantise(x, cols, static_cast<uint8_t*>(const_cast<void*>(rowOf(y, r))));
    y.rowScale[r] = q.scale;
    y.rowZero[r] = q.zero;
  } else {
    for (int i = 0; i < cols; i++) put(y, r, i, x[i]);
  }
}

void cast(Context& context, const Cast& c) {
  eachRow(context.threads, c.rows, [&](int r) { writeRow(c.y, r, in(c.x, r), c.cols); });
}

}  // namespace clip::reference
