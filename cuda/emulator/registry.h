#pragma once
// Kernels by name, like a module of a driver.
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "state.h"

namespace emulator {

struct Kernel {
  // Makes one thread's call from the addresses of the arguments, as passed to cuLaunchKernel. The arguments
  // are copied.
  std::function<std::function<void()>(const void* const* arguments)> bind;
  std::vector<size_t> bytes;  // of each argument
  unsigned threads;           // largest block size, from __launch_bounds__

  std::function<void()> operator()(const void* const* arguments) const { return bind(arguments); }
};

inline std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}

template <class... A, size_t... I>
std::function<void()> bindArguments(void (*kernel)(A...), const void* const* arguments,
                                    std::index_sequence<I...>) {
  return [kernel, values = std::tuple<std::decay_t<A>...>(
                      *static_cast<const std::decay_t<A>*>(arguments[I])...)] { std::apply(kernel, values); };
}

struct Registration {
  template <class... A>
  Registration(const char* name, void (*kernel)(A...), unsigned threads, int /*leastBlocks*/ = 0) {
    kernels()[name] = {[kernel](const void* const* arguments) {
                         return bindArguments(kernel, arguments, std::index_sequence_for<A...>());
                       },
                       {sizeof(std::decay_t<A>)...},
                       threads};
  }
};

}  // namespace emulator
