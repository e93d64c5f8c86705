#include "cuda/table.h"

#include "context.h"
#include "heads.h"
#include "linear.h"
#include "memory.h"
#include "ops.h"
#include "pack.h"

namespace clip::cuda {
namespace {

bool available(std::string* why) { return usableDevice(why) >= 0; }
constexpr std::initializer_list<Format> kOwnFormats = {uniform(Dtype::float32), uniform(Dtype::bfloat16),
                                                       uniform(Dtype::float16)};
double epsilon(Dtype t) { return t == Dtype::bfloat16 ? 0x1p-8 : t == Dtype::float16 ? 0x1p-11 : 0x1p-24; }

Context* open(int threads) { return (new Stream(threads))->context(); }
void close(Context* c) {
  if (c) delete &Stream::of(*c);
}

void upload(Context* c, void* dst, const void* src, size_t bytes) {
  if (c)
    Stream::of(*c).upload(dst, src, bytes);
  else
    copyIn(dst, src, bytes);
}
void download(Context* c, void* dst, const void* src, size_t bytes) {
  if (c)
    Stream::of(*c).download(dst, src, bytes);
  else
    copyOut(dst, src, bytes);
}

// There are few sizes, so that few graphs are recorded, and at most a third of a pass is padding: 1, 2, 3, 4,
// 6, 8, 12, 16, 24, ...
int bucket(int n) {
  int power = 1;
  while (power < n && power < 1 << 30) power *= 2;
  const int between = power / 4 * 3;
  return power < n ? n : between >= n ? between : power;
}

bool begin(Context& c, const GraphKey& key) { return Stream::of(c).begin(key); }
void end(Context& c, bool complete) { Stream::of(c).end(complete); }

}  // namespace

const Backend cudaBackend{.name = "cuda",
                          .device = "cuda",
                          .features = "",
                          .borrowed = "resize: cpu, infoNce's gradients: cpu",
                          .available = available,
                          .epsilon = epsilon,
                          .requireHead = requireHead,
                          .open = open,
                          .close = close,
                          .alloc = alloc,
                          .free = free,
                          .plainMemory = false,
                          .upload = upload,
                          .download = download,
                          .packRows = kPackRows,
                          .packedSize = linearPackedSize,
                          .pack = pack,
                          .bucket = bucket,
                          .begin = begin,
                          .end = end,
#define CLIP_ENTRY(op, Arguments) .op = {ops::run, kOwnFormats},
                          CLIP_PRODUCTS(CLIP_ENTRY)
#undef CLIP_ENTRY
#define CLIP_ENTRY(op, Arguments) .op = ops::run,
                              CLIP_OTHER_OPS(CLIP_ENTRY)
#undef CLIP_ENTRY
};

}  // namespace clip::cuda
