#include "cpu/variants.h"

#include <map>
#include <mutex>
#include <utility>

namespace clip::cpu {

#if CLIP_X86 || CLIP_ARM64
namespace {

struct Tuned {
  std::string features;
  Backend backend;
};

bool applies(const Variant& v, const Backend& plain, Features features) {
  return v.backend == &plain && (features & v.needs) == v.needs && !(features & v.unless);
}

}  // namespace

const Backend& tuned(const Backend& plain, Features features) {
  uint32_t applied = 0;  // one bit for each variant
  for (const Variant& v : kVariants)
    if (applies(v, plain, features)) applied |= 1u << (&v - kVariants);
  if (applied == 0) return plain;
  static std::mutex mutex;
  static std::map<std::pair<const Backend*, uint32_t>, Tuned> made;
  const std::lock_guard lock(mutex);
  const auto [place, fresh] = made.try_emplace({&plain, applied}, Tuned{{}, plain});
  Tuned& t = place->second;
  if (fresh) {
    for (const Variant& v : kVariants)
      if (applies(v, plain, features)) {
        v.patch(t.backend);
        t.features += v.name;
      }
    t.backend.features = t.features.c_str();
  }
  return t.backend;
}
#else
const Backend& tuned(const Backend& plain, Features) { return plain; }
#endif

}  // namespace clip::cpu
