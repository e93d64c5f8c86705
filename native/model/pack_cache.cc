#include "model/pack_cache.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <vector>

#include "error.h"
#include "model/system_file.h"
#include "threads/parallel.h"

#if defined(CLIP_HAS_MMAP)
#include <sys/mman.h>
#endif

namespace clip {
namespace {

constexpr size_t kPage = 4096;  // size of the header, so that the weights after it keep every alignment
constexpr size_t kPiece = size_t{1} << 20;  // unit of work

struct Header {
  char magic[16];
  uint64_t order;                               // 1, to detect the byte order
  uint64_t bytes, checksum;                     // of the weights
  char float16[512];                            // as defined by WeightPacker, padded with zeros
  char imageName[33], textName[33], unused[6];  // WeightNames, padded with zeros
  char identity[kPage - 632];                   // key and layout, padded with zeros
  uint64_t headerChecksum;                      // checksum of all the fields above
};
static_assert(sizeof(Header) == kPage);
constexpr char kMagic[16] = {'c', 'l', 'i', 'p', '-', 'n', 'a', 't', 'i', 'v', 'e', ' ', 'p', 'k', '1', '\n'};

// Each step is a bijection of its lane, so a change of any single word is detected. This does not protect
// against malice: whoever can write to the folder could just as well replace the checkpoint.
uint64_t checksum(const void* data, size_t bytes, uint64_t seed) {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15u;
  // independent, because a multiplication has a latency of some cycles but one can start in each
  constexpr int kLanes = 8;
  uint64_t lane[kLanes];
  for (int i = 0; i < kLanes; i++) lane[i] = seed + static_cast<uint64_t>(i) * kMultiplier;
  const auto* p = static_cast<const uint8_t*>(data);
  for (; bytes > 0; p += sizeof(lane)) {
    uint64_t words[kLanes] = {};
    const size_t n = std::min(bytes, sizeof(words));
    if (n == sizeof(words))
      std::memcpy(words, p, sizeof(words));
    else
      std::memcpy(words, p, n);
    for (int i = 0; i < kLanes; i++) {
      const uint64_t mixed = (lane[i] ^ words[i]) * kMultiplier;
      lane[i] = mixed ^ (mixed >> 32);
    }
    bytes -= n;
  }
  uint64_t all = seed;
  for (const uint64_t l : lane) {
    all = (all ^ l) * kMultiplier;
    all ^= all >> 29;
  }
  return all;
}

// touch: called for each piece before it is read.
template <class Touch>
uint64_t checksumOfPieces(const uint8_t* data, size_t bytes, int threads, const std::atomic<bool>& cancel,
                          const Touch& touch) {
  const int pieces = static_cast<int>((bytes + kPiece - 1) / kPiece);
  std::vector<uint64_t> sums(pieces);
  parallel(threads, pieces, [&](int i, int) {
    if (cancel.load(std::memory_order_relaxed)) throw Cancelled{};
    const size_t at = static_cast<size_t>(i) * kPiece, n = std::min(kPiece, bytes - at);
    touch(data + at, n);
    sums[i] = checksum(data + at, n, static_cast<uint64_t>(i));
  });
  return checksum(sums.data(), sums.size() * sizeof(uint64_t), bytes);
}

// Returns false if the names do not fit.
bool fill(Header& h, const std::string& key, const std::string& layout, size_t bytes, uint64_t sum,
          const std::string& float16, const WeightNames& names) {
  std::memset(&h, 0, sizeof(h));
  std::memcpy(h.magic, kMagic, sizeof(kMagic));
  h.order = 1;
  h.bytes = bytes;
  h.checksum = sum;
  const std::string identity = key + "\n" + layout;
  if (identity.size() >= sizeof(h.identity) || float16.size() >= sizeof(h.float16) ||
      names.image.size() >= sizeof(h.imageName) || names.text.size() >= sizeof(h.textName))
    return false;
  std::memcpy(h.imageName, names.image.data(), names.image.size());
  std::memcpy(h.textName, names.text.data(), names.text.size());
  std::memcpy(h.float16, float16.data(), float16.size());
  std::memcpy(h.identity, identity.data(), identity.size());
  h.headerChecksum = checksum(&h, offsetof(Header, headerChecksum), 0);
  return true;
}

#if defined(CLIP_HAS_MMAP)
class FileMapping : public PackCache::Mapping {
 public:
  static std::unique_ptr<FileMapping> of(const SystemFile& file, size_t bytes, std::string float16,
                                         WeightNames names) {
    void* map = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    if (map == MAP_FAILED) return nullptr;
    return std::unique_ptr<FileMapping>(new FileMapping(map, bytes, std::move(float16), std::move(names)));
  }
  ~FileMapping() override { munmap(map_, kPage + bytes()); }
  const void* data() const override { return static_cast<const uint8_t*>(map_) + kPage; }

