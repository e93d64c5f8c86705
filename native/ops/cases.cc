#include "ops/cases.h"

#include <cstring>

namespace clip::ops {

// Seeds: the first array of a case is made of seed 1, the next of 2, and so on. `scale`: deviation of the
// first array's numbers, 1 if not given. `nan`: one of its numbers is a NaN.
const std::vector<Case>& allCases() {
  static const std::vector<Case> list = {
      // LayerNorm. shift: added to x.
      {"layerNorm", "icon-clip, 3 rows", kTested, {{"rows", 3}, {"cols", 192}}},
      {"layerNorm", "ViT-B/32, 3 rows", kTested, {{"rows", 3}, {"cols", 768}}},
      {"layerNorm", "ViT-L/14, 3 rows", kTested, {{"rows", 3}, {"cols", 1024}}},
      {"layerNorm", "ViT-bigG-14, 3 rows", kTested, {{"rows", 3}, {"cols", 1664}}},
      {"layerNorm", "one of everything", kTested, {{"rows", 1}, {"cols", 1}}},
      {"layerNorm", "1 columns", kTested, {{"rows", 5}, {"cols", 1}}},
      {"layerNorm", "2 columns", kTested, {{"rows", 5}, {"cols", 2}}},
      {"layerNorm", "7 columns", kTested, {{"rows", 5}, {"cols", 7}}},
      {"layerNorm", "15 columns", kTested, {{"rows", 5}, {"cols", 15}}},
      {"layerNorm", "16 columns", kTested, {{"rows", 5}, {"cols", 16}}},
      {"layerNorm", "17 columns", kTested, {{"rows", 5}, {"cols", 17}}},
      {"layerNorm", "31 columns", kTested, {{"rows", 5}, {"cols", 31}}},
      {"layerNorm", "33 columns", kTested, {{"rows", 5}, {"cols", 33}}},
      {"layerNorm", "63 columns", kTested, {{"rows", 5}, {"cols", 63}}},
      {"layerNorm", "65 columns", kTested, {{"rows", 5}, {"cols", 65}}},
      {"layerNorm", "100 columns", kTested, {{"rows", 9}, {"cols", 100}}},
      {"layerNorm", "large values", kTested | kFirstLoad, {{"rows", 6}, {"cols", 100}, {"scale", 3}}},
      {"layerNorm", "one row", kTested, {{"rows", 1}, {"cols", 64}}},
      {"layerNorm", "mean far from zero", kTested, {{"rows", 4}, {"cols", 192}, {"shift", 100}}},
      {"layerNorm", "mean 1000", kTested, {{"rows", 3}, {"cols", 512}, {"scale", 3}, {"shift", 1000}}},
      {"layerNorm", "large epsilon", kTested, {{"rows", 4}, {"cols", 50}, {"epsilon", 0.5}}},
      {"layerNorm", "a NaN stays in its row", kTested, {{"rows", 5}, {"cols", 70}, {"nan", 1}}},
      {"layerNorm", "ViT-B/32", kTimed, {{"rows", 50}, {"cols", 768}}},
      {"layerNorm", "ViT-L/14", kTimed, {{"rows", 257}, {"cols", 1024}}},
      {"layerNorm", "64 images of ViT-B/32", kTimed, {{"rows", 3200}, {"cols", 768}}},

      // Normalise. Row 0 is zeros, and row 1 has a NaN, where there are three rows.
      {"normalise", "icon-clip", kTested, {{"rows", 32}, {"cols", 192}, {"scale", 1000}}},
      {"normalise", "ViT-B/32 text", kTested, {{"rows", 10}, {"cols", 512}, {"scale", 1000}}},
      {"normalise", "one element", kTested, {{"rows", 1}, {"cols", 1}, {"scale", 1000}}},
      {"normalise", "one column", kTested, {{"rows", 5}, {"cols", 1}}},
      {"normalise", "odd sizes", kTested | kFirstLoad, {{"rows", 7}, {"cols", 37}}},
      {"normalise", "one short of the vectors", kTested, {{"rows", 3}, {"cols", 31}}},
      {"normalise", "tiny numbers", kTested, {{"rows", 2}, {"cols", 64}, {"scale", 1e-12}}},
      {"normalise", "64 images of ViT-B/32", kTimed, {{"rows", 64}, {"cols", 512}}},

      // Convert. The first numbers are those that a 16-bit type rounds in some special way.
      {"convert", "1 columns", kTested, {{"rows", 3}, {"cols", 1}}},
      {"convert", "2 columns", kTested, {{"rows", 3}, {"cols", 2}}},
      {"convert", "3 columns", kTested, {{"rows", 3}, {"cols", 3}}},
      {"convert", "7 columns", kTested, {{"rows", 3}, {"cols", 7}}},
      {"convert", "8 columns", kTested, {{"rows", 3}, {"cols", 8}}},
      {"convert", "15 columns", kTested, {{"rows", 3}, {"cols", 15}}},
      {"convert", "16 columns", kTested, {{"rows", 3}, {"cols", 16}}},
      {"convert", "17 columns", kTested, {{"rows", 3}, {"cols", 17}}},
      {"convert", "31 columns", kTested, {{"rows", 3}, {"cols", 31}}},
      {"convert", "32 columns", kTested, {{"rows", 3}, {"cols", 32}}},
      {"convert", "33 columns", kTested, {{"rows", 3}, {"cols", 33}}},
      {"convert", "64 columns", kTested, {{"rows", 3}, {"cols", 64}}},
      {"convert", "65 columns", kTested, {{"rows", 3}, {"cols", 65}}},
      {"convert", "100 columns", kTested | kFirstLoad, {{"rows", 9}, {"cols", 100}, {"scale", 100}}},
      {"convert", "768 columns", kTested, {{"rows", 3}, {"cols", 768}}},
      {"convert", "64 images of ViT-B/32", kTimed, {{"rows", 3200}, {"cols", 768}}},

      // Embed: a table of 50 rows, 33 positions. padding: the last row's id is negative.
      {"embed", "icon-clip", kTested, {{"rows", 32}, {"cols", 192}}},
      {"embed", "ViT-B/32 text", kTested, {{"rows", 10}, {"cols", 512}}},
      {"embed", "one element", kTested, {{"rows", 1}, {"cols", 1}}},
      {"embed", "odd sizes", kTested, {{"rows", 7}, {"cols", 37}}},
      {"embed", "one short of the vectors", kTested, {{"rows", 3}, {"cols", 31}}},
      {"embed", "a row of padding", kEmulated | kFirstLoad, {{"rows", 7}, {"cols", 70}, {"padding", 1}}},
      {"embed", "64 images of ViT-B/32", kTimed, {{"rows", 3200}, {"cols", 768}}},

      // Gather: `rows` of a matrix of 40 or, if given, `from` rows. padding: the last row's number is negative.
      {"gather", "icon-clip", kTested, {{"rows", 32}, {"cols", 192}}},
      {"gather", "ViT-B/32 text", kTested, {{"rows", 10}, {"cols", 512}}},
      {"gather", "one element", kTested, {{"rows", 1}, {"cols", 1}}},
      {"gather", "odd sizes", kTested, {{"rows", 7}, {"cols", 37}}},
      {"gather", "one short of the vectors", kTested, {{"rows", 3}, {"cols", 31}}},
      {"gather", "a row of padding", kEmulated | kFirstLoad, {{"rows", 5}, {"cols", 70}, {"padding", 1}}},
      {"gather", "64 images of ViT-B/32", kTimed, {{"rows", 64}, {"cols", 768}, {"from", 3200}}},

      // Patches, of bytes and of planes.
      {"patches", "icon-clip, 2 images", kTested, {{"images", 2}, {"size", 72}, {"patch", 12}}},
      {"patches", "patches of 32", kTested, {{"images", 1}, {"size", 96}, {"patch", 32}}},
      {"patches", "patches of 14", kTested, {{"images", 1}, {"size", 28}, {"patch", 14}}},
      {"patches", "a rest at the right and bottom", kTested, {{"images", 2}, {"size", 23}, {"patch", 5}}},
      {"patches", "a small rest", kTested | kFirstLoad, {{"images", 2}, {"size", 10}, {"patch", 3}}},
      {"patches", "two by two", kTested, {{"images", 2}, {"size", 8}, {"patch", 4}}},
      {"patches", "one patch", kTested, {{"images", 3}, {"size", 7}, {"patch", 7}}},
      {"patches", "single pixels", kTested, {{"images", 1}, {"size", 5}, {"patch", 1}}},
      {"patches", "64 images of ViT-B/32", kTimed, {{"images", 64}, {"size", 224}, {"patch", 32}}},

      // Pooling, with a NaN in the first number under the emulators.
      {"pool",
       "2 of 8 x 6, 32 channels, by 2 x 2",
       kTested,
       {{"images", 2},
        {"height", 8},
        {"width", 6},
        {"channels", 32},
        {"kernelHeight", 2},
        {"kernelWidth", 2}}},
      {"pool",
       "2 of 7 x 9, 17 channels, by 2 x 2",
       kTested,
       {{"images", 2},
        {"height", 7},
        {"width", 9},
        {"channels", 17},
        {"kernelHeight", 2},
        {"kernelWidth", 2}}},
      {"pool",
       "2 of 7 x 6, 33 channels, by 2 x 2",
       kTested | kFirstLoad,
       {{"images", 2},
        {"height", 7},
        {"width", 6},
        {"channels", 33},
        {"kernelHeight", 2},
        {"kernelWidth", 2}}},
      {"pool",
       "3 of 7 x 7, 96 channels, by 7 x 7",
       kTested,
       {{"images", 3},
        {"height", 7},
        {"width", 7},
        {"channels", 96},
        {"kernelHeight", 7},
        {"kernelWidth", 7}}},
      {"pool",
       "1 of 5 x 4, 3 channels, by 2 x 3",
       kTested,
       {{"images", 1},
        {"height", 5},
        {"width", 4},
        {"channels", 3},
        {"kernelHeight", 2},
        {"kernelWidth", 3}}},
      {"pool",
       "2 of 5 x 4, 8 channels, by 5 x 1",
       kTested,
       {{"images", 2},
        {"height", 5},
        {"width", 4},
        {"channels", 8},
        {"kernelHeight", 5},
        {"kernelWidth", 1}}},
      {"pool",
       "1 of 1 x 1, 1 channels, by 1 x 1",
       kTested,
       {{"images", 1},
        {"height", 1},
        {"width", 1},
        {"channels", 1},
        {"kernelHeight", 1},
        {"kernelWidth", 1}}},
      {"pool",
       "16 images before RN50's second layer",
       kTimed,
       {{"images", 16},
        {"height", 56},
        {"width", 56},
        {"channels", 256},
        {"kernelHeight", 2},
        {"kernelWidth", 2}}},

      // SoftmaxCrossEntropy: of every third row the target does not count. inPlace: the gradient replaces the
      // logits. extremes: infinities and NaN in the first rows.
      {"softmaxCrossEntropy", "one of everything", kTested, {{"rows", 1}, {"cols", 1}, {"scale", 5}}},
      {"softmaxCrossEntropy", "two columns", kTested, {{"rows", 3}, {"cols", 2}}},
      {"softmaxCrossEntropy", "one short of the vectors", kTested, {{"rows", 5}, {"cols", 31}, {"scale", 3}}},
      {"softmaxCrossEntropy", "two of a warp", kTested, {{"rows", 5}, {"cols", 64}, {"scale", 4}}},
      {"softmaxCrossEntropy", "odd sizes", kTested, {{"rows", 19}, {"cols", 133}, {"scale", 4}}},
      {"softmaxCrossEntropy",
       "several columns of a lane",
       kTested | kFirstLoad,
       {{"rows", 7}, {"cols", 300}, {"scale", 4}}},
      {"softmaxCrossEntropy", "one block of columns", kTested, {{"rows", 2}, {"cols", 1024}, {"scale", 10}}},
      {"softmaxCrossEntropy", "one past the block", kTested, {{"rows", 2}, {"cols", 1025}, {"scale", 10}}},
      {"softmaxCrossEntropy", "a vocabulary", kTested, {{"rows", 3}, {"cols", 49408}, {"scale", 6}}},
      {"softmaxCrossEntropy", "logits of +-1000", kTested, {{"rows", 7}, {"cols", 50}, {"scale", 500}}},
      {"softmaxCrossEntropy", "equal logits", kTested, {{"rows", 2}, {"cols", 77}, {"scale", 0}}},
      {"softmaxCrossEntropy",
       "in place",
       kEmulated,
       {{"rows", 5}, {"cols", 100}, {"scale", 4}, {"inPlace", 1}}},
      {"softmaxCrossEntropy",
       "infinities and NaN",
       kEmulated,
       {{"rows", 8}, {"cols", 70}, {"scale", 4}, {"extremes", 1}}},
      {"softmaxCrossEntropy", "pairs of a batch", kTimed, {{"rows", 1024}, {"cols", 1024}, {"scale", 4}}},
      {"softmaxCrossEntropy", "OpenAI's vocabulary", kTimed, {{"rows", 64}, {"cols", 49408}, {"scale", 4}}},
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
