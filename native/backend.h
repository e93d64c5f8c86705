#pragma once
// THE contract between the model and the machine. Read this file first.
//
// native/model/ describes CLIP as calls of these operations and never asks which backend it runs on;
// reference/, cpu/ and cuda/ each fill one `Backend` table and never look into model/.
//
// Rules that hold for every op of every backend:
//  * shapes are checked once, when a model or a request is built: ops neither allocate results nor check,
//    and throw only when the machine fails them (no memory, a lost GPU);
//  * batch invariance: the bits of an output row depend only on that row's inputs and the reduction length,
//    never on how many rows, threads or neighbours there are (no split of a sum by rows or threads);
//  * NaN in gives NaN out;
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
// int8: rows of asymmetric unsigned bytes, value = rowScale[r] * (byte - rowZero[r]), quantised alike by
// every backend, in float32 arithmetic, each operation rounded to nearest even:
//   low = min(0, x...), high = max(0, x...), scale = max((high - low) / 255, 1e-30), inverse = 1 / scale,
//   zero = round(-low * inverse), byte = clamp(round(x * inverse) + zero, 0, 255).
// A row with a NaN or an infinity, or whose high - low is infinite, has scale NaN, zero 0 and bytes 0: what
// is computed from it is NaN.
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
  relu,  // the ResNets': after the residual is added, the others before
};

// y (rows, out) = activation(x (rows, in) · w (in, out) + bias) + residual; relu(x · w + bias + residual)
//
// w and x are of one of the formats of dtypes.h. float32, bfloat16 and float16 sum in float32. int8 weights
// have one symmetric scale per output:
//   scale[o] = max(max |w[o]| / 127, 1e-30), byte = clamp(round(w * (1 / scale[o])), -127, 127),
//   x · w = rowScale * scale[o] * (sum of x bytes * w bytes - rowZero * sum of w bytes),
// the sums exact in 32 bits: at most kMaxInt8Inputs of them. Weights with a NaN or an infinity have scale NaN
// and bytes 0.
constexpr int kMaxInt8Inputs = 65536;
struct Linear {
  MatrixView x;
  const void* w;        // packed by Backend::pack
  const float* bias;    // (out) or nullptr
  MatrixView residual;  // float32 (rows, out), may be y itself; data == nullptr: none
  MatrixView y;         // float32 or bfloat16
  int rows, in, out;
  Activation activation;
  Dtype weights;  // the dtype that w was packed in
  Format format() const { return {weights, x.dtype}; }
};

// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias, over each row; the variance is biased, as
// PyTorch's is.
struct LayerNorm {
  MatrixView x;  // float32
  const float *weight, *bias;
  MatrixView y;  // float32, bfloat16 or int8
  int rows, cols;
  float epsilon;
};

// y = x in the dtype of y; int8 rows are quantised, as MatrixView says
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

// out[i] = softmax(q[i] · k / sqrt(dim)) v, per head, over the keys that the mask lets query i see. Rows of all
// sequences are packed one after the other. Query i is row i of q and of out, and stands at row queryRow[i] of k
// and v; with queryRow == nullptr there is one query per row (queries == rows). Columns of head h are
// h*dim .. h*dim+dim-1 in q, k, v and out. The keys of a tree row are summed from the root down, so a trie gives
// the bits of the plain causal computation.
//
// q, k and v are all float32 or all bfloat16; out is float32 or bfloat16. Of float32 and bfloat16 alike:
//   s[j] = q[i] · k[j] / sqrt(dim)                    products exact where they are of bfloat16, sums in float32
//   e[j] = exp(s[j] - max s)                          in float32
//   out[i] = (sum of e[j] v[j]) / (sum of e[j])       both sums in float32, the division last
// bfloat16: each e[j] is rounded to bfloat16 (as MatrixView says) before either sum, so that the weights of a
// mean add up to 1 and the mean of equal values is that value.
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
  // src is the part of the image from this row and column on, `columns` wide (0: as the image). The
  // window needs no pixel outside it.
  int firstRow = 0, firstColumn = 0, columns = 0;
};

