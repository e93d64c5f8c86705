// The table of an instruction set without extras, whatever its vectors are. Included behind the target
// region: what says what a backend is must run on a CPU that lacks the instruction set.
bool runs(Dtype t) { return t == Dtype::float32 || t == Dtype::bfloat16 || t == Dtype::int8; }
double epsilon(Dtype t) { return t == Dtype::bfloat16 ? 0x1p-8 : 0x1p-24; }

constexpr Backend plainTable(const char* name, Entry<bool(std::string*)> available) {
  return {.name = name,
          .device = "cpu",
          .features = "",
          .borrowed = "",
          .available = available,
          .runs = runs,
          .epsilon = epsilon,
          .requireHead = cpuRequireHead,
          .open = cpuOpen,
          .close = cpuClose,
          .alloc = cpuAlloc,
          .free = cpuFree,
          .plainMemory = true,
          .float16Weights = true,
          .upload = cpuCopy,
          .download = cpuCopy,
          .packRows = kCols,
          .packedSize = packedSize,
          .pack = pack,
          .bucket = cpuBucket,
          .begin = cpuBegin,
          .end = cpuEnd,
#define CLIP_ENTRY(op, Arguments) .op = op,
          CLIP_OPS(CLIP_ENTRY)
#undef CLIP_ENTRY
  };
}
