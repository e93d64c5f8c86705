#include "ops/cases.h"

namespace clip::ops::cosineSoftmax {

// Of cosineSoftmax, and of cosineTopK of the best k, of 5 or of all if not given. logitScale: 100 if not
// given; logitBias: 0 if not given. bfloat16: classes of that type. nan: one in a query and, for cosineSoftmax, in a class. Under the emulators
// some classes are equal, and the third query is zeros.
std::vector<Case> cases() {
  const Shapes cosine{{"rows", "classCount", "dim"}};
  return {
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
      cosine("SigLIP 2's scale and bias", kTested, {3, 77, 96},
             {{"logitScale", 112.7}, {"logitBias", -16.8}}),
      cosine("a bias and more classes than one block", kTested | kFirstLoad, {9, 333, 70},
             {{"logitScale", 10}, {"logitBias", 2.5}, {"k", 4}}),
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
  };
}

}  // namespace clip::ops::cosineSoftmax

namespace clip::ops::cosineTopK {

std::vector<Case> cases() { return cosineSoftmax::cases(); }

}  // namespace clip::ops::cosineTopK