// Cuts (n, size, size, 3) pixels into rows of a matrix (n * (size/patch)^2, 3 * patch^2), columns ordered
// (channel, y, x) as the checkpoint's convolution weight is. uint8 pixels are looked up in `value`:
// value[channel * 256 + byte] = (byte / 255 - mean) / std in float32, exactly as torchvision computes it.
struct Patches {
  const uint8_t* pixels;  // (n, size, size, 3) or nullptr
  const float* value;     // (3, 256)
  const float* planes;    // (n, 3, size, size) already normalized, used when pixels == nullptr
  MatrixView y;           // float32 or bfloat16
  // Where size is no multiple of patch, the rest at the right and bottom is cut off, as a convolution does.
  int images, size, patch;
};

// y = max(0, convolution of x + bias): x and y are images of rows, one row of channels per pixel (NHWC).
// The weight is packed as a matrix (out, kernel * kernel * in) with columns ordered (y, x, channel); outside
// the image is zero. int8: x is float32, and each output pixel's window is quantised as one row.
struct Conv {
  MatrixView x;  // (images * height * width, in), of w's dtype; float32 for int8
  const void* w;
  Dtype dtype;        // of w
  const float* bias;  // (out)
  MatrixView y;       // (images * outHeight * outWidth, out), float32 or bfloat16
  int images, height, width, in, out;
  int kernel, stride, pad;
  Format format() const { return uniform(dtype); }
  int outHeight() const { return (height + 2 * pad - kernel) / stride + 1; }
  int outWidth() const { return (width + 2 * pad - kernel) / stride + 1; }
};

// y = mean over each kernelHeight x kernelWidth window of x, windows side by side (stride = kernel); what
// does not fill a window at the right and bottom is cut off, as torch.nn.AvgPool2d does.
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

enum class Score : uint8_t { probability, logit, cosine };

// Dense rows (count, dim) that queries are compared with. bfloat16 is widened, so it scores as the float32
// matrix of the same numbers does, to the bit.
//
// int8: a row's value is scale[j] * byte. A positive scale cancels out of a cosine, so `scale` may be
// nullptr; a negative one turns the sign, 0 makes the row a zero vector, and one that is not finite makes its
// scores NaN. The query is rounded to 15 bits, in float32 arithmetic, each operation rounded to nearest even:
//   step = max(max |x| / 16383, 1e-30), q = clamp(round(x * (1 / step)), -16383, 16383),
// and cosine = (q . bytes) / |q| / |bytes|, the sums exact in integers; 0 where a side is all zeros. A query
// with a NaN or an infinity has the cosine NaN.
struct Classes {
  const void* data;
  Dtype dtype = Dtype::float32;  // float32, bfloat16 or int8
  const float* scale = nullptr;  // int8: (count) or nullptr
};
constexpr int kQuerySteps = 16383;

// y (rows, classes) = softmax over classes of scale * cosine(queries[i], classes[j]), or the logits or
// cosines themselves. Both sides are normalized inside (norm at least 1e-12). Of cosines none is beyond 1 or
// -1, whatever the sums were rounded to (on CUDA, which no score of the public API comes from, a few
// epsilons).
struct CosineSoftmax {
  const float* queries;  // (rows, dim), dense
  Classes classes;       // (classCount, dim)
  float* y;              // (rows, classCount), dense
  int rows, classCount, dim;
  float scale;
  Score score;
};

