#pragma once
// The end of every tower: its rows are projected into the joint space if embeddings are requested, and scaled
// to length 1 if requested.
#include "model/ops.h"
#include "model/pass.h"

namespace clip {

class Tail {
 public:
  // y: (rows, width), the result of the tower's own layers. Allocates the memory of the embeddings.
  Tail(const Pass& pass, const MatrixView& y, int rows, int width, const LinearWeight& projection)
      : joint_(pass.output == Output::embedding && projection.packed),
        normalise_(pass.normalise),
        rows_(rows),
        columns_(joint_ ? projection.out : width),
        y_(y),
        projection_(projection),
        z_(joint_ ? pass.arena.rows(rows, projection.out, Dtype::float32) : y) {}

  void run(const Ops& ops) const {
    // z = y W_projection
    if (joint_) ops.linear(y_, projection_, z_, rows_);
    // z / |z|
    if (normalise_) ops.normalise(z_, rows_, columns_);
  }

  // Copies out the first `count` rows.
  HostRows results(const Pass& pass, int count) const { return {pass, z_, count, columns_}; }

 private:
  const bool joint_, normalise_;
  const int rows_, columns_;
  const MatrixView y_;
  const LinearWeight& projection_;
  const MatrixView z_;
};

}  // namespace clip
