#pragma once
// The end of every tower: its rows are projected into the joint space if embeddings are requested, by one
// matrix or two, and scaled to length 1 if requested.
#include "model/ops.h"
#include "model/pass.h"

namespace clip {

class Tail {
 public:
  // y: (rows, width), the result of the tower's own layers. Allocates the memory of the embeddings.
  Tail(const Pass& pass, const MatrixView& y, int rows, int width, const LinearWeight& projection,
       const LinearWeight& hidden = {}, Activation activation = Activation::none)
      : joint_(pass.output == Output::embedding && projection.packed),
        normalise_(pass.normalise),
        rows_(rows),
        columns_(joint_ ? projection.out : width),
        y_(y),
        hidden_(hidden),
        activation_(activation),
        m_(joint_ && hidden.packed ? pass.arena.rows(rows, hidden.out, Dtype::float32) : y),
        projection_(projection),
        z_(joint_ ? pass.arena.rows(rows, projection.out, Dtype::float32) : y) {}

  void run(const Ops& ops) const {
    // m = f(y W_hidden + b_hidden)
    if (joint_ && hidden_.packed) ops.linear(y_, hidden_, m_, rows_, activation_);
    // z = m W_projection
    if (joint_) ops.linear(m_, projection_, z_, rows_);
    // z / |z|
    if (normalise_) ops.normalise(z_, rows_, columns_);
  }

  // Copies out the first `count` rows.
  HostRows results(const Pass& pass, int count) const { return {pass, z_, count, columns_}; }

 private:
  const bool joint_, normalise_;
  const int rows_, columns_;
  const MatrixView y_;
  const LinearWeight hidden_;
  const Activation activation_;
  const MatrixView m_;  // y without a hidden layer
  const LinearWeight& projection_;
  const MatrixView z_;
};

}  // namespace clip
