#include "images.h"

#include <memory>
#include <mutex>

#include "error.h"

namespace clip::cuda {
namespace {

struct Given {
  std::mutex mutex;
  std::unique_ptr<const Images> images;  // never replaced, so references stay valid
};
Given& given() {
  static auto* all = new Given;  // exists as long as the process
  return *all;
}

const Images* find() {
  Given& all = given();
  const std::lock_guard<std::mutex> lock(all.mutex);
  return all.images.get();
}

}  // namespace

void giveImages(Images images) {
  auto own = std::make_unique<const Images>(std::move(images));
  Given& all = given();
  const std::lock_guard<std::mutex> lock(all.mutex);
  if (!all.images) all.images = std::move(own);
}

bool haveImages() { return find() != nullptr; }

const Images& images() {
  if (const Images* found = find()) return *found;
  throw Error{.code = "ERR_CLIP_INTERNAL",
              .message = "A CUDA device was used before its compiled kernels were loaded.",
              .field = "device"};
}

}  // namespace clip::cuda
