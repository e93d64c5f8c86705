// The backend table of an instruction set without its optional features, whatever its vectors are. It is
// included after the target region, because code that describes a backend must run on CPUs that lack the
// instruction set.
double epsilon(Dtype t) { return t == Dtype::bfloat16 ? 0x1p-8 : 0x1p-24; }

constexpr Backend plainTable(const char* name, Entry<bool(std::string*)> available) {
  return {.name = name,
          .device = "cpu",
          .features = "",
          .borrowed = "",
          .available = available,
          .epsilon = epsilon,
          .requireHead = cpuRequireHead,
          .open = cpuOpen,
          .close = cpuClose,
          .alloc = cpuAlloc,
          .free = cpuFree,
          .plainMemory = true,
          .upload = cpuCopy,
          .download = cpuCopy,
          .packRows = kCols,
          .packedSize = packedSize,
          .pack = pack,
          .bucket = cpuBucket,
          .begin = cpuBegin,
          .end = cpuEnd,
          .linear = {{uniform(Dtype::float32), linearOf<Float32>},
                     {{Dtype::float16, Dtype::float32}, linearOf<Float16AsFloat32>},
                     {uniform(Dtype::bfloat16), linearOf<Bfloat16AsFloat32>},
                     {uniform(Dtype::int8), linearOf<Int8AsInt16>}},
          .attention = {{uniform(Dtype::float32), attentionOf<Float32>},
                        {uniform(Dtype::bfloat16), attentionOf<Float32>}},
          .conv = {{uniform(Dtype::float32), convOf<Float32>},
                   {uniform(Dtype::bfloat16), convOf<Bfloat16AsFloat32>},
                   {uniform(Dtype::int8), convOf<Int8AsInt16>}},
#define CLIP_ENTRY(op, Arguments) .op = op,
          CLIP_OTHER_OPS(CLIP_ENTRY)
#undef CLIP_ENTRY
  };
}