// The best classes of each query so far, and what the probabilities are made of. A matrix may come in parts,
// one call after another; when all have been seen, finishTopK (top_k.h) ranks the classes: ties by lower
// index, NaN above any number. The scores of all classes are never stored.
constexpr int kTopKBlock = 256;  // classes; the first class of a part is a multiple of it
struct TopK;                     // top_k.h
struct TopKSum {
  double most, sum;  // of one block of one query: the largest score, and the sum of exp(score - most)
};
struct CosineTopK {
  const float* queries;  // (rows, dim), dense
  Classes classes;       // (classCount, dim): a part of the matrix
  TopK* best;            // (rows): the classes of this part are pushed, by their index in the whole matrix
  TopKSum* sums;         // (ceil(classCount / kTopKBlock), rows): of this part's blocks; written
  int rows, classCount, dim;
  int32_t firstClass;  // index of the part's first class in the whole matrix
  float scale;
  Score score;  // probability: logits here
};

// The symmetric contrastive loss (InfoNCE, multi-class N-pair) of the paper's figure 3, as open_clip's
// ClipLoss: z = scale * images · textsᵀ, loss = (cross entropy of z's rows + that of its columns, pair i
// belonging together) / 2, both means over the pairs; and its gradients. Rows are taken as they are: the
// model has normalized them. z (rows, rows) is never stored.
struct InfoNce {
  const float* images;  // (rows, dim), dense
  const float* texts;   // (rows, dim), dense
  int rows, dim;
  float scale;
  double* loss;           // one number
  float* imagesGradient;  // (rows, dim) each, or all three nullptr: the loss alone
  float* textsGradient;
  double* scaleGradient;  // one number
};

// The cross entropy of each row of logits with its target, and its gradient, as torch.nn.functional's
// cross_entropy of class indices:
//   loss[r] = log(sum_j exp(x[r][j])) - x[r][target[r]]
//   gradient[r][j] = scale * (exp(x[r][j]) / sum_i exp(x[r][i]) - [j == target[r]])
// A row with a negative target does not count: its loss and its gradient are 0. A logit of -infinity has the
// probability 0; a row with a NaN, with +infinity or of nothing but -infinity is NaN. The columns are read
// twice, and probabilities are not stored.
struct SoftmaxCrossEntropy {
  MatrixView x;           // (rows, cols) float32 or bfloat16
  const int32_t* target;  // (rows): below cols
  float* loss;            // (rows)
  MatrixView gradient;    // (rows, cols) float32 or bfloat16, may be x; data == nullptr: the loss alone
  int rows, cols;
  float scale;  // of the gradient: 1 / (rows that count) for that of the mean
};

// Every op: its entry in the table, and the struct of its arguments. Whatever must name all ops goes through
// this list. Products have an entry for each format (dtypes.h).
#define CLIP_PRODUCTS(OP)  \
  OP(linear, Linear)       \
  OP(attention, Attention) \
  OP(conv, Conv)
#define CLIP_OTHER_OPS(OP)         \
  OP(layerNorm, LayerNorm)         \
  OP(cast, Cast)                   \
  OP(embed, Embed)                 \
  OP(gather, Gather)               \
  OP(resize, Resize)               \
  OP(patches, Patches)             \
  OP(pool, Pooling)                \
  OP(normalise, Normalise)         \
  OP(cosineSoftmax, CosineSoftmax) \
  OP(cosineTopK, CosineTopK)       \
  OP(infoNce, InfoNce)             \
  OP(softmaxCrossEntropy, SoftmaxCrossEntropy)
#define CLIP_OPS(OP) CLIP_PRODUCTS(OP) CLIP_OTHER_OPS(OP)

// Where an op runs: threads or stream, scratch memory. One per running job; opaque to everybody but its
// backend.
struct Context;

// By what the graph of a pass is known: what the model is about to run. A CPU ignores it; CUDA records the
// calls on first use and replays them later: equal keys must make equal calls, at equal addresses.
struct GraphKey {
  enum Tower : uint8_t { image, text } tower;
  int rowsBucket, sequencesBucket;  // with the padding that Backend::bucket asks for
  int longest;                      // no row sees more rows than this
  uint32_t variant;                 // what else the calls depend on
  const void* memory;               // what all rows of the calls lie in; nullptr: not in one block
  size_t memoryBytes;
};

