// Device and pinned memory: pieces of one large address-space reservation, which are made accessible as
// needed.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <unistd.h>

#include "../memory_map.h"
#include "../state.h"
#include "standin.h"

namespace standin {

std::map<uintptr_t, Piece>& pieces = *new std::map<uintptr_t, Piece>;

namespace {

constexpr size_t kReserved = size_t{1} << 42, kPage = 4096, kAlignment = 256;
constexpr unsigned char kSlack[2] = {0xa5, 0xff};  // NaN in every float type

uintptr_t base = 0, next = 0;
int open = 0;  // nesting depth of onDevice

sigjmp_buf* rescue = nullptr;  // where the thread that runs a kernel continues after an illegal access
pthread_t rescued;
struct sigaction before;

void onFault(int signal, siginfo_t* info, void*) {
  if (rescue && pthread_equal(rescued, pthread_self())) siglongjmp(*rescue, 1);
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  if (at >= base && at < base + kReserved) {
    constexpr char text[] =
        "libcuda stand-in: host code touched device memory, or pinned memory that was freed\n";
    if (write(2, text, sizeof text - 1) < 0) _exit(1);
  }
  sigaction(signal, &before, nullptr);  // repeats the access for the handler that was installed before
}

bool reserve() {
  if (base) return true;
  void* at = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return false;
  base = reinterpret_cast<uintptr_t>(at);
  next = base + kPage;
#if !defined(__SANITIZE_ADDRESS__)
  struct sigaction action = {};
  action.sa_sigaction = onFault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, &before);
#endif
  return true;
}

constexpr uintptr_t pageOf(uintptr_t at) { return at / kPage * kPage; }
constexpr size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }
uintptr_t endOf(uintptr_t at, const Piece& p) { return at + rounded(p.bytes, kAlignment); }

void protect(uintptr_t at, const Piece& p, int protection) {
  mprotect(reinterpret_cast<void*>(pageOf(at)), endOf(at, p) - pageOf(at), protection);
}

void fill(uintptr_t from, uintptr_t to) {
  for (uintptr_t at = from; at < to; at++) *reinterpret_cast<unsigned char*>(at) = kSlack[at % 2];
}
bool isFilled(uintptr_t from, uintptr_t to) {
  for (uintptr_t at = from; at < to; at++)
    if (*reinterpret_cast<const unsigned char*>(at) != kSlack[at % 2]) return false;
  return true;
}

void setOpen(bool on) {
  open += on ? 1 : -1;
  if (open != (on ? 1 : 0)) return;
  for (const auto& [at, piece] : pieces)
    if (!piece.pinned) protect(at, piece, on ? PROT_READ | PROT_WRITE : PROT_NONE);
}

}  // namespace

WithinReach::WithinReach() { setOpen(true); }
WithinReach::~WithinReach() { setOpen(false); }

size_t usedBytes(CUcontext context) {
  size_t all = 0;
  for (const auto& [at, piece] : pieces)
    if (!piece.pinned && piece.context == context) all += endOf(at, piece) - pageOf(at);
  return all;
}

CUresult allocate(uintptr_t* at, size_t bytes, bool pinned) {
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (!reserve()) return CUDA_ERROR_OUT_OF_MEMORY;
  const size_t pages = rounded(rounded(bytes, kAlignment), kPage);
  if (pages > machine.memory || (!pinned && usedBytes(current) + pages > machine.memory) ||
      next + pages + kPage > base + kReserved)
    return CUDA_ERROR_OUT_OF_MEMORY;
  const uintptr_t from = next;
  if (mprotect(reinterpret_cast<void*>(from), pages, PROT_READ | PROT_WRITE)) return CUDA_ERROR_OUT_OF_MEMORY;
  next += pages + kPage;
  fill(from, from + pages);
  *at = from + pages - rounded(bytes, kAlignment);
  const Piece piece{bytes, pinned, current};
  if (!pinned && open == 0) protect(*at, piece, PROT_NONE);
  pieces[*at] = piece;
  emulator::mapMemory(reinterpret_cast<void*>(*at), bytes);
  return CUDA_SUCCESS;
}

CUresult release(uintptr_t at, bool pinned) {
  const auto piece = pieces.find(at);
  if (piece == pieces.end() || piece->second.pinned != pinned) {
    report(std::string(pinned ? "cuMemFreeHost" : "cuMemFree") +
           ": not the address of memory that is allocated");
    return CUDA_ERROR_INVALID_VALUE;
  }
  setOpen(true);
  checkSlack("until it was freed");
  setOpen(false);
  protect(at, piece->second, PROT_NONE);
  madvise(reinterpret_cast<void*>(pageOf(at)), endOf(at, piece->second) - pageOf(at), MADV_DONTNEED);
  pieces.erase(piece);
  emulator::unmapMemory(reinterpret_cast<void*>(at));
  return CUDA_SUCCESS;
}

bool inPiece(uintptr_t at, size_t bytes, bool pinned) {
  auto piece = pieces.upper_bound(at);
  if (piece == pieces.begin()) return false;
  --piece;
  return piece->second.pinned == pinned && at + bytes <= piece->first + piece->second.bytes;
}

// Checks the bytes around every piece in its pages.
void checkSlack(const char* after) {
  for (const auto& [at, piece] : pieces) {
    if (isFilled(pageOf(at), at) && isFilled(at + piece.bytes, endOf(at, piece))) continue;
    report("bytes outside " + std::to_string(piece.bytes) + " bytes of memory were written, " + after);
    fill(pageOf(at), at);
    fill(at + piece.bytes, endOf(at, piece));
  }
}

CUresult onDevice(const char* what, const Operation& run) {
  CUresult result;
  setOpen(true);
  sigjmp_buf* const outer = rescue;
  sigjmp_buf here;
  if (sigsetjmp(here, 1) == 0) {
    rescued = pthread_self();
    rescue = &here;
    result = run();
    checkSlack(what);
  } else {
    emulator::self = nullptr;
    for (const auto& [message, times] : emulator::reports) report(message);
    emulator::reports.clear();
    report(std::string("memory that is not allocated was touched, ") + what);
    result = CUDA_ERROR_ILLEGAL_ADDRESS;
  }
  rescue = outer;
  setOpen(false);
  return result;
}

}  // namespace standin
