#include "model/resize_modes.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "resample.h"

namespace clip {
namespace {

constexpr size_t kBandBytes = size_t{1} << 20;

void premultiply(const uint8_t* in, size_t pixels, int channels, uint8_t* out) {
  for (; pixels > 0; pixels--, in += channels, out += channels) {
    const int alpha = in[channels - 1];
    for (int c = 0; c + 1 < channels; c++) out[c] = static_cast<uint8_t>(multiply255(in[c], alpha));
    out[channels - 1] = static_cast<uint8_t>(alpha);
  }
}

void unpremultiply(uint8_t* p, size_t pixels, int channels) {
  for (; pixels > 0; pixels--, p += channels) {
    const int alpha = p[channels - 1];
    if (alpha == 0 || alpha == 255) continue;
    for (int c = 0; c + 1 < channels; c++) p[c] = static_cast<uint8_t>(std::min(255, 255 * p[c] / alpha));
  }
}

}  // namespace

Span sourceSpan(int in, int out, int first, int count, Filter filter) {
  if (in == out) return {first, first + count};  // no pass along this axis
  const auto last = tapsOf(in, out, first + count - 1, filter);
  return {tapsOf(in, out, first, filter).first, last.first + last.count};
}

namespace {

// Divides the output positions [first, first + count) of an axis into runs that each need about `most` source
// positions; there is one run, unless the side is huge.
std::vector<Span> runsOf(int in, int out, int first, int count, Filter filter, size_t most) {
  const Span all = sourceSpan(in, out, first, count, filter);
  const size_t reach = static_cast<size_t>(all.end - all.begin);
  const int runs = static_cast<int>(std::clamp<size_t>((reach + most - 1) / most, 1, count));
  std::vector<Span> list;
  for (int64_t i = 0; i < runs; i++)
    list.push_back(
        {first + static_cast<int>(i * count / runs), first + static_cast<int>((i + 1) * count / runs)});
  return list;
}

// The number of lines of `bytes` each that make up a band.
int linesOf(size_t bytes, int most) {
  return static_cast<int>(std::clamp<size_t>(kBandBytes / bytes, 1, most));
}

}  // namespace

// Pillow rounds to 8 bits between its passes, so each pass can run separately on the part that it needs: the
// first pass takes the image in bands of about a megabyte, which are premultiplied before it.
void resizePremultiplied(const Backend& backend, Context& context, const Image& image, const Geometry& g,
                         Filter filter, uint8_t* dst) {
  const int channels = channelsOf(image.mode);
  const size_t most = kBandBytes / channels;
  const auto pixels = [&](int x, int y) {
    return image.data + (static_cast<size_t>(y) * image.width + x) * channels;
  };
  std::vector<uint8_t> band, middle, part;
  if (!g.verticalFirst) {
    const Span rows = sourceSpan(image.height, g.outHeight, g.cropY, g.cropHeight, filter);
    const size_t middleRow = static_cast<size_t>(g.cropWidth) * channels;
    middle.resize((rows.end - rows.begin) * middleRow);
    for (const Span& run : runsOf(image.width, g.outWidth, g.cropX, g.cropWidth, filter, most)) {
      const int outputs = run.end - run.begin;
      const Span from = sourceSpan(image.width, g.outWidth, run.begin, outputs, filter);
      const int columns = from.end - from.begin;
      const size_t bandRow = static_cast<size_t>(columns) * channels;
      const size_t partRow = static_cast<size_t>(outputs) * channels;
      const int step = linesOf(bandRow, rows.end - rows.begin);
      band.resize(step * bandRow);
      part.resize(step * partRow);
      for (int y = rows.begin; y < rows.end; y += step) {
        const int count = std::min(step, rows.end - y);
        for (int r = 0; r < count; r++)
          premultiply(pixels(from.begin, y + r), columns, channels, band.data() + r * bandRow);
        backend.resize(context, {.src = band.data(),
                                 .width = image.width,
                                 .height = count,
                                 .channels = channels,
                                 .outWidth = g.outWidth,
                                 .outHeight = count,
                                 .cropX = run.begin,
                                 .cropY = 0,
                                 .cropWidth = outputs,
                                 .cropHeight = count,
                                 .filter = filter,
                                 .verticalFirst = false,
                                 .dst = part.data(),
                                 .firstColumn = from.begin,
                                 .columns = columns});
        for (int r = 0; r < count; r++)
          std::memcpy(middle.data() + (y + r - rows.begin) * middleRow +
                          static_cast<size_t>(run.begin - g.cropX) * channels,
                      part.data() + r * partRow, partRow);
      }
    }
    backend.resize(context, {.src = middle.data(),
                             .width = g.cropWidth,
                             .height = image.height,
                             .channels = channels,
                             .outWidth = g.cropWidth,
                             .outHeight = g.outHeight,
                             .cropX = 0,
                             .cropY = g.cropY,
                             .cropWidth = g.cropWidth,
                             .cropHeight = g.cropHeight,
                             .filter = filter,
                             .verticalFirst = false,
                             .dst = dst,
                             .firstRow = rows.begin});
  } else {
    // Images more than 100 times as high as wide: bands of columns, with the vertical pass first.
    middle.resize(static_cast<size_t>(g.cropHeight) * image.width * channels);
    for (const Span& run : runsOf(image.height, g.outHeight, g.cropY, g.cropHeight, filter, most)) {
      const int outputs = run.end - run.begin;
      const Span from = sourceSpan(image.height, g.outHeight, run.begin, outputs, filter);
      const int step = linesOf(static_cast<size_t>(from.end - from.begin) * channels, image.width);
      band.resize(static_cast<size_t>(from.end - from.begin) * step * channels);
      part.resize(static_cast<size_t>(outputs) * step * channels);
      for (int x = 0; x < image.width; x += step) {
        const int count = std::min(step, image.width - x);
        const size_t bytes = static_cast<size_t>(count) * channels;
        for (int y = from.begin; y < from.end; y++)
          premultiply(pixels(x, y), count, channels, band.data() + (y - from.begin) * bytes);
        backend.resize(context, {.src = band.data(),
                                 .width = count,
                                 .height = image.height,
                                 .channels = channels,
                                 .outWidth = count,
                                 .outHeight = g.outHeight,
                                 .cropX = 0,
                                 .cropY = run.begin,
                                 .cropWidth = count,
                                 .cropHeight = outputs,
                                 .filter = filter,
                                 .verticalFirst = false,
                                 .dst = part.data(),
                                 .firstRow = from.begin});
        for (int y = run.begin; y < run.end; y++)
          std::memcpy(middle.data() + (static_cast<size_t>(y - g.cropY) * image.width + x) * channels,
                      part.data() + (y - run.begin) * bytes, bytes);
      }
    }
    backend.resize(context, {.src = middle.data(),
                             .width = image.width,
                             .height = g.cropHeight,
                             .channels = channels,
                             .outWidth = g.outWidth,
                             .outHeight = g.cropHeight,
                             .cropX = g.cropX,
                             .cropY = 0,
                             .cropWidth = g.cropWidth,
                             .cropHeight = g.cropHeight,
                             .filter = filter,
                             .verticalFirst = false,
                             .dst = dst});
  }
  unpremultiply(dst, static_cast<size_t>(g.cropWidth) * g.cropHeight, channels);
}

namespace {

// A plane of 16-bit samples of which only rows [top, ...) and columns [left, left + width) are present.
struct Plane {
  const uint8_t* data;
  int left, top, width;
  int at(int x, int y) const {
    uint16_t v;  // the caller's buffer may be unaligned
    std::memcpy(&v, data + (static_cast<size_t>(y - top) * width + (x - left)) * 2, 2);
    return v;
  }
};

uint16_t round16(double sum) {
  const int v = static_cast<int>(sum >= 0.0 ? sum + 0.5 : sum - 0.5);
  return static_cast<uint16_t>(std::clamp(v, 0, 65535));
}

// dst receives columns [x0, x0 + columns) of rows [y0, y0 + rows), resized along one axis from `in` to `out`.
void pass16(const Plane& src, bool horizontal, int in, int out, Filter filter, int x0, int columns, int y0,
            int rows, std::vector<uint8_t>& dst) {
  dst.resize(static_cast<size_t>(columns) * rows * 2);
  const int outputs = horizontal ? columns : rows, others = horizontal ? rows : columns;
  std::vector<double> sums(others);
  for (int i = 0; i < outputs; i++) {
    const int position = (horizontal ? x0 : y0) + i, first = tapsOf(in, out, position, filter).first;
    std::fill(sums.begin(), sums.end(), 0.0);
    eachTap(in, out, position, filter, [&](int from, const double* w, int count) {
      for (int j = 0; j < others; j++)
        for (int k = 0; k < count; k++)
          sums[j] +=
              (horizontal ? src.at(first + from + k, y0 + j) : src.at(x0 + j, first + from + k)) * w[k];
    });
    for (int j = 0; j < others; j++) {
      const uint16_t v = round16(sums[j]);
      const size_t at =
          horizontal ? static_cast<size_t>(j) * columns + i : static_cast<size_t>(i) * columns + j;
      std::memcpy(dst.data() + at * 2, &v, 2);
    }
  }
}

}  // namespace

void resize16(const Image& image, const Geometry& g, Filter filter, uint8_t* dst) {
  const Plane whole{image.data, 0, 0, image.width};
  const bool wide = g.outWidth != image.width, high = g.outHeight != image.height;
  std::vector<uint8_t> middle, window;
  if (filter == Filter::nearest || (!wide && !high)) {
    window.resize(static_cast<size_t>(g.cropWidth) * g.cropHeight * 2);
    const double stepX = double(image.width) / g.outWidth, stepY = double(image.height) / g.outHeight;
    for (int y = 0; y < g.cropHeight; y++)
      for (int x = 0; x < g.cropWidth; x++) {
        // like ImagingGenericTransform with nearest_filter16: a product for each pixel instead of a running
        // sum
        const int sx = std::min(image.width - 1, static_cast<int>(stepX * (g.cropX + x + 0.5))),
                  sy = std::min(image.height - 1, static_cast<int>(stepY * (g.cropY + y + 0.5)));
        const auto v = static_cast<uint16_t>(whole.at(sx, sy));
        std::memcpy(window.data() + (static_cast<size_t>(y) * g.cropWidth + x) * 2, &v, 2);
      }
  } else if (wide && high && g.verticalFirst) {
    const Span columns = sourceSpan(image.width, g.outWidth, g.cropX, g.cropWidth, filter);
    const int count = columns.end - columns.begin;
    pass16(whole, false, image.height, g.outHeight, filter, columns.begin, count, g.cropY, g.cropHeight,
           middle);
    pass16({middle.data(), columns.begin, g.cropY, count}, true, image.width, g.outWidth, filter, g.cropX,
           g.cropWidth, g.cropY, g.cropHeight, window);
  } else if (wide && high) {
    const Span rows = sourceSpan(image.height, g.outHeight, g.cropY, g.cropHeight, filter);
    pass16(whole, true, image.width, g.outWidth, filter, g.cropX, g.cropWidth, rows.begin,
           rows.end - rows.begin, middle);
    pass16({middle.data(), g.cropX, rows.begin, g.cropWidth}, false, image.height, g.outHeight, filter,
           g.cropX, g.cropWidth, g.cropY, g.cropHeight, window);
  } else {
    pass16(whole, wide, wide ? image.width : image.height, wide ? g.outWidth : g.outHeight, filter, g.cropX,
           g.cropWidth, g.cropY, g.cropHeight, window);
  }
  std::memcpy(dst, window.data(), window.size());
}

}  // namespace clip
