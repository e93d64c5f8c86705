#include "threads/context.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

namespace clip {

namespace {
constexpr size_t kHuge = size_t(2) << 20;
constexpr size_t kMapped = 2 * kHuge;
#ifdef __linux__
size_t mappedSize(size_t bytes) {
  static const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}
#endif
}  // namespace

void* cpuAlloc(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return nullptr;
  bytes = std::max<size_t>(64, (bytes + 63) / 64 * 64);
#ifdef __linux__
  if (bytes >= kMapped) {
    const size_t size = mappedSize(bytes);
    void* p = mmap(nullptr, size + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    const uintptr_t start = reinterpret_cast<uintptr_t>(p), aligned = (start + kHuge - 1) / kHuge * kHuge;
    if (aligned > start) munmap(p, aligned - start);
    if (start + kHuge > aligned) munmap(reinterpret_cast<void*>(aligned + size), start + kHuge - aligned);
    void* result = reinterpret_cast<void*>(aligned);
    // Only advice: without huge pages, everything works in 4 KB pages. The last, incomplete huge page is left
    // out because it would be mostly wasted.
    madvise(result, size / kHuge * kHuge, MADV_HUGEPAGE);
    return result;
  }
#endif
#ifdef _WIN32
  void* result = _aligned_malloc(bytes, 64);
#else
  void* result = std::aligned_alloc(64, bytes);
#endif
  if (result) std::memset(result, 0, bytes);
  return result;
}

void cpuFree(void* p, size_t bytes) {
  if (!p) return;
#ifdef __linux__
  bytes = std::max<size_t>(64, (bytes + 63) / 64 * 64);
  if (bytes >= kMapped) {
    munmap(p, mappedSize(bytes));
    return;
  }
#endif
#ifdef _WIN32
  _aligned_free(p);
#else
  std::free(p);
#endif
}

Bytes::Bytes(size_t bytes) : data(cpuAlloc(bytes)), size(bytes) {
  if (!data) throw std::bad_alloc();
}
Bytes::~Bytes() { cpuFree(data, size); }

Context* cpuOpen(int threads) { return new Context{std::clamp(threads, 1, kMaxThreads), {}}; }
void cpuClose(Context* c) { delete c; }
void cpuCopy(Context*, void* dst, const void* src, size_t bytes) {
  if (bytes && dst != src) std::memmove(dst, src, bytes);
}
int cpuBucket(int n) { return n; }
void cpuRequireHead(Dtype, int, const char*) {}
bool cpuBegin(Context&, const GraphKey&) { return false; }
void cpuEnd(Context&, bool) {}

}  // namespace clip
