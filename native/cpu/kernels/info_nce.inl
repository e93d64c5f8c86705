// infoNce: the contrastive loss and its gradients, without storing the matrix of all pairs.
//
// The dot products of a block of rows of one side with all rows of the other are one matrix product. Its
// softmax statistics (the largest logit and 1 / sum of each row) are kept, the block is not. The statistics
// of the columns are those of the other side's rows. For the gradients each block is computed again, turned
// into d loss / d z in place, and multiplied by the other side. That makes six products of rows x rows x dim
// in all, or two for the loss alone. Accumulating the column sums while the rows are computed would save one
// product, but then the bits would depend on how the work is divided among threads.
//
// softmaxCrossEntropy is no part of this: the gradient of z adds the softmax of its row and that of its column,
// so the statistics of both sides must exist before a block is turned into it. A gradient of the rows alone would
// have to be stored and read again. And a loss is a double here, so that the mean over all pairs is rounded once.

constexpr int kPairBlock = kRowBlock;  // rows of z computed at a time

// One side as the second factor of a product, (rows, dim), and transposed, (dim, rows).
struct PackedSide {
  const float* rows;
  Bytes packed, turned;
  PackedSide(const float* x, int n, int dim, bool both)
      : rows(x),
        packed(packedSize(Dtype::float32, dim, n)),
        turned(both ? packedSize(Dtype::float32, n, dim) : 64) {
    pack({.dst = packed.data,
          .rows = x,
          .rowStride = size_t(dim),
          .in = dim,
          .out = n,
          .firstRow = 0,
          .rowCount = n,
          .dtype = Dtype::float32});
    if (!both) return;
    const Bytes columns(size_t(n) * dim * sizeof(float));
    float* t = static_cast<float*>(columns.data);
    for (int i = 0; i < n; i++)
      for (int k = 0; k < dim; k++) t[size_t(k) * n + i] = x[size_t(i) * dim + k];
    pack({.dst = turned.data,
          .rows = t,
          .rowStride = size_t(n),
          .in = n,
          .out = dim,
          .firstRow = 0,
          .rowCount = dim,
          .dtype = Dtype::float32});
  }
};

// For each row of z: its largest logit and 1 / sum of exp(logit - largest).
struct RowStatistics {
  Bytes memory;
  float *top, *inverse;
  explicit RowStatistics(int rows)
      : memory(size_t(rows) * 2 * sizeof(float)),
        top(static_cast<float*>(memory.data)),
        inverse(top + rows) {}
};

inline MatrixView denseRows(const float* x, int cols) {
  return {.data = const_cast<float*>(x), .stride = size_t(cols) * sizeof(float), .dtype = Dtype::float32};
}

// A block of dot products, whose rows lie `pairStride` bytes apart.
struct PairBlock {
  Bytes memory;
  MatrixView rows;
  PairBlock(int count, int n)
      : memory(lineStride(size_t(n) * sizeof(float)) * count),
        rows{.data = memory.data, .stride = lineStride(size_t(n) * sizeof(float)), .dtype = Dtype::float32} {}
  float* row(int i) const {
    return reinterpret_cast<float*>(static_cast<char*>(rows.data) + i * rows.stride);
  }
};

// block[i] = x[first + i] · every row of y.
inline void dotBlock(Context& context, const InfoNce& n, const PackedSide& x, const PackedSide& y, int first,
                     int count, const PairBlock& block) {
  linearOf<Float32>(context, {.x = denseRows(x.rows + size_t(first) * n.dim, n.dim),
                              .w = y.packed.data,
                              .bias = nullptr,
                              .residual = {},
                              .y = block.rows,
                              .rows = count,
                              .in = n.dim,
                              .out = n.rows,
                              .activation = Activation::none,
                              .weights = Dtype::float32});
}