// Packs rows [firstRow, firstRow + rowCount) of a weight (out, in) into `dst`, the whole packed matrix.
// firstRow is a multiple of Backend::packRows, so that threads can share the work.
struct Pack {
  void* dst;
  const float* rows;  // (rowCount, in): only the rows being packed
  size_t rowStride;   // floats
  int in, out, firstRow, rowCount;
  Dtype dtype;  // to store it in
};

// A table entry that cannot be forgotten: no default, no nullptr.
template <class F>
struct Entry;
template <class R, class... A>
struct Entry<R(A...)> {
  R (*f)(A...);
  constexpr Entry(R (*g)(A...)) : f(g) {}
  Entry(std::nullptr_t) = delete;
  R operator()(A... a) const { return f(static_cast<A&&>(a)...); }
};

// The entries of a product: a kernel for each format that the backend has one for.
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
  // One kernel in the place of all that are there.
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
  const char* name;      // "avx2": says what the CPU needs
  const char* device;    // "cpu", "cuda" or "reference", as in load({ device })
  const char* features;  // what else of this CPU its entries use: "+vnni+bf16"; "" for nothing
  const char* borrowed;  // ops whose entry is another backend's, "op: backend, ..."; "" for none
  Entry<bool(std::string* why)> available;  // false and why not, in words
  // Unit round-off of a stored number (int8: of its float32 ends): the only tolerance of the tests.
  Entry<double(Dtype)> epsilon;
  // Throws, naming `field`, where attention has no kernel for heads of `dim` numbers in models of that dtype.
  Entry<void(Dtype, int dim, const char* field)> requireHead;

  // where it runs
  Entry<Context*(int threads)> open;
  Entry<void(Context*)> close;
  // 64-byte aligned, zeroed; nullptr, or an Error that says more, when there is no memory
  Entry<void*(size_t bytes)> alloc;
  Entry<void(void*, size_t bytes)> free;
  // What alloc gives can be read by this process, weights may lie elsewhere in it, and ops take any memory
  // of it. Otherwise all that the towers hand to ops lies in memory of alloc; images (Resize), TopK and
  // sums are this process's everywhere.
  bool plainMemory = false;
  // In the order of the context's ops; without a context done when it returns. src may change afterwards.
  Entry<void(Context*, void* dst, const void* src, size_t)> upload;
  Entry<void(Context*, void* dst, const void* src, size_t)> download;  // waits for what was queued before it
  int packRows;                                                        // granularity of Pack
  Entry<size_t(Dtype, int in, int out)> packedSize;
  // Whether float32 or float16 hold all of these weights as they are; not asked of the other dtypes.
  Entry<bool(const Pack&)> pack;
  // What n rows or sequences are padded to: at least n. Padding comes last: ids and `first` are negative,
  // `parent` is below -1; what is computed for it is nobody's.
  Entry<int(int n)> bucket;
  Entry<bool(Context&, const GraphKey&)> begin;  // true: a recorded graph was run again, skip the calls
  Entry<void(Context&, bool complete)> end;      // false: the calls broke off

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
// The best CPU backend here: what computes on plain memory whatever the models run on. Obeys the variables
// that chooseBackend does, but for a CLIP_NATIVE_BACKEND that is no CPU's.
const Backend& hostBackend();
// By name, without the features that CLIP_NATIVE_CPU_FEATURES removes; nullptr if there is none.
const Backend* findBackend(const std::string& name);
// The backend for load({ device }): 'auto' | 'cpu' | 'cuda' | 'reference', where 'auto' and 'cpu' obey
// CLIP_NATIVE_BACKEND and CLIP_NATIVE_CPU_FEATURES, read at each call. Throws ERR_CLIP_BACKEND, which says why
// a device is not available.
const Backend& chooseBackend(const std::string& device);
// Its name with the features that its entries use on this CPU: "avx512+vnni+bf16".
std::string activeName(const Backend&);

}  // namespace clip
