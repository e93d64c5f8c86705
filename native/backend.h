#pragma once
// THE contract between the model and the machine. Read this file first.
//
// native/model/ describes CLIP as calls of these operations and never asks which backend it runs on;
// reference/, cpu/ and cuda/ each fill one `Backend` table and never look into model/.
//
// Rules that hold for every op of every backend:
//  * shapes are checked once, when a model or a request is built: ops neither allocate results nor check,
//    and throw only if the machine fails (no memory, a lost GPU);
//  * batch invariance: the bits of an output row depend only on that row's inputs and the reduction length,
//    never on the number of rows or threads or on other rows (no split of a sum by rows or threads);
//  * a NaN in an input gives NaN in the output;
//  * an op enters this table together with its plain-loop entry in reference/ and with one in every
//    backend.
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "dtypes.h"

namespace clip {

// A matrix of activations: row r starts at data + r * stride bytes.
//
// bfloat16: the float32 rounded to nearest, ties to even; a subnormal float32 becomes zero, as in the CPU's
// own conversion. NaN stays NaN.
//
// int8: rows of asymmetric unsigned bytes, value = rowScale[r] * (byte - rowZero[r]), which every backend
// quantises in the same way, in float32 arithmetic, each operation rounded to nearest even:
//   low = min(0, x...), high = max(0, x...), scale = max((high - low) / 255, 1e-30), inverse = 1 / scale,
//   zero = round(-low * inverse), byte = clamp(round(x * inverse) + zero, 0, 255).
// A row that contains a NaN or an infinity, or whose high - low is infinite, has scale NaN, zero 0 and bytes
// 0, so that everything computed from it is NaN.
struct MatrixView {
  void* data = nullptr;
  size_t stride = 0;  // bytes
  Dtype dtype = Dtype::float32;
  float* rowScale = nullptr;
  int32_t* rowZero = nullptr;
};

// Row stride for `bytes` of payload: an odd number of 64-byte lines, so that consecutive rows fall into
// different sets of the first-level cache (K = 3072 floats is 192 lines: every row would share one set).
constexpr size_t lineStride(size_t bytes) {
  const size_t lines = (bytes + 63) / 64;
  return (lines % 2 ? lines : lines + 1) * 64;
}

enum class Activation : uint8_t {
  none,
  quickGelu,
  gelu,
  relu,      // of the ResNets: applied after the residual is added; the others before it
  geluTanh,  // the tanh form of GELU: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  sigmoid,   // 1 / (1 + exp(-x))
};

// y (rows, out) = activation(x (rows, in) · w (in, out) + bias) + residual; relu(x · w + bias + residual)
//
// w and x have one of the formats of dtypes.h. float32, bfloat16 and float16 are summed in float32. int8
// weights have one symmetric scale per output:
//   scale[o] = max(max |w[o]| / 127, 1e-30), byte = clamp(round(w * (1 / scale[o])), -127, 127),
//   x · w = rowScale * scale[o] * (sum of x bytes * w bytes - rowZero * sum of w bytes),
// where the sums are exact in 32 bits, for at most kMaxInt8Inputs inputs. Weights that contain a NaN or an
// infinity have scale NaN and bytes 0.
constexpr int kMaxInt8Inputs = 65536;
struct Linear {
  MatrixView x;
  const void* w;        // packed by Backend::pack
  const float* bias;    // (out) or nullptr
  MatrixView residual;  // float32 (rows, out), may be y itself; data == nullptr if there is none
  MatrixView y;         // float32 or bfloat16
  int rows, in, out;
  Activation activation;
  Dtype weights;  // the dtype in which w was packed
  Format format() const { return {weights, x.dtype}; }
};

// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias over each row, with the biased variance, as
// in PyTorch. y may be x.
struct LayerNorm {
  MatrixView x;  // float32
  const float *weight, *bias;
  MatrixView y;  // float32, bfloat16 or int8
  int rows, cols;
  float epsilon;
};

// y = x in the dtype of y; int8 rows are quantised as described at MatrixView
struct Cast {
  MatrixView x;  // float32
  MatrixView y;  // float32, bfloat16 or int8
  int rows, cols;
};

enum class Mask : uint8_t {
  full,    // a row sees every row of its sequence
  causal,  // row r sees first[r] .. r
  tree,    // row r sees itself and its ancestors: parent[r], parent[parent[r]], ... up to a root (parent -1)
};

// out[i] = softmax(q[i] · k / sqrt(dim)) v, per head, over the keys that the mask lets query i see. The rows
// of all sequences are packed one after the other. Query i is row i of q and of out, and its position is row
// queryRow[i] of k and v; if queryRow is nullptr, there is one query per row (queries == rows). Head h has
// the columns h*dim .. h*dim+dim-1 of q, k, v and out. The keys of a tree row are summed from the root down,
// so a trie gives the bits of the plain causal computation.
//
// q, k and v are all float32 or all bfloat16; out is float32 or bfloat16. For float32 and bfloat16 alike:
//   s[j] = q[i] · k[j] / sqrt(dim)                    products of bfloat16 are exact, sums in float32
//   e[j] = exp(s[j] - max s)                          in float32
//   out[i] = (sum of e[j] v[j]) / (sum of e[j])       both sums in float32, the division last
// For bfloat16, each e[j] is rounded to bfloat16 (as described at MatrixView) before either sum, so that the
// weights of a mean add up to 1 and the mean of equal values is that value.
struct Attention {
  MatrixView q, k, v, out;
  int rows, queries;
  const int32_t* queryRow;
  int heads, dim;
  Mask mask;
  const int32_t* first;   // (rows) the row at which r's sequence starts; full and causal
  const int32_t* parent;  // (rows) parent[r] < r, -1 at a root; tree only, otherwise nullptr
  Format format() const { return {k.dtype, q.dtype}; }
};

// y[r] = table[ids[r]] + positions[position[r]]
struct Embed {
  const void* table;   // (any, cols) float32, float16 or bfloat16
  size_t tableStride;  // bytes
  Dtype tableDtype;
  const int32_t* ids;
  const float* positions;  // (any, cols), dense
  const int32_t* position;
  MatrixView y;  // float32
  int rows, cols;
};

// y[i] = x[row[i]]
struct Gather {
  MatrixView x;  // float32
  const int32_t* row;
  MatrixView y;  // float32
  int count, cols;
};

enum class Filter : uint8_t { nearest, bilinear, bicubic };

// Pillow's 8-bit resize of (height, width, channels) to (outHeight, outWidth), of which only the window
// [cropY, cropY + cropHeight) x [cropX, cropX + cropWidth) is computed. Horizontal pass first, rounded to 8
// bits in between; coefficients with 22 fractional bits; a pass whose size does not change is skipped.
// verticalFirst: Pillow's other order, for images more than 100 times as high as wide that shrink.
struct Resize {
  const uint8_t* src;
  int width, height, channels;
  int outWidth, outHeight;
  int cropX, cropY, cropWidth, cropHeight;
  Filter filter;
  bool verticalFirst;
  uint8_t* dst;  // (cropHeight, cropWidth, channels)
  // src may be only a part of the image: from this row and column on and `columns` wide (0: as wide as the
  // image). The window needs no pixel outside that part.
  int firstRow = 0, firstColumn = 0, columns = 0;
  // As in Pillow's `box`: for an image that was decoded at a fraction of its size, only the part of the last
  // column and row up to here belongs to the image. 0: all of it.
  double endColumn = 0, endRow = 0;
};

// Cuts (n, size, size, 3) pixels into rows of a matrix (n * (size/patch)^2, 3 * patch^2), columns ordered
// (channel, y, x) as the checkpoint's convolution weight is. uint8 pixels are looked up in `value`:
// value[channel * 256 + byte] = (byte / 255 - mean) / std in float32, exactly as torchvision computes it.
struct Patches {
  const uint8_t* pixels;  // (n, size, size, 3) or nullptr
  const float* value;     // (3, 256)
  const float* planes;    // (n, 3, size, size) already normalized, used when pixels == nullptr
  MatrixView y;           // float32 or bfloat16
  // If size is not a multiple of patch, the remainder at the right and bottom is cut off, as a convolution
  // does.
  int images, size, patch;
};

// y = activation(convolution of x + bias). x and y are images stored as matrices, with one row of channels per
// pixel (NHWC). The weight is packed as a matrix (out, kernel * kernel * in) with columns ordered (y, x,
// channel); outside the image, x counts as zero. For int8, x is float32 and the window of each output pixel
// is quantised as one row.
struct Conv {
  MatrixView x;  // (images * height * width, in), in w's dtype; float32 for int8
  const void* w;
  Dtype dtype;        // of w
  const float* bias;  // (out)
  MatrixView y;       // (images * outHeight * outWidth, out), float32 or bfloat16
  int images, height, width, in, out;
  int kernel, stride, pad;
  Activation activation;
  Format format() const { return uniform(dtype); }
  int outHeight() const { return (height + 2 * pad - kernel) / stride + 1; }
  int outWidth() const { return (width + 2 * pad - kernel) / stride + 1; }
};

// y = activation(depthwise convolution of x + bias), on images stored like those of Conv: each output channel is
// the convolution of one input channel, output o that of input floor(o / multiplier). Outside the image, x counts
// as zero. The weights have columns of their own for each tap, ordered (y, x), and are float32 in every dtype:
// they are few.
struct DepthwiseConv {
  MatrixView x;       // float32 (images * height * width, in)
  const float* w;     // (kernel * kernel, in * multiplier)
  const float* bias;  // (in * multiplier)
  MatrixView y;       // float32 or bfloat16 (images * outHeight * outWidth, in * multiplier)
  int images, height, width, in;
  int multiplier;  // 1 or 2
  int kernel;      // 3 or 7
  int stride;      // 1 or 2
  int pad;
  Activation activation;  // none or gelu
  int out() const { return in * multiplier; }
  int outHeight() const { return (height + 2 * pad - kernel) / stride + 1; }
  int outWidth() const { return (width + 2 * pad - kernel) / stride + 1; }
};

// y[r] = activation(x[r] * gate[r / rowsPerGate]), number by number: the excitation of a squeeze-and-excitation
// block, where a gate belongs to all pixels of an image.
struct ChannelGate {
  MatrixView x;     // float32 (rows, cols)
  MatrixView gate;  // float32 (ceil(rows / rowsPerGate), cols)
  MatrixView y;     // float32 or bfloat16, may be x
  int rows, cols, rowsPerGate;
  Activation activation;  // none or gelu
};

// y = mean over each kernelHeight x kernelWidth window of x, for adjacent windows (stride = kernel). Pixels
// at the right and bottom that do not fill a window are cut off, as in torch.nn.AvgPool2d.
struct Pooling {
  MatrixView x;  // float32 (images * height * width, channels)
  MatrixView y;  // float32 or bfloat16 (images * (height / kernelHeight) * (width / kernelWidth), channels)
  int images, height, width, channels;
  int kernelHeight, kernelWidth;
};

// y = x / max(|x|, 1e-12), per row.
struct Normalise {
  MatrixView x;  // float32
  MatrixView y;  // float32, may be x
  int rows, cols;
};

// y = x with neighbouring numbers rotated (rotary position embedding, Su et al. 2021), each of the heads alike:
//   y[2j] = x[2j] table[2j] + x[2j + 1] table[dim + 2j]
//   y[2j + 1] = x[2j + 1] table[2j + 1] + x[2j] table[dim + 2j + 1]
// where the table's row position[r] has the cosine of each number's angle, then its sine, negative at even
// numbers. Rows whose position is negative are not rotated.
struct Rope {
  MatrixView x;             // float32 or bfloat16 (rows, heads * dim)
  MatrixView y;             // in x's dtype, may be x
  const float* table;       // (any, 2 * dim), dense
  const int32_t* position;  // (rows)
  int rows, heads, dim;     // dim is even
};

// The activation of a gate.
enum class Gating : uint8_t {
  silu,  // a / (1 + exp(-a))
  gelu,  // the exact GELU
};

// y = activation(a) * b, the gated hidden layer of an MLP (SwiGLU, GeGLU; Shazeer 2020).
struct Gate {
  MatrixView a, b;  // both float32 or both bfloat16 (rows, cols)
  MatrixView y;     // float32 or bfloat16
  int rows, cols;
  Gating activation;
};

// The kind of score computed from a query's logits z = scale * cosine + bias.
enum class Score : uint8_t {
  probability,  // their softmax over the classes
  logit,
  cosine,
  sigmoid,  // 1 / (1 + exp(-z)) of each class on its own, as in SigLIP
};

// Dense rows (count, dim) with which queries are compared. bfloat16 is widened, so its scores have the bits
// of the float32 matrix with the same numbers.
//
// int8: the value of a number in row j is scale[j] * byte. A positive scale cancels out of a cosine, so
// `scale` may be nullptr; a negative one changes the sign, 0 makes the row a zero vector, and one that is not
// finite makes its scores NaN. The query is rounded to 15 bits, in float32 arithmetic, each operation rounded
// to nearest even:
//   step = max(max |x| / 16383, 1e-30), q = clamp(round(x * (1 / step)), -16383, 16383),
// and cosine = (q . bytes) / |q| / |bytes|, with sums that are exact in integers; it is 0 if either side is
// all zeros. If the query contains a NaN or an infinity, its cosines are NaN.
struct Classes {
  const void* data;
  Dtype dtype = Dtype::float32;  // float32, bfloat16 or int8
  const float* scale = nullptr;  // int8: (count) or nullptr
};
constexpr int kQuerySteps = 16383;

// y (rows, classes) = softmax over classes of scale * cosine(queries[i], classes[j]) + bias, or the sigmoid
// of each logit, or the logits or the cosines themselves. Both sides are normalized by the op (norm at least
// 1e-12). A cosine is never outside [-1, 1], however its sums were rounded (except on CUDA, which computes no
// scores of the public API: there by a few epsilons).
struct CosineSoftmax {
  const float* queries;  // (rows, dim), dense
  Classes classes;       // (classCount, dim)
  float* y;              // (rows, classCount), dense
  int rows, classCount, dim;
  float scale;
  Score score;
  float bias = 0;
};

// The best classes of each query so far, and the sums from which probabilities are computed. A matrix may be
// passed in parts, one per call; after the last part, finishTopK (top_k.h) ranks the classes: equal scores by
// lower index, NaN above any number. The scores of all classes are never stored.
constexpr int kTopKBlock = 256;  // classes; the first class of a part is a multiple of this
struct TopK;                     // top_k.h
struct TopKSum {
  double most, sum;  // for one block and one query: the largest score, and the sum of exp(score - most)
};
struct CosineTopK {
  const float* queries;  // (rows, dim), dense
  Classes classes;       // (classCount, dim): a part of the matrix
  TopK* best;            // (rows): receives the classes of this part, by their index in the whole matrix
  TopKSum* sums;         // (ceil(classCount / kTopKBlock), rows): written for the blocks of this part
  int rows, classCount, dim;
  int32_t firstClass;  // index of the part's first class in the whole matrix
  float scale;
  Score score;  // probability and sigmoid: computes logits here
  float bias = 0;
};

// The symmetric contrastive loss (InfoNCE, multi-class N-pair) of the paper's figure 3, as in open_clip's
// ClipLoss, and its gradients: z = scale * images · textsᵀ, loss = (cross entropy of z's rows + that of its
// columns, where pair i is the target of row and column i) / 2, each averaged over the pairs. Rows are not
// normalized here; the model has normalized them. z (rows, rows) is never stored.
struct InfoNce {
  const float* images;  // (rows, dim), dense
  const float* texts;   // (rows, dim), dense
  int rows, dim;
  float scale;
  double* loss;           // one number
  float* imagesGradient;  // (rows, dim) each; all three nullptr: only the loss is computed
  float* textsGradient;
  double* scaleGradient;  // one number
};

// The cross entropy of each row of logits with its target, and its gradient, like torch.nn.functional's
// cross_entropy with class indices:
//   loss[r] = log(sum_j exp(x[r][j])) - x[r][target[r]]
//   gradient[r][j] = scale * (exp(x[r][j]) / sum_i exp(x[r][i]) - [j == target[r]])
// A row with a negative target does not count: its loss and its gradient are 0. A logit of -infinity has the
// probability 0. A row that contains a NaN or +infinity, or only -infinity, gives NaN. The columns are read
// twice, and probabilities are not stored.
struct SoftmaxCrossEntropy {
  MatrixView x;           // (rows, cols) float32 or bfloat16
  const int32_t* target;  // (rows): below cols
  float* loss;            // (rows)
  // (rows, cols) float32 or bfloat16, may be x; data == nullptr: only the loss is computed
  MatrixView gradient;
  int rows, cols;
  float scale;  // of the gradient; for the gradient of the mean, 1 / (number of rows that count)
};

// Every op, with its name in the table and the struct of its arguments. All code that has to name every op
// uses this list. Products have an entry for each format (dtypes.h). Row ops compute each row that they write
// independently; a GPU runs them with a warp per row (cuda/rows.h).
#define CLIP_PRODUCTS(OP)  \
  OP(linear, Linear)       \
  OP(attention, Attention) \
  OP(conv, Conv)
#define CLIP_ROW_OPS(OP)           \
  OP(layerNorm, LayerNorm)         \
  OP(cast, Cast)                   \
  OP(embed, Embed)                 \
  OP(gather, Gather)               \
  OP(patches, Patches)             \
  OP(pool, Pooling)                \
  OP(depthwiseConv, DepthwiseConv) \
  OP(channelGate, ChannelGate)     \
  OP(normalise, Normalise)         \
  OP(rope, Rope)                   \
  OP(gate, Gate)                   \
  OP(softmaxCrossEntropy, SoftmaxCrossEntropy)
#define CLIP_OTHER_OPS(OP)         \
  CLIP_ROW_OPS(OP)                 \
  OP(resize, Resize)               \
  OP(cosineSoftmax, CosineSoftmax) \
  OP(cosineTopK, CosineTopK)       \
  OP(infoNce, InfoNce)
#define CLIP_OPS(OP) CLIP_PRODUCTS(OP) CLIP_OTHER_OPS(OP)

// Where an op runs: threads or stream, and scratch memory. There is one per running job; only its backend
// knows its contents.
struct Context;

// Identifies the graph of a pass that the model is about to run. CPU backends ignore it. CUDA records the
// calls on first use and replays them later, so equal keys must make equal calls, at equal addresses.
struct GraphKey {
  enum Tower : uint8_t { image, text } tower;
  int rowsBucket, sequencesBucket;  // including the padding that Backend::bucket requires
  int longest;                      // no row sees more rows than this
  uint32_t variant;                 // everything else on which the calls depend
  const void* memory;  // the block that contains all rows of the calls; nullptr: they are not in one block
  size_t memoryBytes;
};

// Packs rows [firstRow, firstRow + rowCount) of a weight (out, in) into `dst`, the whole packed matrix.
// firstRow is a multiple of Backend::packRows, so that threads can share the work.
struct Pack {
  void* dst;
  const float* rows;  // (rowCount, in): only the rows being packed
  size_t rowStride;   // floats
  int in, out, firstRow, rowCount;
  Dtype dtype;  // in which it is stored
};

// A table entry that cannot be forgotten: it has no default and cannot be nullptr.
template <class F>
struct Entry;
template <class R, class... A>
struct Entry<R(A...)> {
  R (*f)(A...);
  constexpr Entry(R (*g)(A...)) : f(g) {}
  Entry(std::nullptr_t) = delete;
  R operator()(A... a) const { return f(static_cast<A&&>(a)...); }
};

// The entries of a product: a kernel for each format that the backend supports.
template <class Op>
class Products {
 public:
  using Kernel = void (*)(Context&, const Op&);
  struct Row {
    Format format;
    Kernel kernel;
  };
  constexpr Products(std::initializer_list<Row> rows) {
    for (const Row& row : rows) set(row.format, row.kernel);
  }
  constexpr Products(Kernel one, std::initializer_list<Format> formats) {
    for (const Format format : formats) set(format, one);
  }
  constexpr void set(Format format, Kernel kernel) { kernels_[indexOf(format)] = kernel; }
  constexpr bool has(Format format) const {
    const int i = indexOf(format);
    return i >= 0 && kernels_[i];
  }
  // Replaces every kernel that is present by this one.
  constexpr Products& operator=(Kernel one) {
    for (Kernel& kernel : kernels_)
      if (kernel) kernel = one;
    return *this;
  }
  void operator()(Context& context, const Op& op) const { kernels_[indexOf(op.format())](context, op); }

