#include "ops/cases.h"

#include <cstring>
#include <initializer_list>

namespace clip::ops {
namespace {

// Makes the cases of an op of their sizes, in the order of its keys, and of what else they say.
struct Shapes {
  const char* op;
  std::vector<const char*> keys;
  Case operator()(const char* name, unsigned uses, std::initializer_list<double> sizes,
                  std::initializer_list<Field> more = {}) const {
    Case c{op, name, uses, {}};
    size_t n = 0;
    for (const double size : sizes) c.fields[n] = {keys[n], size}, n++;
    for (const Field& f : more) c.fields[n++] = f;
    return c;
  }
};

}  // namespace

// Seeds: the first array of a case is made of seed 1, the next of 2, and so on. `scale`: deviation of the
// first array's numbers, 1 if not given. `nan`: one of its numbers is a NaN.
const std::vector<Case>& allCases() {
  static const Shapes linear{"linear", {"rows", "inFeatures", "outFeatures"}};
  static const Shapes conv{
      "conv", {"images", "height", "width", "inChannels", "outChannels", "kernel", "stride", "pad"}};
  static const Shapes patches{"patches", {"images", "size", "patch"}};
  static const Shapes pool{"pool", {"images", "height", "width", "channels", "kernelHeight", "kernelWidth"}};
  static const Shapes layerNorm{"layerNorm", {"rows", "cols"}};
  static const Shapes normalise{"normalise", {"rows", "cols"}};
  static const Shapes cast{"cast", {"rows", "cols"}};
  static const Shapes embed{"embed", {"rows", "cols"}};
  static const Shapes gather{"gather", {"rows", "cols"}};
  static const Shapes softmaxCrossEntropy{"softmaxCrossEntropy", {"rows", "cols"}};
  static const Shapes cosine{"cosine", {"rows", "classCount", "dim"}};
  static const Shapes infoNce{"infoNce", {"rows", "dim"}};
  static const std::vector<Case> list = {
      // Linear. activation: as Activation counts; bias: 0 for none, there is one if not given; residual: 1 apart
      // from y, 2 in place; narrow: y in the type of x; nan: an infinity in another row, too.
      linear("icon-clip qkv, 37 rows", kTested, {37, 192, 576}),
      linear("icon-clip out, 37 rows", kTested, {37, 192, 192}),
      linear("icon-clip fc1, 37 rows", kTested, {37, 192, 768}),
      linear("icon-clip fc2, 37 rows", kTested, {37, 768, 192}),
      linear("ViT-B/32 qkv, 5 rows, 96 outputs", kTested, {5, 768, 96}),
      linear("ViT-B/32 out, 5 rows, 96 outputs", kTested, {5, 768, 96}),
      linear("ViT-B/32 fc1, 5 rows, 96 outputs", kTested, {5, 768, 96}),
      linear("ViT-B/32 fc2, 5 rows, 96 outputs", kTested, {5, 3072, 96}),
      linear("one of everything", kTested, {1, 1, 1}),
      linear("one row", kTested, {1, 64, 64}),
      linear("one row, few outputs", kTested, {1, 64, 32}),
      linear("odd sizes", kTested, {7, 33, 17}),
      linear("K below a vector", kTested, {5, 3, 48}),
      linear("N below a vector", kTested, {15, 40, 3}),
      linear("one past the tiles", kTested, {17, 65, 65}),
      linear("one short of the tiles", kTested, {31, 63, 63}),
      linear("a prime number of everything", kTested, {101, 131, 151}),
      linear("K past one block", kTested, {3, 1031, 40}),
      linear("rows of one number", kTested, {7, 1, 1}),
      linear("large values", kTested, {9, 70, 50}, {{"scale", 1000}}),
      linear("none, no bias, residual none", kTested, {13, 50, 37},
             {{"activation", 0}, {"bias", 0}, {"residual", 0}}),
      linear("none, no bias, residual apart", kTested, {13, 50, 37},
             {{"activation", 0}, {"bias", 0}, {"residual", 1}}),
      linear("none, no bias, residual in place", kTested, {13, 50, 37},
             {{"activation", 0}, {"bias", 0}, {"residual", 2}}),
      linear("none, bias, residual none", kTested, {13, 50, 37},
             {{"activation", 0}, {"bias", 1}, {"residual", 0}}),
      linear("none, bias, residual apart", kTested, {13, 50, 37},
             {{"activation", 0}, {"bias", 1}, {"residual", 1}}),
      linear("none, bias, residual in place", kTested, {13, 50, 37},
             {{"activation", 0}, {"bias", 1}, {"residual", 2}}),
      linear("quickGelu, no bias, residual none", kTested, {13, 50, 37},
             {{"activation", 1}, {"bias", 0}, {"residual", 0}}),
      linear("quickGelu, no bias, residual apart", kTested, {13, 50, 37},
             {{"activation", 1}, {"bias", 0}, {"residual", 1}}),
      linear("quickGelu, no bias, residual in place", kTested, {13, 50, 37},
             {{"activation", 1}, {"bias", 0}, {"residual", 2}}),
      linear("quickGelu, bias, residual none", kTested, {13, 50, 37},
             {{"activation", 1}, {"bias", 1}, {"residual", 0}}),
      linear("quickGelu, bias, residual apart", kTested, {13, 50, 37},
             {{"activation", 1}, {"bias", 1}, {"residual", 1}}),
      linear("quickGelu, bias, residual in place", kTested, {13, 50, 37},
             {{"activation", 1}, {"bias", 1}, {"residual", 2}}),
      linear("gelu, no bias, residual none", kTested, {13, 50, 37},
             {{"activation", 2}, {"bias", 0}, {"residual", 0}}),
      linear("gelu, no bias, residual apart", kTested, {13, 50, 37},
             {{"activation", 2}, {"bias", 0}, {"residual", 1}}),
      linear("gelu, no bias, residual in place", kTested, {13, 50, 37},
             {{"activation", 2}, {"bias", 0}, {"residual", 2}}),
      linear("gelu, bias, residual none", kTested, {13, 50, 37},
             {{"activation", 2}, {"bias", 1}, {"residual", 0}}),
      linear("gelu, bias, residual apart", kTested, {13, 50, 37},
             {{"activation", 2}, {"bias", 1}, {"residual", 1}}),
      linear("gelu, bias, residual in place", kTested, {13, 50, 37},
             {{"activation", 2}, {"bias", 1}, {"residual", 2}}),
      linear("relu, no bias, residual none", kTested, {13, 50, 37},
             {{"activation", 3}, {"bias", 0}, {"residual", 0}}),
      linear("relu, no bias, residual apart", kTested, {13, 50, 37},
             {{"activation", 3}, {"bias", 0}, {"residual", 1}}),
      linear("relu, no bias, residual in place", kTested, {13, 50, 37},
             {{"activation", 3}, {"bias", 0}, {"residual", 2}}),
      linear("relu, bias, residual none", kTested, {13, 50, 37},
             {{"activation", 3}, {"bias", 1}, {"residual", 0}}),
      linear("relu, bias, residual apart", kTested, {13, 50, 37},
             {{"activation", 3}, {"bias", 1}, {"residual", 1}}),
      linear("relu, bias, residual in place", kTested, {13, 50, 37},
             {{"activation", 3}, {"bias", 1}, {"residual", 2}}),
      linear("1 x 768 x 40", kEmulated, {1, 768, 40}, {{"activation", 1}}),
      linear("5 x 27 x 33", kEmulated, {5, 27, 33}, {{"activation", 3}, {"residual", 2}}),
      linear("16 x 256 x 8", kEmulated, {16, 256, 8}, {{"bias", 0}}),
      linear("17 x 257 x 31", kEmulated, {17, 257, 31}, {{"activation", 2}}),
      linear("50 x 588 x 70", kEmulated, {50, 588, 70}, {{"activation", 1}, {"narrow", 1}}),
      linear("64 x 512 x 129", kEmulated, {64, 512, 129}, {{"residual", 2}}),
      linear("65 x 96 x 64", kEmulated, {65, 96, 64}, {{"activation", 2}, {"residual", 1}, {"narrow", 1}}),
      linear("129 x 40 x 130", kEmulated, {129, 40, 130},
             {{"activation", 3}, {"residual", 1}, {"narrow", 1}}),
      linear("3 x 300 x 5", kEmulated, {3, 300, 5}, {{"activation", 1}, {"scale", 300}}),
      linear("NaN and infinity stay in their rows", kEmulated, {20, 70, 35},
             {{"activation", 1}, {"residual", 2}, {"nan", 1}}),
      linear("several blocks each way, tails everywhere", kEmulated | kFirstLoad, {131, 300, 130},
             {{"activation", 1}, {"residual", 1}, {"narrow", 1}}),
      linear("few rows, several slices", kEmulated | kFirstLoad, {67, 300, 42},
             {{"activation", 2}, {"residual", 1}}),
      linear("ViT-B/32 qkv", kTimed, {50, 768, 2304}),
      linear("ViT-B/32 out", kTimed, {50, 768, 768}),
      linear("ViT-B/32 fc1", kTimed, {50, 768, 3072}),
      linear("ViT-B/32 fc2", kTimed, {50, 3072, 768}),
      linear("text of 10 qkv", kTimed, {10, 512, 1536}),
      linear("text of 10 out", kTimed, {10, 512, 512}),
      linear("text of 10 fc1", kTimed, {10, 512, 2048}),
      linear("text of 10 fc2", kTimed, {10, 2048, 512}),
      linear("ViT-L/14 qkv", kTimed, {257, 1024, 3072}),
      linear("ViT-L/14 out", kTimed, {257, 1024, 1024}),
      linear("ViT-L/14 fc1", kTimed, {257, 1024, 4096}),
      linear("ViT-L/14 fc2", kTimed, {257, 4096, 1024}),
      linear("64 images of ViT-B/32 fc1", kTimed, {3200, 768, 3072}),
      linear("K 1", kTested, {3, 1, 9}),
      linear("K 2", kTested, {3, 2, 9}),
      linear("K 3", kTested, {3, 3, 9}),
      linear("K 4", kTested, {3, 4, 9}),
      linear("K 5", kTested, {3, 5, 9}),
      linear("K 6", kTested, {3, 6, 9}),
      linear("K 7", kTested, {3, 7, 9}),
      linear("1 rows", kTested, {1, 131, 70}),
      linear("2 rows", kTested, {2, 131, 70}),
      linear("3 rows", kTested, {3, 131, 70}),
      linear("4 rows", kTested, {4, 131, 70}),
      linear("5 rows", kTested, {5, 131, 70}),
      linear("6 rows", kTested, {6, 131, 70}),
      linear("7 rows", kTested, {7, 131, 70}),
      linear("8 rows", kTested, {8, 131, 70}),
      linear("9 rows", kTested, {9, 131, 70}),
      linear("10 rows", kTested, {10, 131, 70}),
      linear("11 rows", kTested, {11, 131, 70}),
      linear("12 rows", kTested, {12, 131, 70}),
      linear("13 rows", kTested, {13, 131, 70}),
      linear("14 rows", kTested, {14, 131, 70}),
      linear("15 rows", kTested, {15, 131, 70}),
      linear("one past the tallest tiles", kTested, {29, 65, 65}),
      linear("two row blocks", kTested, {171, 33, 40}),
      linear("K past one block, odd", kTested, {3, 3081, 33}),

      // Conv. narrow: y in the type of x.
      conv("3 to 32 channels, kernel 1, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 3, 32, 1, 1, 0}),
      conv("3 to 32 channels, kernel 1, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 3, 32, 1, 1, 1}),
      conv("3 to 32 channels, kernel 1, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 3, 32, 1, 2, 0}),
      conv("3 to 32 channels, kernel 1, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 3, 32, 1, 2, 1}),
      conv("3 to 32 channels, kernel 3, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 3, 32, 3, 1, 0}),
      conv("3 to 32 channels, kernel 3, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 3, 32, 3, 1, 1}),
      conv("3 to 32 channels, kernel 3, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 3, 32, 3, 2, 0}),
      conv("3 to 32 channels, kernel 3, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 3, 32, 3, 2, 1}),
      conv("17 to 5 channels, kernel 1, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 17, 5, 1, 1, 0}),
      conv("17 to 5 channels, kernel 1, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 17, 5, 1, 1, 1}),
      conv("17 to 5 channels, kernel 1, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 17, 5, 1, 2, 0}),
      conv("17 to 5 channels, kernel 1, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 17, 5, 1, 2, 1}),
      conv("17 to 5 channels, kernel 3, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 17, 5, 3, 1, 0}),
      conv("17 to 5 channels, kernel 3, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 17, 5, 3, 1, 1}),
      conv("17 to 5 channels, kernel 3, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 17, 5, 3, 2, 0}),
      conv("17 to 5 channels, kernel 3, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 17, 5, 3, 2, 1}),
      conv("48 to 96 channels, kernel 1, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 48, 96, 1, 1, 0}),
      conv("48 to 96 channels, kernel 1, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 48, 96, 1, 1, 1}),
      conv("48 to 96 channels, kernel 1, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 48, 96, 1, 2, 0}),
      conv("48 to 96 channels, kernel 1, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 48, 96, 1, 2, 1}),
      conv("48 to 96 channels, kernel 3, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 48, 96, 3, 1, 0}),
      conv("48 to 96 channels, kernel 3, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 48, 96, 3, 1, 1}),
      conv("48 to 96 channels, kernel 3, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 48, 96, 3, 2, 0}),
      conv("48 to 96 channels, kernel 3, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 48, 96, 3, 2, 1}),
      conv("96 to 33 channels, kernel 1, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 96, 33, 1, 1, 0}),
      conv("96 to 33 channels, kernel 1, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 96, 33, 1, 1, 1}),
      conv("96 to 33 channels, kernel 1, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 96, 33, 1, 2, 0}),
      conv("96 to 33 channels, kernel 1, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 96, 33, 1, 2, 1}),
      conv("96 to 33 channels, kernel 3, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 96, 33, 3, 1, 0}),
      conv("96 to 33 channels, kernel 3, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 96, 33, 3, 1, 1}),
      conv("96 to 33 channels, kernel 3, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 96, 33, 3, 2, 0}),
      conv("96 to 33 channels, kernel 3, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 96, 33, 3, 2, 1}),
      conv("an image of one pixel", kTested, {1, 1, 1, 1, 1, 3, 1, 1}),
      conv("a window as large as the image", kTested, {3, 3, 3, 7, 9, 3, 2, 0}),
      conv("more pixels than a block holds", kTested, {1, 33, 31, 96, 19, 3, 1, 1}),
      conv("1 x 1 x 1 x 8 to 1, kernel 1, stride 1, pad 0", kTested, {1, 1, 1, 8, 1, 1, 1, 0}),
      conv("2 x 9 x 7 x 3 to 16, kernel 3, stride 2, pad 1", kTested, {2, 9, 7, 3, 16, 3, 2, 1}),
      conv("1 x 8 x 8 x 16 to 65, kernel 3, stride 1, pad 1", kTested, {1, 8, 8, 16, 65, 3, 1, 1}),
      conv("1 x 13 x 12 x 24 to 33, kernel 3, stride 1, pad 1", kTested, {1, 13, 12, 24, 33, 3, 1, 1}),
      conv("1 x 5 x 6 x 5 to 3, kernel 3, stride 1, pad 1", kTested, {1, 5, 6, 5, 3, 3, 1, 1}),
      conv("1 x 12 x 12 x 8 to 4, kernel 5, stride 3, pad 2", kTested, {1, 12, 12, 8, 4, 5, 3, 2}),
      conv("3 x 4 x 4 x 40 to 10, kernel 1, stride 2, pad 0", kTested, {3, 4, 4, 40, 10, 1, 2, 0}),
      conv("1 x 3 x 3 x 8 to 2, kernel 3, stride 1, pad 0", kTested, {1, 3, 3, 8, 2, 3, 1, 0}),
      conv("2 x 9 x 7 x 3 to 16, narrow", kEmulated, {2, 9, 7, 3, 16, 3, 2, 1}, {{"narrow", 1}}),
      conv("1 x 8 x 8 x 16 to 65, narrow", kEmulated, {1, 8, 8, 16, 65, 3, 1, 1}, {{"narrow", 1}}),
      conv("1 x 12 x 12 x 8 to 4, narrow", kEmulated, {1, 12, 12, 8, 4, 5, 3, 2}, {{"narrow", 1}}),
      conv("1 x 1 x 1 x 8 to 1, narrow", kEmulated, {1, 1, 1, 8, 1, 1, 1, 0}, {{"narrow", 1}}),
      conv("1 x 13 x 12 x 24 to 33, narrow", kEmulated, {1, 13, 12, 24, 33, 3, 1, 1}, {{"narrow", 1}}),
      conv("1 x 5 x 6 x 5 to 3, narrow", kEmulated, {1, 5, 6, 5, 3, 3, 1, 1}, {{"narrow", 1}}),
      conv("3 x 4 x 4 x 40 to 10, narrow", kEmulated, {3, 4, 4, 40, 10, 1, 2, 0}, {{"narrow", 1}}),
      conv("1 x 3 x 3 x 8 to 2, narrow", kEmulated, {1, 3, 3, 8, 2, 3, 1, 0}, {{"narrow", 1}}),
      conv("NaN stays where it is seen", kEmulated, {2, 6, 6, 8, 9, 3, 1, 1}, {{"nan", 1}}),
      conv("24 channels to 66", kEmulated | kFirstLoad, {2, 9, 11, 24, 66, 3, 2, 1}),
      conv("5 channels to 66", kEmulated | kFirstLoad, {2, 9, 11, 5, 66, 3, 2, 1}),
      conv("16 images, the first layer of RN50", kTimed, {16, 56, 56, 64, 64, 3, 1, 1}, {{"narrow", 1}}),

      // LayerNorm. shift: added to x.
      layerNorm("icon-clip, 3 rows", kTested, {3, 192}),
      layerNorm("ViT-B/32, 3 rows", kTested, {3, 768}),
      layerNorm("ViT-L/14, 3 rows", kTested, {3, 1024}),
      layerNorm("ViT-bigG-14, 3 rows", kTested, {3, 1664}),
      layerNorm("one of everything", kTested, {1, 1}),
      layerNorm("1 columns", kTested, {5, 1}),
      layerNorm("2 columns", kTested, {5, 2}),
      layerNorm("7 columns", kTested, {5, 7}),
      layerNorm("15 columns", kTested, {5, 15}),
      layerNorm("16 columns", kTested, {5, 16}),
      layerNorm("17 columns", kTested, {5, 17}),
      layerNorm("31 columns", kTested, {5, 31}),
      layerNorm("33 columns", kTested, {5, 33}),
      layerNorm("63 columns", kTested, {5, 63}),
      layerNorm("65 columns", kTested, {5, 65}),
      layerNorm("100 columns", kTested, {9, 100}),
      layerNorm("large values", kTested | kFirstLoad, {6, 100}, {{"scale", 3}}),
      layerNorm("one row", kTested, {1, 64}),
      layerNorm("mean far from zero", kTested, {4, 192}, {{"shift", 100}}),
      layerNorm("mean 1000", kTested, {3, 512}, {{"scale", 3}, {"shift", 1000}}),
      layerNorm("large epsilon", kTested, {4, 50}, {{"epsilon", 0.5}}),
      layerNorm("a NaN stays in its row", kTested, {5, 70}, {{"nan", 1}}),
      layerNorm("ViT-B/32", kTimed, {50, 768}),
      layerNorm("ViT-L/14", kTimed, {257, 1024}),
      layerNorm("64 images of ViT-B/32", kTimed, {3200, 768}),

      // Normalise. Row 0 is zeros, and row 1 has a NaN, where there are three rows.
      normalise("icon-clip", kTested, {32, 192}, {{"scale", 1000}}),
      normalise("ViT-B/32 text", kTested, {10, 512}, {{"scale", 1000}}),
      normalise("one element", kTested, {1, 1}, {{"scale", 1000}}),
      normalise("one column", kTested, {5, 1}),
      normalise("odd sizes", kTested | kFirstLoad, {7, 37}),
      normalise("one short of the vectors", kTested, {3, 31}),
      normalise("tiny numbers", kTested, {2, 64}, {{"scale", 1e-12}}),
      normalise("64 images of ViT-B/32", kTimed, {64, 512}),

      // Cast. The first numbers are those that a 16-bit type rounds in some special way.
      cast("1 columns", kTested, {3, 1}),
      cast("2 columns", kTested, {3, 2}),
      cast("3 columns", kTested, {3, 3}),
      cast("7 columns", kTested, {3, 7}),
      cast("8 columns", kTested, {3, 8}),
      cast("15 columns", kTested, {3, 15}),
      cast("16 columns", kTested, {3, 16}),
      cast("17 columns", kTested, {3, 17}),
      cast("31 columns", kTested, {3, 31}),
      cast("32 columns", kTested, {3, 32}),
      cast("33 columns", kTested, {3, 33}),
      cast("64 columns", kTested, {3, 64}),
      cast("65 columns", kTested, {3, 65}),
      cast("100 columns", kTested | kFirstLoad, {9, 100}, {{"scale", 100}}),
      cast("768 columns", kTested, {3, 768}),
      cast("64 images of ViT-B/32", kTimed, {3200, 768}),

      // Embed: a table of 50 rows, 33 positions. padding: the last row's id is negative.
      embed("icon-clip", kTested, {32, 192}),
      embed("ViT-B/32 text", kTested, {10, 512}),
      embed("one element", kTested, {1, 1}),
      embed("odd sizes", kTested, {7, 37}),
      embed("one short of the vectors", kTested, {3, 31}),
      embed("a row of padding", kEmulated | kFirstLoad, {7, 70}, {{"padding", 1}}),
      embed("64 images of ViT-B/32", kTimed, {3200, 768}),

      // Gather: `rows` of a matrix of 40 or, if given, `from` rows. padding: the last row's number is negative.
      gather("icon-clip", kTested, {32, 192}),
      gather("ViT-B/32 text", kTested, {10, 512}),
      gather("one element", kTested, {1, 1}),
      gather("odd sizes", kTested, {7, 37}),
      gather("one short of the vectors", kTested, {3, 31}),
      gather("a row of padding", kEmulated | kFirstLoad, {5, 70}, {{"padding", 1}}),
      gather("64 images of ViT-B/32", kTimed, {64, 768}, {{"from", 3200}}),

      // Patches, of bytes and of planes.
      patches("icon-clip, 2 images", kTested, {2, 72, 12}),
      patches("patches of 32", kTested, {1, 96, 32}),
      patches("patches of 14", kTested, {1, 28, 14}),
      patches("a rest at the right and bottom", kTested, {2, 23, 5}),
      patches("a small rest", kTested | kFirstLoad, {2, 10, 3}),
      patches("two by two", kTested, {2, 8, 4}),
      patches("one patch", kTested, {3, 7, 7}),
      patches("single pixels", kTested, {1, 5, 1}),
      patches("64 images of ViT-B/32", kTimed, {64, 224, 32}),

      // Pooling, with a NaN in the first number under the emulators.
      pool("2 of 8 x 6, 32 channels, by 2 x 2", kTested, {2, 8, 6, 32, 2, 2}),
      pool("2 of 7 x 9, 17 channels, by 2 x 2", kTested, {2, 7, 9, 17, 2, 2}),
      pool("2 of 7 x 6, 33 channels, by 2 x 2", kTested | kFirstLoad, {2, 7, 6, 33, 2, 2}),
      pool("3 of 7 x 7, 96 channels, by 7 x 7", kTested, {3, 7, 7, 96, 7, 7}),
      pool("1 of 5 x 4, 3 channels, by 2 x 3", kTested, {1, 5, 4, 3, 2, 3}),
      pool("2 of 5 x 4, 8 channels, by 5 x 1", kTested, {2, 5, 4, 8, 5, 1}),
      pool("1 of 1 x 1, 1 channels, by 1 x 1", kTested, {1, 1, 1, 1, 1, 1}),
      pool("16 images before RN50's second layer", kTimed, {16, 56, 56, 256, 2, 2}),

      // SoftmaxCrossEntropy: of every third row the target does not count. inPlace: the gradient replaces the
      // logits. extremes: infinities and NaN in the first rows.
      softmaxCrossEntropy("one of everything", kTested, {1, 1}, {{"scale", 5}}),
      softmaxCrossEntropy("two columns", kTested, {3, 2}),
      softmaxCrossEntropy("one short of the vectors", kTested, {5, 31}, {{"scale", 3}}),
      softmaxCrossEntropy("two of a warp", kTested, {5, 64}, {{"scale", 4}}),
      softmaxCrossEntropy("odd sizes", kTested, {19, 133}, {{"scale", 4}}),
      softmaxCrossEntropy("several columns of a lane", kTested | kFirstLoad, {7, 300}, {{"scale", 4}}),
      softmaxCrossEntropy("one block of columns", kTested, {2, 1024}, {{"scale", 10}}),
      softmaxCrossEntropy("one past the block", kTested, {2, 1025}, {{"scale", 10}}),
      softmaxCrossEntropy("a vocabulary", kTested, {3, 49408}, {{"scale", 6}}),
      softmaxCrossEntropy("logits of +-1000", kTested, {7, 50}, {{"scale", 500}}),
      softmaxCrossEntropy("equal logits", kTested, {2, 77}, {{"scale", 0}}),
      softmaxCrossEntropy("in place", kEmulated, {5, 100}, {{"scale", 4}, {"inPlace", 1}}),
      softmaxCrossEntropy("infinities and NaN", kEmulated, {8, 70}, {{"scale", 4}, {"extremes", 1}}),
      softmaxCrossEntropy("pairs of a batch", kTimed, {1024, 1024}, {{"scale", 4}}),
      softmaxCrossEntropy("OpenAI's vocabulary", kTimed, {64, 49408}, {{"scale", 4}}),

      // Cosine: cosineSoftmax, and cosineTopK of the best k, of 5 or of all if not given. logitScale: 100 if not
      // given. bfloat16: classes of that type. nan: one in a query and, for cosineSoftmax, in a class. Under the
      // emulators some classes are equal, and the third query is zeros.
      cosine("icon-clip, 40 labels", kTested, {3, 40, 192}),
      cosine("ViT-B/32, 1000 classes", kTested, {2, 1000, 512}),
      cosine("one of everything", kTested, {1, 1, 1}),
      cosine("one class", kTested, {3, 1, 64}),
      cosine("one query", kTested, {1, 300, 512}),
      cosine("all classes asked for", kTested, {2, 19, 33}, {{"k", 19}}),
      cosine("odd sizes", kTested, {7, 37, 65}, {{"k", 4}}),
      cosine("one short of the vectors", kTested, {5, 31, 15}, {{"k", 2}}),
      cosine("one short of two vectors", kTested, {5, 31, 31}),
      cosine("blocks and a rest", kTested, {3, 600, 96}),
      cosine("logits of +-1000", kTested, {4, 50, 8}, {{"logitScale", 1000}, {"k", 6}}),
      cosine("scale 0: equal logits", kTested, {2, 33, 16}, {{"logitScale", 0}, {"k", 3}}),
      cosine("more classes than one block", kTested, {2, 5003, 24}, {{"k", 10}}),
      cosine("more than one block, few rows of a wide matrix", kTested, {9, 700, 512}, {{"k", 7}}),
      cosine("more than a stretch of exact sums", kTested, {2, 9, 2065}),
      cosine("more queries than a unit", kTested, {67, 70, 40}),
      cosine("3 x 10 x 64", kEmulated, {3, 10, 64}),
      cosine("9 x 33 x 70, the best 33", kEmulated, {9, 33, 70}, {{"k", 33}}),
      cosine("2 x 500 x 16", kEmulated, {2, 500, 16}),
      cosine("one past a chunk", kEmulated, {2, 1025, 8}, {{"k", 4}}),
      cosine("more of the best than a chunk has", kEmulated, {1, 2100, 4}, {{"k", 1030}}),
      cosine("NaN stays in its row", kEmulated, {3, 50, 32}, {{"logitScale", 10}, {"k", 6}, {"nan", 1}}),
      cosine("classes in bfloat16", kEmulated | kFirstLoad, {5, 30, 70}, {{"bfloat16", 1}}),
      cosine("two chunks, two blocks of queries", kEmulated | kFirstLoad, {9, 1100, 64}, {{"k", 7}}),
      cosine("64 images and ImageNet's classes", kTimed, {64, 1000, 512}),
      cosine("an image and 100000 classes", kTimed, {1, 100000, 512}),

      // InfoNce: pairs of an image and a text. alike: how much of a text's row is its image's, half if not given.
      infoNce("one pair", kTested, {1, 7}, {{"logitScale", 10}}),
      infoNce("odd sizes", kTested, {19, 33}, {{"logitScale", 14}, {"alike", 0.4}}),
      infoNce("one short of a block", kTested, {167, 24}, {{"logitScale", 100}, {"alike", 0.3}}),
      infoNce("two blocks and a bit", kTested, {341, 17}, {{"logitScale", 30}, {"alike", 0.2}}),
      infoNce("scale 0", kTested, {20, 16}, {{"logitScale", 0}}),
      infoNce("logits of +-1000", kTested, {40, 8}, {{"logitScale", 1000}}),
      infoNce("fewer pairs than queries of a block", kEmulated, {7, 64},
              {{"logitScale", 20}, {"alike", 0.2}}),
      infoNce("a rest of one query", kEmulated, {33, 20}, {{"logitScale", 20}, {"alike", 0.2}}),
      infoNce("more pairs than a chunk", kEmulated, {1030, 4}, {{"logitScale", 20}, {"alike", 0.2}}),
      infoNce("some blocks of queries", kEmulated | kFirstLoad, {66, 64}, {{"logitScale", 10}}),
      infoNce("a batch of training", kTimed, {1024, 512}, {{"logitScale", 20}}),
  };
  return list;
}

double Case::number(const char* key, double otherwise) const {
  for (const Field& f : fields)
    if (f.key && std::strcmp(f.key, key) == 0) return f.value;
  return otherwise;
}

std::vector<Case> casesOf(const char* op, unsigned uses) {
  std::vector<Case> found;
  for (const Case& c : allCases())
    if (std::strcmp(c.op, op) == 0 && (c.uses & uses)) found.push_back(c);
  return found;
}

}  // namespace clip::ops
