#include "backend.h"

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "cpu/variants.h"
#if CLIP_CUDA
#include "cuda/table.h"
#endif
#include "error.h"
#include "reference/reference.h"

namespace clip {
namespace {

const Backend* const kBackends[] = {
#if CLIP_X86
    &cpu::avx512, &cpu::avx2,
#elif CLIP_ARM64
    &cpu::neon,
#endif
#if CLIP_CUDA
    &cuda::cudaBackend,
#endif
    &referenceBackend, nullptr};

constexpr const char* kNames = "reference, avx2, avx512, neon or cuda";

[[noreturn]] void refuse(const std::string& message, const std::string& field, const std::string& expected,
                         const std::string& actual) {
  throw Error{
      .code = "ERR_CLIP_BACKEND", .message = message, .field = field, .expected = expected, .actual = actual};
}

// The names of the backends that run on this machine, for messages.
std::string runnable() {
  std::string list;
  for (const Backend* const* b = kBackends; *b; b++)
    if ((*b)->available(nullptr)) list += (list.empty() ? "" : ", ") + std::string((*b)->name);
  return list;
}

// CLIP_NATIVE_CPU_FEATURES: "-vnni,-bf16", a list of features that must not be used.
class Removed {
 public:
  Removed() {
    const char* variable = std::getenv("CLIP_NATIVE_CPU_FEATURES");
    text_ = variable ? variable : "";
    for (std::string_view rest = text_; !rest.empty();) {
      const size_t comma = rest.find(',');
      std::string_view item = rest.substr(0, comma);
      rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
      while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
      while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
      if (!item.empty()) features_ |= named(item);
    }
  }
  Features features() const { return features_; }
  const std::string& text() const { return text_; }

 private:
  static Features named(std::string_view item) {
    std::string list;
    for (const FeatureName& f : kFeatureNames) {
      if (item[0] == '-' && item.substr(1) == f.name) return f.features;
      list += (list.empty() ? "-" : ", -") + std::string(f.name);
    }
    refuse("Expected CLIP_NATIVE_CPU_FEATURES to be a list of " + list + ", got " + std::string(item) + ".",
           "CLIP_NATIVE_CPU_FEATURES", list, std::string(item));
  }

  std::string text_;
  Features features_ = 0;
};

// Whether a feature that the backend requires was removed.
bool removes(const Removed& removed, [[maybe_unused]] const Backend& b) {
#if CLIP_X86 || CLIP_ARM64
  for (const cpu::Table& table : cpu::kTables)
    if (table.backend == &b) return removed.features() & table.needs;
#endif
  return false;
}

// The copy of a table that uses every feature that this CPU has and that was not removed.
const Backend& tuned(const Backend& b, const Removed& removed) {
  return cpu::tuned(b, cpuFeatures() & ~removed.features());
}

// Finds the original table by name, not a tuned copy.
const Backend* plain(const std::string& name) {
  for (const Backend* const* b = kBackends; *b; b++)
    if (name == (*b)->name) return *b;
  return nullptr;
}

// A GPU is used only if it is requested by name.
const Backend& bestCpu(const Removed& removed) {
  for (const Backend* const* b = kBackends; *b; b++)
    if ((*b)->device == std::string_view("cpu") && (*b)->available(nullptr) && !removes(removed, **b))
      return tuned(**b, removed);
  return referenceBackend;
}

const Backend& forced(const std::string& name, const std::string& device, const Removed& removed) {
  const char* field = "CLIP_NATIVE_BACKEND";
  if (name != "reference" && name != "avx2" && name != "avx512" && name != "neon" && name != "cuda")
    refuse("Expected CLIP_NATIVE_BACKEND to be " + std::string(kNames) + ", got " + name + ".", field, kNames,
           name);
  if (name == "cuda" && device == "cpu")
    refuse("CLIP_NATIVE_BACKEND=cuda contradicts device 'cpu'.", field, "a CPU backend", name);
  const Backend* b = plain(name);
  if (!b)
    refuse("Backend " + name + " is not in this build, which has " + runnable() + ".", field, runnable(),
           name);
  if (removes(removed, *b))
    refuse("CLIP_NATIVE_BACKEND=" + name + " contradicts CLIP_NATIVE_CPU_FEATURES=" + removed.text() + ".",
           field, "a backend that CLIP_NATIVE_CPU_FEATURES leaves", name);
  std::string why;
  if (!b->available(&why))
    refuse("Backend " + name + " does not run here: " + why + ". Available here: " + runnable() + ".", field,
           runnable(), name);
  return tuned(*b, removed);
}

}  // namespace

const Backend* const* backends() { return kBackends; }

const Backend* findBackend(const std::string& name) {
  const Backend* b = plain(name);
  return b ? &tuned(*b, Removed()) : nullptr;
}

const Backend& hostBackend() {
  const Removed removed;
  const char* name = std::getenv("CLIP_NATIVE_BACKEND");
  if (name && *name && name != std::string("cuda")) return forced(name, "auto", removed);
  return bestCpu(removed);
}

const Backend& chooseBackend(const std::string& device) {
  if (device == "reference") return referenceBackend;
  if (device == "cuda") {
    const Backend* b = plain("cuda");
    if (!b)
      refuse("Device 'cuda' is not in this build, which has " + runnable() + ".", "device",
             "auto, cpu or reference", device);
    std::string why;
    if (!b->available(&why))
      refuse("Device 'cuda' can't be used here: " + why, "device", "an NVIDIA GPU and its driver", device);
    return *b;
  }
  if (device != "auto" && device != "cpu")
    refuse("Expected device to be auto, cpu, cuda or reference, got " + device + ".", "device",
           "auto, cpu, cuda or reference", device);
  const Removed removed;
  const char* name = std::getenv("CLIP_NATIVE_BACKEND");
  if (name && *name) return forced(name, device, removed);
  return bestCpu(removed);
}

std::string activeName(const Backend& b) { return std::string(b.name) + b.features; }

}  // namespace clip
