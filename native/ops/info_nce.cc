#include "ops/cases.h"

namespace clip::ops::infoNce {

// Pairs of an image and a text. alike: how much of a text's row is its image's, half if not given.
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

}  // namespace clip::ops::infoNce
