// Products, convolution and attention.
#include "attention.h"
#include "conv.h"
#include "linear.h"
#include "timing_support.h"

namespace clip::cuda::timing {
namespace {

enum class Family : uint8_t { skinny, square, float32 };

std::string text(int n) { return std::to_string(n); }

// The first layer of ViT-B/32's MLP, for one image and for 64; float32: the projection of 64 images.
Work linear(Bench& b, Family family, Dtype dtype) {
  const bool plain = family == Family::float32;
  const int rows = b.small                    ? 5
                   : plain                    ? 64
                   : family == Family::skinny ? 50
                                              : 3200,
            in = b.small ? 40 : 768,
            out = b.small ? 24
                  : plain ? 512
                          : 3072;
  const double wide = double(bytesOf(dtype));
  const Linear call{.x = b.matrix(rows, in, dtype),
                    .w = b.numbers(linearPackedSize(dtype, in, out) / bytesOf(dtype), dtype),
                    .bias = b.floats(static_cast<size_t>(out)),
                    .residual = {},
                    .y = b.matrix(rows, out, dtype),
                    .rows = rows,
                    .in = in,
                    .out = out,
                    .nonlinearity = plain ? Nonlinearity::none : Nonlinearity::quickGelu};
  return {.shape = text(rows) + " x " + text(in) + " x " + text(out),
          .flops = 2. * rows * in * out,
          .bytes = wide * in * out + 4. * out + rows * wide * (in + out),
          .tensor = !plain,
          .step = plain ? b.launching(linearFloat32Launch(call), call)
                  : family == Family::square
                      ? b.launching(linearSquareLaunch(call), call)
                      : b.launching(linearSkinnyLaunch(call), call, b.stream().linearScratch(call))};
}

// A 3 x 3 convolution of RN50's first layer, 16 images.
Work conv(Bench& b, Dtype dtype) {
  const int images = b.small ? 1 : 16, side = b.small ? 6 : 56, channels = b.small ? 8 : 64;
  const int pixels = images * side * side, inputs = 9 * channels;
  const Conv call{.x = b.matrix(pixels, channels, dtype),
                  .w = b.numbers(static_cast<size_t>(packedInputs(inputs)) * channels, dtype),
                  .dtype = dtype,
                  .bias = b.floats(static_cast<size_t>(channels)),
                  .y = b.matrix(pixels, channels, dtype),
                  .images = images,
                  .height = side,
                  .width = side,
                  .in = channels,
                  .out = channels,
                  .kernel = 3,
                  .stride = 1,
                  .pad = 1};
  return {
      .shape = text(images) + " x " + text(side) + " x " + text(side) + " x " + text(channels) + ", 3 x 3",
      .flops = 2. * pixels * inputs * channels,
      .bytes = 2. * inputs * channels + 4. * pixels * channels,
      .tensor = true,
      .step = b.launching(convLaunch(call), call)};
}

struct Sequences {
  int count, length, heads;
};

Attention attentionCall(Bench& b, const Sequences& s, int dim, Dtype dtype) {
  const int rows = s.count * s.length, width = s.heads * dim;
  std::vector<int32_t> first;
  for (int r = 0; r < rows; r++) first.push_back(r / s.length * s.length);
  return {.q = b.matrix(rows, width, dtype),
          .k = b.matrix(rows, width, dtype),
          .v = b.matrix(rows, width, dtype),
          .out = b.matrix(rows, width, dtype),
          .rows = rows,
          .queries = rows,
          .queryRow = nullptr,
          .heads = s.heads,
          .dim = dim,
          .mask = Mask::full,
          .first = b.copy(first),
          .parent = nullptr};
}

Sequences sequencesOf(const Bench& b, int dim) {
  return b.small ? Sequences{2, 11, 1} : dim == 64 ? Sequences{64, 50, 12} : Sequences{16, 257, 16};
}

// 64 images of ViT-B/32; wider heads: 16 of ViT-H's 257 tokens.
Work attention(Bench& b, int dim, Dtype dtype) {
  const Sequences s = sequencesOf(b, dim);
  const Attention call = attentionCall(b, s, dim, dtype);
  int bound = 0;
  const AttentionGroups groups = b.stream().groups(call, &bound);
  const double width = double{1} * s.heads * dim;
  return {.shape =
              text(s.count) + " x " + text(s.length) + " tokens, " + text(s.heads) + " heads of " + text(dim),
          .flops = 4. * s.count * s.length * s.length * width,
          .bytes = 4. * call.rows * width * double(bytesOf(dtype)),
          .tensor = dtype != Dtype::float32,
          .step = b.launching(attentionLaunch(call, bound), call, groups)};
}

Work groups(Bench& b) {
  const Sequences s = sequencesOf(b, 64);
  const Attention call = attentionCall(b, s, 8, Dtype::float32);
  int bound = 0;
  const AttentionGroups all = b.stream().groups(call, &bound);
  return {.shape = text(s.count) + " x " + text(s.length) + " tokens",
          .flops = 0,
          .bytes = 4. * call.rows + 24. * s.count,
          .tensor = false,
          .step = b.launching(attentionGroupsLaunch(), call, all)};
}

}  // namespace

void addProducts(std::vector<Case>& cases) {
  const auto add = [&](const char* kernel, auto prepare, auto... arguments) {
    cases.push_back({kernel, [=](Bench& b) { return prepare(b, arguments...); }});
  };
  add("clip_linear_bfloat16_skinny", linear, Family::skinny, Dtype::bfloat16);
  add("clip_linear_float16_skinny", linear, Family::skinny, Dtype::float16);
  add("clip_linear_bfloat16_square", linear, Family::square, Dtype::bfloat16);
  add("clip_linear_float16_square", linear, Family::square, Dtype::float16);
  add("clip_linear_float32", linear, Family::float32, Dtype::float32);
  add("clip_conv_bfloat16", conv, Dtype::bfloat16);
  add("clip_conv_float16", conv, Dtype::float16);
  add("clip_attention_bfloat16_64", attention, 64, Dtype::bfloat16);
  add("clip_attention_bfloat16_80", attention, 80, Dtype::bfloat16);
  add("clip_attention_bfloat16_88", attention, 88, Dtype::bfloat16);
  add("clip_attention_bfloat16_104", attention, 104, Dtype::bfloat16);
  add("clip_attention_bfloat16_128", attention, 128, Dtype::bfloat16);
  add("clip_attention_float16_64", attention, 64, Dtype::float16);
  add("clip_attention_float16_80", attention, 80, Dtype::float16);
  add("clip_attention_float16_88", attention, 88, Dtype::float16);
  add("clip_attention_float16_104", attention, 104, Dtype::float16);
  add("clip_attention_float16_128", attention, 128, Dtype::float16);
  add("clip_attention_float32", attention, 64, Dtype::float32);
  add("clip_attention_groups", groups);
}

}  // namespace clip::cuda::timing