 private:
  Kernel kernels_[kFormatCount] = {};
};

struct Backend {
  // what it is
  const char* name;      // "avx2": the instruction set that the CPU needs
  const char* device;    // "cpu", "cuda" or "reference", as in load({ device })
  const char* features;  // further features of this CPU that its entries use, "+vnni+bf16"; "" for none
  const char* borrowed;  // ops whose entry is that of another backend, "op: backend, ..."; "" for none
  Entry<bool(std::string* why)> available;  // if false, `why` gets the reason in words
  // Unit round-off of a stored number (for int8, of the float32 numbers before and after it); the tests
  // derive every tolerance from it.
  Entry<double(Dtype)> epsilon;
  // Throws, naming `field`, if attention has no kernel for heads of `dim` numbers in models of that dtype.
  Entry<void(Dtype, int dim, const char* field)> requireHead;

  // where it runs
  Entry<Context*(int threads)> open;
  Entry<void(Context*)> close;
  // 64-byte aligned and zeroed. Without memory it returns nullptr, or throws an Error that says more.
  Entry<void*(size_t bytes)> alloc;
  Entry<void(void*, size_t bytes)> free;
  // True: this process can read the memory that alloc returns, weights may be in other memory of the process
  // too, and ops accept any memory of it. False: everything that the towers pass to ops is in memory from
  // alloc, except images (Resize), TopK and sums, which are always in memory of this process.
  bool plainMemory = false;
  // Copies in the order of the context's ops; without a context it is complete on return. src may change
  // afterwards.
  Entry<void(Context*, void* dst, const void* src, size_t)> upload;
  Entry<void(Context*, void* dst, const void* src, size_t)> download;  // waits for everything queued before
  int packRows;                                                        // granularity of Pack
  Entry<size_t(Dtype, int in, int out)> packedSize;
  // Returns whether float32 or float16 represents all of these weights exactly; the result has no meaning for
  // other dtypes.
  Entry<bool(const Pack&)> pack;
  // The number of rows or sequences to which n of them are padded; at least n. Padding comes last: ids and
  // `first` are negative, `parent` is below -1, and nothing reads what is computed for it.
  Entry<int(int n)> bucket;
  // true: a recorded graph was replayed, so the calls must be skipped
  Entry<bool(Context&, const GraphKey&)> begin;
  Entry<void(Context&, bool complete)> end;  // false: the calls were interrupted

