// Preloaded into Node by system.test.ts: makes calls of the operating system fail or do only half of their
// work.
//
// For files, it affects those below CLIP_FAULTS_FOLDER and no others; for memory mappings, those of the addon
// and of these files; for threads, all. The test sends its instructions through the memory of a file that it
// maps (CLIP_FAULTS): see preload.ts.
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

// Must match `calls` in system-run.ts.
enum Call : int64_t { kOpen, kStat, kRead, kWrite, kSync, kRename, kMap, kThread };
constexpr int64_t kShort = -1;  // does half of what was requested

struct Control {
  std::atomic<int64_t> armed;  // 1: counts the calls and fails the requested ones
  std::atomic<int64_t> call;  // which call fails
  std::atomic<int64_t> how;     // an errno, or kShort
  std::atomic<int64_t> first;  // the first one that fails, counted from 1
  std::atomic<int64_t> count;  // how many fail from there on
  std::atomic<int64_t> seen;  // calls since it was armed
  std::atomic<int64_t> failed;  // how many of them failed
};

Control* control = nullptr;
char folder[4096];
size_t folderLength = 0;
constexpr int kFiles = 65536;
std::atomic<bool> below[kFiles];  // indexed by file descriptor

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}
#define NEXT(NAME) static const auto real = next<decltype(NAME)>(#NAME)

__attribute__((constructor)) void connect() {
  const char* path = getenv("CLIP_FAULTS_FOLDER");
  const char* file = getenv("CLIP_FAULTS");
  if (!path || !file || strlen(path) >= sizeof(folder)) return;
  strcpy(folder, path);
  folderLength = strlen(folder);
  const int fd = open(file, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* memory = mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory != MAP_FAILED) control = static_cast<Control*>(memory);
}

bool isBelow(const char* path) { return folderLength && path && !strncmp(path, folder, folderLength); }
bool isBelow(int fd) { return fd >= 0 && fd < kFiles && below[fd].load(std::memory_order_relaxed); }

// Whether this call is one that fails. If so, sets errno, unless it is to do half of its work.
bool fails(Call call) {
  if (!control || !control->armed.load() || control->call.load() != call) return false;
  const int64_t number = control->seen.fetch_add(1) + 1, first = control->first.load();
  if (number < first || number - first >= control->count.load()) return false;
  control->failed.fetch_add(1);
  if (control->how.load() != kShort) errno = int(control->how.load());
  return true;
}
bool failsWhole(Call call) { return fails(call) && control->how.load() != kShort; }

// The part of `bytes` that may be processed; 0 if the call is to fail.
size_t allowed(Call call, int fd, size_t bytes) {
  if (!isBelow(fd) || bytes == 0 || (bytes == 1 && control && control->how.load() == kShort)) return bytes;
  if (!fails(call)) return bytes;
  return control->how.load() == kShort ? bytes / 2 : 0;
}

int opened(int fd, const char* path) {
  if (fd >= 0 && fd < kFiles) below[fd] = isBelow(path);
  return fd;
}

bool ofAddon(const void* caller) {
  static std::atomic<uintptr_t> begin{0}, end{0};
  if (!begin.load())
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void*) {
          const char* name = info->dlpi_name;
          const size_t length = name ? strlen(name) : 0;
          if (length < 5 || strcmp(name + length - 5, ".node") != 0) return 0;
          uintptr_t low = UINTPTR_MAX, high = 0;
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const ElfW(Phdr)& segment = info->dlpi_phdr[i];
            if (segment.p_type != PT_LOAD) continue;
            const uintptr_t from = info->dlpi_addr + segment.p_vaddr;
            if (from < low) low = from;
            if (from + segment.p_memsz > high) high = from + segment.p_memsz;
          }
          end = high, begin = low;
          return 1;
        },
        nullptr);
  const uintptr_t at = reinterpret_cast<uintptr_t>(caller);
  return begin.load() && at >= begin.load() && at < end.load();
}
#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

}  // namespace

