#pragma once
// The Backend's operations in the form that the towers use: one line per equation.
#include <cstdint>

#include "backend.h"
#include "model/weights.h"

namespace clip {

// The rows of all sequences of one pass, one after the other, and which rows each of them sees.
struct Sequences {
  int rows;
  Mask mask;
  const int32_t* first;   // full and causal
  const int32_t* parent;  // tree
  // The rotation of queries and keys: the table of Rope, and each row's place in it; nullptr if there is none.
  const float* angles = nullptr;
  const int32_t* angle = nullptr;
};

class Ops {
 public:
  Ops(const Backend& backend, Context& context) : backend_(backend), context_(context) {}

  // y = f(x W + b) + residual
  void linear(const MatrixView& x, const LinearWeight& w, const MatrixView& y, int rows,
              Activation f = Activation::none, const MatrixView& residual = {}) const {
    backend_.linear(context_, {.x = x,
                               .w = w.packed,
                               .bias = w.bias,
                               .residual = residual,
                               .y = y,
                               .rows = rows,
                               .in = w.in,
                               .out = w.out,
                               .activation = f,
                               .weights = w.format.weights});
  }
  void layerNorm(const MatrixView& x, const NormWeight& w, const MatrixView& y, int rows,
                 const BlocksConfig& c) const {
    layerNorm(x, w, y, rows, c.width, c.layerNormEps);
  }
  void layerNorm(const MatrixView& x, const NormWeight& w, const MatrixView& y, int rows, int cols,
                 float epsilon) const {
    backend_.layerNorm(
        context_,
        {.x = x, .weight = w.weight, .bias = w.bias, .y = y, .rows = rows, .cols = cols, .epsilon = epsilon});
  }
  // Rotates the heads of x in place.
  void rope(const MatrixView& x, const float* angles, const int32_t* angle, int rows, int heads,
            int dim) const {
    backend_.rope(
        context_,
        {.x = x, .y = x, .table = angles, .position = angle, .rows = rows, .heads = heads, .dim = dim});
  }
  // y = f(a) * b
  void gate(const MatrixView& a, const MatrixView& b, const MatrixView& y, int rows, int cols,
            Gating f) const {
    backend_.gate(context_, {.a = a, .b = b, .y = y, .rows = rows, .cols = cols, .activation = f});
  }
  // Returns x, or converts it to y and returns y if y has another dtype.
  MatrixView as(const MatrixView& x, const MatrixView& y, int rows, int cols) const {
    if (x.dtype == y.dtype) return x;
    backend_.cast(context_, {.x = x, .y = y, .rows = rows, .cols = cols});
    return y;
  }
  void copy(const MatrixView& x, const MatrixView& y, int rows, int cols) const {
    backend_.cast(context_, {.x = x, .y = y, .rows = rows, .cols = cols});
  }
  void attention(const MatrixView& q, const MatrixView& k, const MatrixView& v, const MatrixView& out,
                 const Sequences& s, int queries, const int32_t* queryRow, const BlocksConfig& c) const {
    backend_.attention(context_, {.q = q,
                                  .k = k,
                                  .v = v,
                                  .out = out,
                                  .rows = s.rows,
                                  .queries = queries,
                                  .queryRow = queryRow,
                                  .heads = c.heads,
                                  .dim = c.width / c.heads,
                                  .mask = s.mask,
                                  .first = s.first,
                                  .parent = s.parent});
  }
  void gather(const MatrixView& x, const int32_t* row, const MatrixView& y, int count, int cols) const {
    backend_.gather(context_, {.x = x, .row = row, .y = y, .count = count, .cols = cols});
  }
  // y = relu(x * W + b), a 3 x 3 convolution with zeros outside the image
  void conv3x3(const MatrixView& x, const LinearWeight& w, const MatrixView& y, int images, int side,
               int stride = 1) const {
    backend_.conv(context_, {.x = x,
                             .w = w.packed,
                             .dtype = w.format.weights,
                             .bias = w.bias,
                             .y = y,
                             .images = images,
                             .height = side,
                             .width = side,
                             .in = w.in / 9,
                             .out = w.out,
                             .kernel = 3,
                             .stride = stride,
                             .pad = 1,
                             .activation = Activation::relu});
  }
  // y = x * w + b, a 7 x 7 convolution of each channel with zeros outside the image
  void depthwise7x7(const MatrixView& x, const float* w, const float* bias, const MatrixView& y, int images,
                    int side, int channels) const {
    backend_.depthwiseConv(context_, {.x = x,
                                      .w = w,
                                      .bias = bias,
                                      .y = y,
                                      .images = images,
                                      .height = side,
                                      .width = side,
                                      .in = channels,
                                      .multiplier = 1,
                                      .kernel = 7,
                                      .stride = 1,
                                      .pad = 3,
                                      .activation = Activation::none});
  }
  // y = mean over kernel x kernel windows
  void pool(const MatrixView& x, const MatrixView& y, int images, int side, int channels, int kernel) const {
    backend_.pool(context_, {.x = x,
                             .y = y,
                             .images = images,
                             .height = side,
                             .width = side,
                             .channels = channels,
                             .kernelHeight = kernel,
                             .kernelWidth = kernel});
  }
  // y = the mean of every `count` consecutive rows of x
  void mean(const MatrixView& x, const MatrixView& y, int rows, int count, int cols) const {
    backend_.pool(context_, {.x = x,
                             .y = y,
                             .images = rows,
                             .height = 1,
                             .width = count,
                             .channels = cols,
                             .kernelHeight = 1,
                             .kernelWidth = count});
  }
  // y[i] = the mean of all rows of the sequence of row queryRow[i] of x: the attention of queries that are zero
  void sequenceMean(const MatrixView& zeros, const MatrixView& x, const MatrixView& y, const Sequences& s,
                    int queries, const int32_t* queryRow, const BlocksConfig& c) const {
    attention(zeros, x, x, y, s, queries, queryRow, c);
  }
  void normalise(const MatrixView& x, int rows, int cols) const {
    backend_.normalise(context_, {.x = x, .y = x, .rows = rows, .cols = cols});
  }

 private:
  const Backend& backend_;
  Context& context_;
};

}  // namespace clip