  // the ops
#define CLIP_ENTRY(op, Arguments) Products<Arguments> op;
  CLIP_PRODUCTS(CLIP_ENTRY)
#undef CLIP_ENTRY
#define CLIP_ENTRY(op, Arguments) Entry<void(Context&, const Arguments&)> op;
  CLIP_OTHER_OPS(CLIP_ENTRY)
#undef CLIP_ENTRY

  // Whether a model can be loaded with that dtype.
  constexpr bool runs(Dtype t) const { return linear.has(uniform(t)); }
};

// registry.cc
// Every backend of this build in order of priority, reference last, then nullptr.
const Backend* const* backends();
// The best CPU backend of this machine, for computations on plain memory whatever backend the models use.
// Obeys the same variables as chooseBackend, but ignores a CLIP_NATIVE_BACKEND that is not a CPU backend.
const Backend& hostBackend();
// Finds a backend by name, without the features that CLIP_NATIVE_CPU_FEATURES removes; nullptr if there is
// none.
const Backend* findBackend(const std::string& name);
// The backend for load({ device }): 'auto' | 'cpu' | 'cuda' | 'reference', where 'auto' and 'cpu' obey
// CLIP_NATIVE_BACKEND and CLIP_NATIVE_CPU_FEATURES, which are read at each call. Throws ERR_CLIP_BACKEND with
// the reason if a device is not available.
const Backend& chooseBackend(const std::string& device);
// The backend's name with the features that its entries use on this CPU: "avx512+vnni+bf16".
std::string activeName(const Backend&);

}  // namespace clip
