#pragma once
// What the cases share: rejected inputs are counted, anything else is a fault.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "cases.h"
#include "error.h"
#include "model/model.h"

namespace clip::fuzz {

[[noreturn]] inline void fault(const std::string& what) {
  std::fprintf(stderr, "FAULT: %s\n", what.c_str());
  std::abort();
}

template <class Body>
End guarded(const Body& body) {
  try {
    body();
    return End::done;
  } catch (const Error& e) {
    if (!e.code.starts_with("ERR_CLIP_") || e.code == "ERR_CLIP_INTERNAL" || e.message.empty())
      fault("an Error with code " + e.code + ": " + e.message);
    return End::refused;
  } catch (const Cancelled&) {
    return End::refused;
  }
  // Everything else propagates to the caller, which has no handler, so the process ends.
}

// Encodes a few images and texts.
void exercise(Model&, Choices&);
// Loads a model that can be loaded twice more: once with packed weights written to a file, and once with that
// file damaged. The file must be used if and only if it is intact.
void packedCase(const ModelConfig&, LoadOptions, Choices&);

}  // namespace clip::fuzz
