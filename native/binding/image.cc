// Converts a NativeImage of lib/image/pixels.ts to an Image.
#include "binding/convert.h"
#include "binding/surface.h"
#include "ops/call.h"

namespace clip::binding {

Image readImage(Napi::Value value, const std::string& field, int size, const Hold& hold) {
  const Fields f(value, field);
  Image image;
  if (f.has("planes")) {
    const size_t side = static_cast<size_t>(size);
    const auto planes = f.typed<float>("planes", 3 * side * side);
    image.width = image.height = size;
    image.planes = static_cast<const float*>(hold({planes.array, f.path("planes"), false}));
    return image;
  }
  image.width = f.integer("width");
  image.height = f.integer("height");
  image.mode = f.choice<PixelMode>("mode", {{"L", PixelMode::L},
                                            {"LA", PixelMode::LA},
                                            {"RGB", PixelMode::RGB},
                                            {"RGBA", PixelMode::RGBA},
                                            {"CMYK", PixelMode::CMYK},
                                            {"I;16", PixelMode::I16}});
  image.nearest = f.has("nearest") && f.boolean("nearest");
  // For an image that was decoded at a fraction of its size.
  const auto readEnd = [&](const char* key, int most) {
    const double end = f.has(key) ? f.number(key) : most;
    if (!(end > most - 1 && end <= most))
      wrong(f.path(key), "be in the last column or row", describe(f.value(key)));
    return end;
  };
  image.endColumn = readEnd("endColumn", image.width);
  image.endRow = readEnd("endRow", image.height);
  image.part = {0, 0, image.width, image.height};
  if (f.has("part")) {
    const Fields p(f.value("part"), f.path("part"));
    image.part.left = p.integer("left", 0, image.width - 1);
    image.part.top = p.integer("top", 0, image.height - 1);
    image.part.width = p.integer("width", 1, image.width - image.part.left);
    image.part.height = p.integer("height", 1, image.height - image.part.top);
  }
  const size_t bytes = ops::product(
      {static_cast<size_t>(image.part.width), static_cast<size_t>(image.part.height),
       static_cast<size_t>(channelsOf(image.mode)), image.mode == PixelMode::I16 ? size_t{2} : size_t{1}});
  const auto data = f.typed<uint8_t>("data", bytes);
  if (image.mode == PixelMode::I16 && reinterpret_cast<uintptr_t>(data.data) % 2)
    wrong(f.path("data"), "start at an even address (16-bit pixels)", "an odd byte offset");
  const bool ours = f.has("ours") && f.boolean("ours");
  image.data = static_cast<const uint8_t*>(hold({data.array, f.path("data"), ours}));
  return image;
}

}  // namespace clip::binding
