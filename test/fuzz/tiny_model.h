#pragma once
// Small CLIPs whose dimensions, dtypes and storage orders are choices; they are valid before they are
// mutated.
#include <cstdint>
#include <string>
#include <vector>

#include "choices.h"
#include "model/config.h"

namespace clip::fuzz {

struct TinyModel {
  ModelConfig config;  // `files` and `fileBytes` have one empty entry; the caller writes the file
  std::vector<uint8_t> bytes;
};

TinyModel tinyModel(Choices&);

}  // namespace clip::fuzz
