#pragma once
// Kernels by name, as a driver finds them in a module.
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "state.h"

namespace emulator {

// From the addresses of a kernel's arguments, as cuLaunchKernel takes them, to one thread's call. The
// arguments are copied.
using Kernel = std::function<std::function<void()>(const void* const* arguments)>;

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
  Registration(const char* name, void (*kernel)(A...)) {
    kernels()[name] = [kernel](const void* const* arguments) {
      return bindArguments(kernel, arguments, std::index_sequence_for<A...>());
    };
  }
};

}  // namespace emulator
