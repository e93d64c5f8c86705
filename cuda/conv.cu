// Convolution as a matrix product whose rows are windows of an image, gathered as they are loaded.
#include "conv.h"

#include "epilogue.cuh"
#include "tile.cuh"

namespace clip::cuda {
namespace {

// The position of a row's window.
struct Window {
  int image, y, x;  // of its first pixel, which may be outside the image
  bool exists;
};

template <class T>
struct Convolve {
  using Block = Tile<T, conv::kRows, conv::kOutputs, 4, conv::kStages, 0>;

  static __device__ __forceinline__ const uint16_t* pixel(const Conv& c, const Window& w, int tap) {
    const int y = w.y + tap / c.kernel, x = w.x + tap % c.kernel;
    if (!w.exists || y < 0 || y >= c.height || x < 0 || x >= c.width) return nullptr;
    return reinterpret_cast<const uint16_t*>(rowOf(c.x, (w.image * c.height + y) * c.width + x));
  }

  // Copies 8 columns of a window from `column` on to a chunk of shared memory.
  static __device__ __forceinline__ void copyWindow(SharedPointer<char> memory, uint32_t at, const Conv& c,
                                                    const Window& w, int column) {
    const int columns = c.kernel * c.kernel * c.in;
    if (c.in % 8 == 0) {  // the chunk is within one pixel
      const uint16_t* from = column < columns ? pixel(c, w, column / c.in) : nullptr;
      copyAsync16(addressOf(sharedPart<char>(memory, at, 16)),
                  from ? from + column % c.in : static_cast<const uint16_t*>(c.x.data), from ? 16 : 0);
      return;
    }
    const auto number = [&](int at) -> uint32_t {
      const uint16_t* from = at < columns ? pixel(c, w, at / c.in) : nullptr;
      return from ? from[at % c.in] : 0;
    };
    // One store of 16 bytes, because eight stores of two bytes would access every bank four times.
    uint4 chunk = {0, 0, 0, 0};
#pragma unroll 1
    for (int i = column; i < column + 8; i += 2)
      chunk = {chunk.y, chunk.z, chunk.w, number(i) | number(i + 1) << 16};
    sharedPart<uint4>(memory, at, 1)[0] = chunk;
  }

  static __device__ __forceinline__ void run(const Conv& c) {
    DYNAMIC_SHARED(memory);
    const int outHeight = (c.height + 2 * c.pad - c.kernel) / c.stride + 1;
    const int outWidth = (c.width + 2 * c.pad - c.kernel) / c.stride + 1;
    const int rows = c.images * outHeight * outWidth, columns = c.kernel * c.kernel * c.in;
    const int row0 = blockIdx.y * conv::kRows, output0 = blockIdx.x * conv::kOutputs;
    // A thread copies the chunks of two rows and of one output.
    const int r0 = static_cast<int>(threadIdx.x >> 2), chunk = static_cast<int>(threadIdx.x & 3);
    Window window[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = row0 + r0 + i * 64;
      window[i] = {row / (outHeight * outWidth), row / outWidth % outHeight * c.stride - c.pad,
                   row % outWidth * c.stride - c.pad, row < rows};
    }
    const auto load = [&](SharedPointer<char> windows, SharedPointer<char> weights, int stage) {
      const int column = stage * 32 + chunk * 8;
#pragma unroll
      for (int i = 0; i < 2; i++) copyWindow(windows, Block::at(r0 + i * 64, chunk), c, window[i], column);
      const bool inside = output0 + r0 < c.out && column < packedInputs(columns);
      const auto* w = static_cast<const uint16_t*>(c.w);
      copyAsync16(addressOf(weights + Block::at(r0, chunk)),
                  inside ? w + size_t(output0 + r0) * packedInputs(columns) + column : w, inside ? 16 : 0);
    };
    typename Block::Sums total = {};
    const bool active = row0 + static_cast<int>(threadIdx.x >> 6) * 32 < rows;
    Block::run(memory, (columns + 31) / 32, active, load, total);
    Block::finish(memory, total, rows - row0, [&](int r, int o, float v0, float v1) {
      o += output0;
      if (o >= c.out) return;
      const bool both = o + 1 < c.out;
      const auto finished = [&](int output, float v) {
        v = activate(c.activation, v + c.bias[output]);
        return c.activation == Activation::relu ? relu(v) : v;
      };
      storePair(c.y, row0 + r, o, both, finished(o, v0), both ? finished(o + 1, v1) : 0.f);
    });
  }
};

}  // namespace

CLIP_KERNEL(256, clip_conv_bfloat16, const Conv c) { Convolve<Bfloat16>::run(c); }
CLIP_KERNEL(256, clip_conv_float16, const Conv c) { Convolve<Float16>::run(c); }

}  // namespace clip::cuda
