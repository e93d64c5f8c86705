#include "context.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace clip::cuda {
namespace {

// Copies go through pinned memory in pieces of this size, two of which may be in flight.
constexpr size_t kPiece = size_t{16} << 20;
constexpr size_t kMostWindowRows = 64;  // geometries of convolutions

constexpr size_t roundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

Stream::~Stream() {
  if (host_) hostBackend_->close(host_);
  if (!module_) return;
  const Driver& cu = driver();
  cu.cuCtxSetCurrent.result(module_->context());
  if (stream_) cu.cuStreamSynchronize.result(stream_);
  graphs_.clear();
  staging_.free();
  if (stream_) cu.cuStreamDestroy.result(stream_);
}

const std::shared_ptr<const Module>& Stream::module() {
  if (stream_) {
    module_->makeCurrent();
    return module_;
  }
  module_ = usableModule();
  driver().cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING);
  return module_;
}

void Stream::sync() {
  module();
  driver().cuStreamSynchronize(stream_);
  staging_.reset();
}

void Stream::upload(void* dst, const void* src, size_t bytes) {
  module();
  const Driver& cu = driver();
  for (size_t done = 0; done < bytes;) {
    if (done > 0 && done / kPiece % 2 == 0) sync();
    const size_t n = std::min(kPiece, bytes - done);
    void* pinned = staging_.take(n);
    std::memcpy(pinned, static_cast<const char*>(src) + done, n);
    cu.cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(dst) + done, pinned, n, stream_);
    done += n;
  }
}

void Stream::download(void* dst, const void* src, size_t bytes) {
  if (bytes == 0) {
    if (stream_) sync();
    return;
  }
  module();
  const Driver& cu = driver();
  for (size_t done = 0; done < bytes;) {
    const size_t n = std::min(kPiece, bytes - done);
    void* pinned = staging_.take(n);
    cu.cuMemcpyDtoHAsync(pinned, reinterpret_cast<CUdeviceptr>(src) + done, n, stream_);
    cu.cuStreamSynchronize(stream_);
    std::memcpy(static_cast<char*>(dst) + done, pinned, n);
    staging_.reset();
    done += n;
  }
}

bool Stream::begin(const GraphKey& key) {
  module();
  // Steps that were left over from the last graph because an op threw.
  steps_.clear();
  used_.clear();
  groups_.clear();
  recording_ = false;
  if (key.memory)
    if (const Recorded* known = graphs_.find(key)) {
      known->launch(stream_);
      replayed_ = true;
      return true;
    }
  key_ = key;
  recording_ = true;
  allocationsBefore_ = allocations();
  return false;
}

// None of the graph's steps has run before. The graph is kept if all its rows will have the same addresses
// next time.
void Stream::end(bool complete) {
  if (std::exchange(replayed_, false)) return;
  recording_ = false;
  groups_.clear();
  const std::vector<Step> steps = std::exchange(steps_, {});
  if (!complete) return;
  if (!key_.memory || allocations() != allocationsBefore_) {
    // the memory that they use is kept until the next graph begins
    for (const Step& step : steps) step(stream_);
    return;
  }
  auto recorded = std::make_unique<const Recorded>(steps, stream_, std::exchange(used_, {}));
  recorded->launch(stream_);
  graphs_.add(key_, std::move(recorded));
}

void Stream::run(Step step) {
  if (recording_)
    steps_.push_back(std::move(step));
  else
    step(stream_);
}

const Scratch::Memory& Stream::scratch(Kind kind, size_t bytes) {
  const Scratch::Memory& memory = scratch_[kind].atLeast(module(), bytes);
  if (recording_ && std::find(used_.begin(), used_.end(), memory) == used_.end()) used_.push_back(memory);
  return memory;
}

LinearScratch Stream::linearScratch(const Linear& l) {
  return {.partial = scratch(partials, linearPartialBytes(l))->as<float>(),
          .arrived = scratch(arrivals, linearArrivedBytes(l))->as<unsigned>()};
}

AttentionGroups Stream::groups(const Attention& a, int* bound) {
  const GroupsKey key{a.first, a.parent, a.queryRow, a.rows, a.queries, a.mask};
  if (recording_)
    for (const Groups& known : groups_)
      if (known.key == key) {
        *bound = known.bound;
        return known.groups;
      }
  // Each image is a sequence, so their number is known; the number of roots of a tree of texts is not.
  const int sequences = recording_ && key_.tower == GraphKey::image ? key_.sequencesBucket : 0;
  *bound = attentionGroupBound(a, sequences);
  const int pathStride = a.mask != Mask::tree ? 0 : recording_ ? std::min(key_.longest, a.rows) : a.rows;
  const size_t n = static_cast<size_t>(*bound), groupsAt = 64,
               pathsAt = roundUp(groupsAt + n * sizeof(AttentionGroup), 64),
               bytes = pathsAt + n * static_cast<size_t>(pathStride) * sizeof(int32_t);
  const size_t number = groups_.size();
  if (groupMemory_.size() <= number) groupMemory_.resize(number + 1);
  const Scratch::Memory& memory = groupMemory_[number].atLeast(module(), bytes);
  char* const base = memory->as<char>();
  const AttentionGroups groups{.count = reinterpret_cast<int32_t*>(base),
                               .groups = reinterpret_cast<AttentionGroup*>(base + groupsAt),
                               .path = reinterpret_cast<int32_t*>(base + pathsAt),
                               .pathStride = pathStride};
  run(attentionGroupsLaunch(), a, groups);
  if (recording_) {
    used_.push_back(memory);
    groups_.push_back({key, groups, *bound});
  }
  return groups;
}

const int32_t* Stream::windowRows(const Conv& c) {
  const WindowsKey key{c.images, c.height, c.width, c.kernel, c.stride, c.pad};
  auto found = windowRows_.find(key);
  if (found == windowRows_.end()) {
    std::vector<int32_t> rows;
    rows.reserve(static_cast<size_t>(c.images) * c.outHeight() * c.outWidth() * c.kernel * c.kernel);
    for (int image = 0; image < c.images; image++)
      for (int oy = 0; oy < c.outHeight(); oy++)
        for (int ox = 0; ox < c.outWidth(); ox++)
          for (int ky = 0; ky < c.kernel; ky++)
            for (int kx = 0; kx < c.kernel; kx++) {
              const int y = oy * c.stride - c.pad + ky, x = ox * c.stride - c.pad + kx;
              const bool inside = y >= 0 && y < c.height && x >= 0 && x < c.width;
              rows.push_back(inside ? (image * c.height + y) * c.width + x : -1);
            }
    const size_t bytes = rows.size() * sizeof(int32_t);
    const auto memory = std::make_shared<const DeviceMemory>(module(), bytes);
    upload(memory->as<void>(), rows.data(), bytes);
    if (windowRows_.size() >= kMostWindowRows) windowRows_.clear();
    found = windowRows_.emplace(key, memory).first;
  }
  if (recording_) used_.push_back(found->second);
  return found->second->as<int32_t>();
}

const Backend& Stream::hostTable() {
  if (!hostBackend_) hostBackend_ = &hostBackend();
  return *hostBackend_;
}

Context& Stream::host() {
  const Backend& table = hostTable();
  if (!host_) host_ = table.open(threads_);
  return *host_;
}

}  // namespace clip::cuda
