#pragma once
// Defines "device memory": every access of the PTX interpreter must be inside one of these pieces.
#include <cstddef>
#include <cstdint>
#include <map>

namespace emulator {

inline std::map<uintptr_t, size_t> mapped;  // begin -> bytes

inline void mapMemory(const void* p, size_t bytes) { mapped[reinterpret_cast<uintptr_t>(p)] = bytes; }
inline void unmapMemory(const void* p) { mapped.erase(reinterpret_cast<uintptr_t>(p)); }
inline bool isMapped(uintptr_t address, size_t bytes) {
  auto piece = mapped.upper_bound(address);
  if (piece == mapped.begin()) return false;
  --piece;
  return address + bytes <= piece->first + piece->second;
}

}  // namespace emulator
