#include "ops/cases.h"

namespace clip::ops::patches {

// Of bytes and of planes.
std::vector<Case> cases() {
  const Shapes patches{{"images", "size", "patch"}};
  return {
      patches("icon-clip, 2 images", kTested, {2, 72, 12}),
      patches("patches of 32", kTested, {1, 96, 32}),
      patches("patches of 14", kTested, {1, 28, 14}),
      patches("a rest at the right and bottom", kTested, {2, 23, 5}),
      patches("a small rest", kTested | kFirstLoad, {2, 10, 3}),
      patches("two by two", kTested, {2, 8, 4}),
      patches("one patch", kTested, {3, 7, 7}),
      patches("single pixels", kTested, {1, 5, 1}),
      patches("64 images of ViT-B/32", kTimed, {64, 224, 32}),
  };
}

}  // namespace clip::ops::patches
