#include "ops/call.h"
#include "ops/cases.h"

namespace clip::ops::infoNce {

// Pairs of an image and a text. alike: the share of its image's row in a text's row, by default a half.
std::vector<Case> cases() {
  const Shapes infoNce{{"rows", "dim"}};
  return {
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
}

Job prepare(Call& c) {
  const int rows = c.integer("rows"), dim = c.integer("dim");
  const float scale = static_cast<float>(c.number("logitScale"));
  const size_t n = rowsOf(rows), d = rowsOf(dim);
  const auto images = c.array<float>("images", {n, d});
  const auto texts = c.array<float>("texts", {n, d});
  const bool gradients = c.has("imagesGradient");
  const auto ofImages = gradients ? c.output<float>("imagesGradient", {n, d}) : Lent<float>{};
  const auto ofTexts = gradients ? c.output<float>("textsGradient", {n, d}) : Lent<float>{};
  double* const values = c.output<double>("values", {2}).host;  // loss, d loss / d scale
  return [=](const Backend& b, Context& context, Arrays& at) {
    b.infoNce(context, {.images = at(images),
                        .texts = at(texts),
                        .rows = rows,
                        .dim = dim,
                        .scale = scale,
                        .loss = values,
                        .imagesGradient = at(ofImages),
                        .textsGradient = at(ofTexts),
                        .scaleGradient = values + 1});
  };
}

}  // namespace clip::ops::infoNce
