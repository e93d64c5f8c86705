#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

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

std::span<const Dtype> dtypes() { return kStored; }

// Of bytes, then of planes.
Made made(Machine& m, const Case& c, Dtype to) {
  const int images = c["images"], side = c["size"], patch = c["patch"], grid = side / patch;
  const int rows = images * grid * grid, cols = 3 * patch * patch;
  const Values value = normal(2, 3, 256), planes = normal(3, images * 3 * side, side);
  std::vector<uint8_t> pixels(static_cast<size_t>(images) * side * side * 3);
  for (size_t i = 0; i < pixels.size(); i++) pixels[i] = static_cast<uint8_t>(i * 37 + i / 256);
  const Patches ofBytes{.pixels = m.copy(pixels),
                        .value = m.copy(value.data),
                        .planes = m.copy(planes.data),
                        .y = m.output(rows, cols, to),
                        .images = images,
                        .size = side,
                        .patch = patch};
  Patches ofPlanes = ofBytes;
  ofPlanes.pixels = nullptr;
  ofPlanes.y = m.output(rows, cols, to);
  const auto run = [=, &m] { m.run(ofBytes); };
  const auto difference = [=, &m]() mutable {
    m.run(ofPlanes);
    for (const bool bytes : {true, false}) {
      Values want(rows, cols);
      Patches here = ofBytes;
      here.pixels = bytes ? pixels.data() : nullptr;
      here.value = value.data.data();
      here.planes = planes.data.data();
      here.y = want.view();
      referenceBackend.patches(Machine::reference(), here);
      const std::string wrong =
          m.compareMatrix((bytes ? ofBytes : ofPlanes).y, rounded(want, to), [](int, int) { return 0; });
      if (!wrong.empty()) return (bytes ? "of bytes: " : "of planes: ") + wrong;
    }
    return std::string();
  };
  return {run, difference, size(rows, cols) + inDtype(to), 0,
          (1. + double(bytesOf(to))) * rows * cols + 3. * 256 * 4};
}

Job prepare(Call& c) {
  const int images = c.integer("images"), size = c.integer("size", 1, 16384),
            patch = c.integer("patch", 1, size);
  const size_t grid = rowsOf(size / patch), cols = size_t{3} * patch * patch;
  if (cols > INT32_MAX / 4) wrong("patch", "be smaller", std::to_string(patch));
  const bool bytes = c.has("pixels");
  if (bytes == c.has("planes")) wrong("pixels", "be given, or else `planes`", bytes ? "both" : "neither");
  const auto pixels = bytes ? c.array<uint8_t>("pixels", {rowsOf(images), rowsOf(size), rowsOf(size), 3})
                            : Lent<const uint8_t>{};
  const auto value = bytes ? c.array<float>("value", {3 * 256}) : Lent<const float>{};
  const auto planes =
      bytes ? Lent<const float>{} : c.array<float>("planes", {rowsOf(images), 3, rowsOf(size), rowsOf(size)});
  const int rows = checkedRows("images", images, static_cast<int>(grid * grid));
  const Dtype outDtype = c.rowDtype("outDtype");
  requireFloats("outDtype", outDtype);
  const LentMatrix y = c.outputMatrix("out", rows, static_cast<int>(cols), outDtype);
  return [=](const Backend& b, Context& context, Arrays& at) {
    b.patches(context, {.pixels = at(pixels),
                        .value = at(value),
                        .planes = at(planes),
                        .y = at(y),
                        .images = images,
                        .size = size,
                        .patch = patch});
  };
}

}  // namespace clip::ops::patches