// Computes the statistics of x's rows and loss[i] = log sum_j exp(z_ij) - z_ii.
inline void pairStatistics(Context& context, const InfoNce& n, const PackedSide& x, const PackedSide& y,
                           const PairBlock& block, const RowStatistics& s, double* loss) {
  const F scale = all(n.scale);
  for (int first = 0; first < n.rows; first += kPairBlock) {
    const int count = least(kPairBlock, n.rows - first);
    dotBlock(context, n, x, y, first, count, block);
    shareRows(context, count, 20.0 * n.rows, [&](int i) {
      const float* z = block.row(i);
      F most = all(-__builtin_inff());
      for (int j = 0; j < n.rows; j += kLanes) {
        const int m = least(kLanes, n.rows - j);
        most = larger(firstLanes(scale * load(z + j, m), m, most), most);
      }
      const float largest = top(most);
      F total = zero();
      for (int j = 0; j < n.rows; j += kLanes) {
        const int m = least(kLanes, n.rows - j);
        total = total + firstLanes(exponential(scale * load(z + j, m) - all(largest)), m, zero());
      }
      const float exponentials = sum(total);
      s.top[first + i] = largest;
      s.inverse[first + i] = 1 / exponentials;
      loss[first + i] =
          double(largest) - double(n.scale) * z[first + i] + __builtin_log(double(exponentials));
    });
  }
}

// out[i] = sum over j of d loss / d z_ij * scale * y[j]. If wanted, also ofScale[i] = sum over j of d loss /
// d z_ij * x[i] · y[j].
inline void pairGradient(Context& context, const InfoNce& n, const PackedSide& x, const PackedSide& y,
                         const PairBlock& block, const RowStatistics& ofX, const RowStatistics& ofY,
                         float* out, double* ofScale) {
  const F scale = all(n.scale), mean = all(0.5f / float(n.rows));
  for (int first = 0; first < n.rows; first += kPairBlock) {
    const int count = least(kPairBlock, n.rows - first);
    dotBlock(context, n, x, y, first, count, block);
    shareRows(context, count, 40.0 * n.rows, [&](int i) {
      float* z = block.row(i);
      const float own = z[first + i];
      const F largest = all(ofX.top[first + i]), inverse = all(ofX.inverse[first + i]);
      F total = zero();
      for (int j = 0; j < n.rows; j += kLanes) {
        const int m = least(kLanes, n.rows - j);
        const F dot = load(z + j, m), logit = scale * dot;
        const F g = fma(exponential(logit - largest), inverse,
                        exponential(logit - load(ofY.top + j, m)) * load(ofY.inverse + j, m)) *
                    mean;
        if (ofScale) total = fma(firstLanes(g, m, zero()), dot, total);
        store(z + j, g * scale, m);
      }
      z[first + i] -= n.scale / float(n.rows);
      if (ofScale) ofScale[first + i] = double(sum(total)) - double(own) / n.rows;
    });
    linearOf<Float32>(context, {.x = block.rows,
                                .w = y.turned.data,
                                .bias = nullptr,
                                .residual = {},
                                .y = denseRows(out + size_t(first) * n.dim, n.dim),
                                .rows = count,
                                .in = n.rows,
                                .out = n.dim,
                                .activation = Activation::none,
                                .weights = Dtype::float32});
  }
}

void infoNce(Context& context, const InfoNce& n) {
  const bool gradients = n.imagesGradient != nullptr;
  const PackedSide images(n.images, n.rows, n.dim, gradients), texts(n.texts, n.rows, n.dim, gradients);
  const PairBlock block(least(kPairBlock, n.rows), n.rows);
  const RowStatistics byImage(n.rows), byText(n.rows);
  const Bytes memory(size_t(n.rows) * 2 * sizeof(double));
  double *ofImages = static_cast<double*>(memory.data), *ofTexts = ofImages + n.rows;
  pairStatistics(context, n, images, texts, block, byImage, ofImages);
  pairStatistics(context, n, texts, images, block, byText, ofTexts);
  double loss = 0;
  for (int i = 0; i < n.rows; i++) loss += ofImages[i] + ofTexts[i];
  *n.loss = loss / (2.0 * n.rows);
  if (!gradients) return;
  pairGradient(context, n, images, texts, block, byImage, byText, n.imagesGradient, ofImages);
  pairGradient(context, n, texts, images, block, byText, byImage, n.textsGradient, nullptr);
  *n.scaleGradient = 0;
  for (int i = 0; i < n.rows; i++) *n.scaleGradient += ofImages[i];
}
