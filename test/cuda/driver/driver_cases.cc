// native/cuda/ on the stand-in. CLIP_NATIVE_LIBCUDA is set by whoever runs this program.
#include <cstdlib>

#include "cases.h"
#include "cuda/driver.h"
#include "cuda/modules.h"

namespace {

using namespace clip::cuda;

const cases::Registration registration([] {
  cases::add("driver", "a device is found", [] {
    const auto all = devices();
    return all.size() == 1 ? Module::of(0)->image() : "none";
  });
});

}  // namespace