extern "C" {

#define OPEN(NAME)                                                       \
  int NAME(const char* path, int flags, ...) {                           \
    NEXT(NAME);                                                          \
    va_list arguments;                                                   \
    va_start(arguments, flags);                                          \
    const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0; \
    va_end(arguments);                                                   \
    if (isBelow(path) && failsWhole(kOpen)) return -1;                   \
    return opened(real(path, flags, mode), path);                        \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  NEXT(close);
  if (fd >= 0 && fd < kFiles) below[fd] = false;
  return real(fd);
}

#define TRANSFER(NAME, CALL, BYTES)                     \
  ssize_t NAME(int fd, BYTES bytes, size_t count) {     \
    NEXT(NAME);                                         \
    const size_t some = allowed(CALL, fd, count);       \
    return some || !count ? real(fd, bytes, some) : -1; \
  }
#define TRANSFER_AT(NAME, CALL, BYTES, OFFSET)                     \
  ssize_t NAME(int fd, BYTES bytes, size_t count, OFFSET offset) { \
    NEXT(NAME);                                                    \
    const size_t some = allowed(CALL, fd, count);                  \
    return some || !count ? real(fd, bytes, some, offset) : -1;    \
  }
TRANSFER(read, kRead, void*)
TRANSFER(write, kWrite, const void*)
TRANSFER_AT(pread, kRead, void*, off_t)
TRANSFER_AT(pread64, kRead, void*, off64_t)
TRANSFER_AT(pwrite, kWrite, const void*, off_t)
TRANSFER_AT(pwrite64, kWrite, const void*, off64_t)

// Of several pieces only the first, and only half of that.
#define PIECES(NAME, CALL)                                                 \
  ssize_t NAME(int fd, const iovec* pieces, int count, off64_t offset) {   \
    NEXT(NAME);                                                            \
    if (count <= 0) return real(fd, pieces, count, offset);                \
    const size_t some = allowed(CALL, fd, pieces[0].iov_len);              \
    if (some == pieces[0].iov_len) return real(fd, pieces, count, offset); \
    if (!some) return -1;                                                  \
    const iovec piece{pieces[0].iov_base, some};                           \
    return real(fd, &piece, 1, offset);                                    \
  }
PIECES(preadv64, kRead)
PIECES(pwritev64, kWrite)

int fsync(int fd) {
  NEXT(fsync);
  return isBelow(fd) && failsWhole(kSync) ? -1 : real(fd);
}
int fdatasync(int fd) {
  NEXT(fdatasync);
  return isBelow(fd) && failsWhole(kSync) ? -1 : real(fd);
}
int rename(const char* from, const char* to) {
  NEXT(rename);
  return isBelow(to) && failsWhole(kRename) ? -1 : real(from, to);
}

// The addon uses fstat; Node uses statx, by its syscall number.
int fstat(int fd, struct stat* s) {
  NEXT(fstat);
  return isBelow(fd) && failsWhole(kStat) ? -1 : real(fd, s);
}
long syscall(long number, ...) {
  NEXT(syscall);
  va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (long& one : a) one = va_arg(arguments, long);
  va_end(arguments);
  if (number == SYS_close && a[0] >= 0 && a[0] < kFiles) below[a[0]] = false;  // as libuv closes files
  if (number == SYS_statx) {
    const char* path = reinterpret_cast<const char*>(a[1]);
    const bool ours = path && *path ? isBelow(path) : isBelow(int(a[0]));
    if (ours && failsWhole(kStat)) return -1;
  }
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#define MAP(NAME, OFFSET)                                                                \
  void* NAME(void* at, size_t bytes, int protection, int flags, int fd, OFFSET offset) { \
    NEXT(NAME);                                                                          \
    if ((isBelow(fd) || ofAddon(CALLER)) && failsWhole(kMap)) return MAP_FAILED;         \
    return real(at, bytes, protection, flags, fd, offset);                               \
  }
MAP(mmap, off_t)
MAP(mmap64, off64_t)

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) {
  NEXT(pthread_create);
  return failsWhole(kThread) ? errno : real(thread, attributes, start, argument);
}
}
