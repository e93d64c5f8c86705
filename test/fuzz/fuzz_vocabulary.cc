// libFuzzer target: vocabularyCase of cases.h, with choices made by the fuzzer.
#include "cases.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  clip::fuzz::ByteChoices choices(data, size);
  clip::fuzz::vocabularyCase(choices);
  return 0;
}
