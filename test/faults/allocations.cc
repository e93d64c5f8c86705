// Preloaded into Node by allocations.test.ts: makes allocations of the addon fail, and no others.
//
// An allocation belongs to the addon if it is called from the addon's code. operator new is part of that
// code, because the addon contains its own libstdc++; V8, Node and libc allocate from their own code and
// never fail here. The test sends its instructions through the memory of a file that it maps (CLIP_FAULTS):
// see control.ts.
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

struct Control {
  std::atomic<int64_t> armed;  // 1: counts allocations and fails the requested ones
  std::atomic<int64_t> first;  // the first one that fails, counted from 1
  std::atomic<int64_t> count;  // how many fail from there on
  std::atomic<int64_t> seen;  // allocations since it was armed
  std::atomic<int64_t> failed;  // how many of them failed
};

Control* control = nullptr;
std::atomic<uintptr_t> begin{0}, end{0};

__attribute__((constructor)) void connect() {
  const char* file = getenv("CLIP_FAULTS");
  if (!file) return;
  const int fd = open(file, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* memory = mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory != MAP_FAILED) control = static_cast<Control*>(memory);
}

int find(dl_phdr_info* info, size_t, void*) {
  const char* name = info->dlpi_name;
  const size_t length = name ? strlen(name) : 0;
  if (length < 5 || strcmp(name + length - 5, ".node") != 0) return 0;
  uintptr_t low = UINTPTR_MAX, high = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_X)) continue;
    const uintptr_t from = info->dlpi_addr + segment.p_vaddr;
    if (from < low) low = from;
    if (from + segment.p_memsz > high) high = from + segment.p_memsz;
  }
  end = high;
  begin = low;
  return 1;
}

bool fails(const void* caller) {
  if (!control || !control->armed.load(std::memory_order_relaxed)) return false;
  if (!begin.load()) dl_iterate_phdr(find, nullptr);
  const uintptr_t at = reinterpret_cast<uintptr_t>(caller);
  if (!begin.load() || at < begin.load() || at >= end.load()) return false;
  const int64_t number = control->seen.fetch_add(1) + 1, first = control->first.load();
  if (number < first || number - first >= control->count.load()) return false;
  control->failed.fetch_add(1);
  errno = ENOMEM;
  return true;
}

}  // namespace

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

extern "C" {

__attribute__((noinline)) void* malloc(size_t bytes) { return fails(CALLER) ? nullptr : __libc_malloc(bytes); }

__attribute__((noinline)) void* calloc(size_t count, size_t bytes) {
  return fails(CALLER) ? nullptr : __libc_calloc(count, bytes);
}

__attribute__((noinline)) void* realloc(void* place, size_t bytes) {
  return fails(CALLER) ? nullptr : __libc_realloc(place, bytes);
}

__attribute__((noinline)) void* aligned_alloc(size_t alignment, size_t bytes) {
  return fails(CALLER) ? nullptr : __libc_memalign(alignment, bytes);
}

__attribute__((noinline)) int posix_memalign(void** place, size_t alignment, size_t bytes) {
  void* const result = fails(CALLER) ? nullptr : __libc_memalign(alignment, bytes);
  if (!result) return ENOMEM;
  *place = result;
  return 0;
}
}