  // Creates all page table entries of a piece in one call, instead of by a page fault for every few pages.
  static void touch(const uint8_t* data, size_t bytes) {
#if defined(MADV_POPULATE_READ)
    const uintptr_t page = kPage, start = reinterpret_cast<uintptr_t>(data) / page * page;
    madvise(reinterpret_cast<void*>(start), reinterpret_cast<uintptr_t>(data) + bytes - start,
            MADV_POPULATE_READ);  // an older kernel refuses; then they are created one by one
#else
    (void)data, (void)bytes;
#endif
  }

 private:
  FileMapping(void* map, size_t bytes, std::string float16, WeightNames names)
      : Mapping(bytes - kPage, std::move(float16), std::move(names)), map_(map) {}
  void* map_;
};
#else
// If nothing can be mapped the file is read, which is still faster than packing.
class FileMapping : public PackCache::Mapping {
 public:
  static std::unique_ptr<FileMapping> of(const SystemFile& file, size_t bytes, std::string float16,
                                         WeightNames names) {
    auto m =
        std::unique_ptr<FileMapping>(new FileMapping(bytes - kPage, std::move(float16), std::move(names)));
    if (!m->memory_ || !file.read(kPage, m->memory_, bytes - kPage)) return nullptr;
    return m;
  }
  ~FileMapping() override { ::operator delete(memory_, kAlignment); }
  const void* data() const override { return memory_; }
  static void touch(const uint8_t*, size_t) {}

 private:
  static constexpr std::align_val_t kAlignment{64};
  FileMapping(size_t bytes, std::string float16, WeightNames names)
      : Mapping(bytes, std::move(float16), std::move(names)),
        memory_(::operator new(bytes, kAlignment, std::nothrow)) {}
  void* memory_;
};
#endif

}  // namespace

std::unique_ptr<PackCache::Mapping> PackCache::open(const std::string& layout, size_t most, int threads,
                                                    const std::atomic<bool>& cancel) const {
  SystemFile file;
  if (!file.openToRead(file_, false) || !file.examine() || file.kind != SystemFile::Kind::regular ||
      !file.isPrivate || file.bytes < kPage || file.bytes > kPage + most)
    return nullptr;
  const size_t bytes = file.bytes - kPage;
  Header found, expected;
  if (!file.read(0, &found, sizeof(found))) return nullptr;
  const std::string float16(found.float16, strnlen(found.float16, sizeof(found.float16)));
  const WeightNames names{.image = {found.imageName, strnlen(found.imageName, sizeof(found.imageName))},
                          .text = {found.textName, strnlen(found.textName, sizeof(found.textName))}};
  if (!fill(expected, key_, layout, bytes, found.checksum, float16, names) ||
      std::memcmp(&found, &expected, sizeof(Header)) != 0)
    return nullptr;
  std::unique_ptr<FileMapping> map = FileMapping::of(file, kPage + bytes, float16, names);
  // Checks again, because the file may have been truncated between the first check and the mapping.
  if (!map || !file.examine() || file.bytes != kPage + bytes) return nullptr;
  const uint64_t sum =
      checksumOfPieces(static_cast<const uint8_t*>(map->data()), bytes, threads, cancel, FileMapping::touch);
  if (sum != found.checksum) return nullptr;
  return map;
}

std::string PackCache::write(const std::string& layout, const void* data, size_t bytes,
                             const std::string& float16, const WeightNames& names, int threads,
                             const std::atomic<bool>& cancel) const {
  const auto* from = static_cast<const uint8_t*>(data);
  Header header;
  const uint64_t sum = checksumOfPieces(from, bytes, threads, cancel, [](const uint8_t*, size_t) {});
  if (!fill(header, key_, layout, bytes, sum, float16, names)) return "its names are too long";

  const std::string beside = nameBeside(file_);
  SystemFile file;
  const auto why = [&](const char* what) {
    const std::string reason = std::string(what) + ": " + std::strerror(errno);
    file.close();
    removeFile(beside);
    return reason;
  };
  if (!file.create(beside)) return std::string("can't be created: ") + std::strerror(errno);
  if (!file.write(&header, sizeof(header))) return why("can't be written");
  for (size_t at = 0; at < bytes; at += 16 * kPiece) {
    if (cancel.load(std::memory_order_relaxed)) {
      file.close();
      removeFile(beside);
      throw Cancelled{};
    }
    if (!file.write(from + at, std::min(16 * kPiece, bytes - at))) return why("can't be written");
  }
  file.close();
  // Not flushed to the disk: if a power failure leaves the file half-written, its checksum will not match.
  if (!renameFile(beside, file_)) return why("can't be renamed into place");
  return {};
}

std::string packedLayout(const Backend& backend, Dtype dtype, size_t most) {
  constexpr int kLayout = 3;
  return "layout " + std::to_string(kLayout) + ", " + activeName(backend) + ", " +
         std::to_string(backend.packRows) + " rows, dtype " + std::to_string(static_cast<int>(dtype)) + ", " +
         "at most " + std::to_string(most) + " bytes";
}

}  // namespace clip
