#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <limits>
#include <memory>

#include "case_support.h"
#include "tiny_model.h"

namespace clip::fuzz {
namespace {

void write(const std::string& path, const std::vector<uint8_t>& bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    fault("can't write " + path);
  close(fd);
}

float hostileFloat(Choices& c) {
  using limits = std::numeric_limits<float>;
  return c.pick({0.0f, -0.0f, -1.0f, 1e-45f, 1e-5f, limits::max(), limits::infinity(), -limits::infinity(),
                 limits::quiet_NaN()});
}

void mutateTensor(Choices& c, ModelConfig& m) {
  if (m.tensors.empty()) return;
  auto at = m.tensors.begin();
  std::advance(at, static_cast<int64_t>(c.below(m.tensors.size())));
  TensorView& t = at->second;
  const uint64_t file = m.fileBytes.empty() ? 0 : m.fileBytes[0];
  switch (c.below(11)) {
    case 0:
      t.offset = c.pick({uint64_t{0}, file, file - 1, file + 1, file - bytesOf(t.dtype), ~uint64_t{0}});
      break;
    case 1:
      t.offset = static_cast<uint64_t>(c.hostile());
      break;
    case 2:
      t.offset += static_cast<uint64_t>(static_cast<int64_t>(c.within(-5, 5)));
      break;
    case 3:
      if (!t.strides.empty()) t.strides[c.below(t.strides.size())] = c.hostile();
      break;
    case 4:
      if (!t.shape.empty()) t.shape[c.below(t.shape.size())] = c.hostile();
      break;
    case 5: {  // one dimension more or fewer
      std::vector<int64_t>& list = c.oneIn(2) ? t.shape : t.strides;
      if (c.oneIn(2) || list.empty())
        list.push_back(c.hostile());
      else
        list.pop_back();
      break;
    }
    case 6:
      t.dtype = c.pick(
          {Dtype::float32, Dtype::float16, Dtype::bfloat16, Dtype::float64, Dtype::int8, Dtype::uint8});
      break;
    case 7:
      t.file = c.pick({-1, 1, 2, INT_MAX, INT_MIN});
      break;
    case 8: {  // the bytes of another tensor
      auto other = m.tensors.begin();
      std::advance(other, static_cast<int64_t>(c.below(m.tensors.size())));
      t = TensorView(other->second);
      break;
    }
    case 9:
      m.tensors.erase(at);
      break;
    default:
      if (t.strides.size() > 1) std::swap(t.strides[0], t.strides[1]);
  }
}

void mutateTransformer(Choices& c, TransformerConfig& tower) {
  BlocksConfig& t = tower.blocks;
  switch (c.below(7)) {
    case 0:
      t.width = c.hostileInt();
      break;
    case 1:
      t.layers = c.hostileInt();
      break;
    case 2:
      t.heads = c.oneIn(2) ? c.hostileInt() : c.within(1, 16);
      break;
    case 3:
      t.mlp = c.hostileInt();
      break;
    case 4:
      tower.preNorm = c.oneIn(2);
      tower.project = c.pick({Projection::none, Projection::matrix, Projection::identity, Projection::mlp});
      tower.projectionMlp = {c.hostileInt(), c.pick({Activation::none, Activation::gelu})};
      tower.finalNorm = c.oneIn(2);
      t.postNorm = c.oneIn(2);
      tower.normFirst = c.oneIn(2);
      tower.mask = c.pick({Mask::full, Mask::causal});
      tower.pool = c.pick({PoolKind::first, PoolKind::mean, PoolKind::attention, PoolKind::last,
                           PoolKind::argmax, PoolKind::eos});
      tower.attentionPool = {c.oneIn(2) ? c.hostileInt() : tower.blocks.heads, c.hostileInt()};
      break;
    case 5:
      t.innerNorms = c.oneIn(2);
      t.gate = c.oneIn(2) ? std::optional(Gating::silu) : std::nullopt;
      break;
    default:
      t.layerNormEps = hostileFloat(c);
  }
}

void mutateConfig(Choices& c, ModelConfig& m) {
  switch (c.below(12)) {
    case 0:
      m.embedDim = c.hostileInt();
      break;
    case 1:
      if (m.text && c.oneIn(2)) m.text->padId = c.hostileInt();
      if (m.text && c.oneIn(2)) m.text->maskedId = c.hostileInt();
      if (m.text && c.oneIn(3)) m.text->sinusoid = c.hostileInt();
      if (m.text && c.oneIn(3)) m.text->tokenScale = hostileFloat(c);
      break;
    case 2:
    case 3:
      if (m.image) mutateTransformer(c, *m.image);
      break;
    case 4:
      if (m.image && c.oneIn(3))
        m.image->rope = {.offset = c.hostileInt(), .reference = c.hostileInt(), .columnFirst = c.oneIn(2)};
      else if (m.image)
        (c.oneIn(2) ? m.image->imageSize : m.image->patchSize) = c.hostileInt();
      break;
    case 5:
      if (m.resNet) {
        int* const fields[] = {&m.resNet->imageSize, &m.resNet->width,     &m.resNet->heads,
                               &m.resNet->layers[0], &m.resNet->layers[1], &m.resNet->layers[3]};
        *c.pick(fields) = c.hostileInt();
      }
      if (m.convNext) {
        ConvNextConfig& n = *m.convNext;
        int* const fields[] = {&n.imageSize,       &n.patchSize,        &n.headMlp,
                               &n.stages[0].width, &n.stages[1].layers, &n.stages[3].mlp};
        *c.pick(fields) = c.hostileInt();
      }
      break;
    case 6:
    case 7:
      if (m.text) mutateTransformer(c, *m.text);
      break;
    case 8:
      if (m.text) (c.oneIn(2) ? m.text->contextLength : m.text->vocabSize) = c.hostileInt();
      break;
    case 9:
      (c.oneIn(2) ? m.preprocess.mean : m.preprocess.std)[c.below(3)] = hostileFloat(c);
      break;
    case 10:
      m.preprocess.size = c.hostileInt();
      if (c.oneIn(2) && m.image) m.image->imageSize = m.preprocess.size;
      break;
    default:
      if (c.oneIn(3)) m.image.reset();
      if (c.oneIn(3)) m.text.reset();
      if (c.oneIn(3)) m.resNet.emplace();
      if (c.oneIn(3)) m.convNext.emplace();
  }
}

// Mutates the file, or what the table says about it.
void mutateFile(Choices& c, TinyModel& m) {
  std::vector<uint8_t>& bytes = m.bytes;
  uint64_t& said = m.config.fileBytes[0];
  switch (c.below(6)) {
    case 0:  // truncated before the header was read
      bytes.resize(c.below(bytes.size() + 1));
      said = bytes.size();
      break;
    case 1:  // truncated after the header was read
      bytes.resize(c.below(bytes.size() + 1));
      break;
    case 2:
      said = static_cast<uint64_t>(c.hostile());
      break;
    case 3:
      bytes.resize(bytes.size() + 1 + c.below(5000));
      if (c.oneIn(2)) said = bytes.size();
      break;
    default:  // NaN, infinities, any bytes
      for (int i = c.within(1, 4); i > 0 && !bytes.empty(); i--)
        bytes[c.below(bytes.size())] = static_cast<uint8_t>(c.oneIn(2) ? 0xff : c.below(256));
  }
}

void mutatePath(Choices& c, ModelConfig& m) {
  static const std::string fifo = [] {
    const std::string path = folder() + "/fifo";
    if (mkfifo(path.c_str(), 0600) != 0) fault("can't make a FIFO");
    return path;
  }();
  switch (c.below(8)) {
    case 0:
      m.files[0] = folder();
      break;
    case 1:
      m.files[0] = fifo;
      break;
    case 2:
      m.files[0] = "/dev/zero";
      break;
    case 3:
      m.files[0] = folder() + "/nothing";
      break;
    case 4:
      m.files[0].clear();
      break;
    case 5:
      m.files.clear();
      break;
    case 6:
      m.fileBytes.push_back(0);
      break;
    default:
      m.files.push_back(m.files[0]);
      m.fileBytes.push_back(m.fileBytes[0]);
  }
}

LoadOptions hostileOptions(Choices& c) {
  LoadOptions o;
  o.threads = c.oneIn(20) ? c.hostileInt() : c.within(1, 2);
  // All requested threads are started and never end, which is not useful in a test.
  if (o.threads > 4) o.threads = 4;
  o.maxBatchRows = c.oneIn(4) ? c.hostileInt() : 512;
  o.device = c.pick({"auto", "auto", "cpu", "reference"});
  if (c.oneIn(50)) o.device = "nonsense";
  if (c.oneIn(20)) o.dtype = c.pick({Dtype::float16, Dtype::bfloat16, Dtype::int8, Dtype::uint8});
  return o;
}

}  // namespace

End weightsCase(Choices& c) {
  TinyModel m = tinyModel(c);
  const std::string path = folder() + "/weights";
  m.config.files[0] = path;
  bool valid = true;
  for (int i = c.within(0, 3); i > 0; i--) {
    valid = false;
    switch (c.below(8)) {
      case 0:
      case 1:
      case 2:
        mutateTensor(c, m.config);
        break;
      case 3:
      case 4:
        mutateConfig(c, m.config);
        break;
      case 5:
      case 6:
        mutateFile(c, m);
        break;
      default:
        if (c.oneIn(4)) mutatePath(c, m.config);
    }
    if (m.config.fileBytes.empty() || m.config.files.empty()) break;
  }
  write(path, m.bytes);
  LoadOptions options;
  if (!c.oneIn(3)) {
    options = hostileOptions(c);
    valid = false;
  }
  const std::atomic<bool> cancel{c.oneIn(100)};
  valid = valid && !cancel;
  std::unique_ptr<Model> model;
  std::string why = "cancelled";
  const End end = guarded([&] {
    try {
      model = Model::load(m.config, options, cancel);
    } catch (const Error& e) {
      why = e.message;
      throw;
    }
  });
  if (valid && end == End::refused) fault("a valid model was refused: " + why);
  if (!model) return end;
  exercise(*model, c);
  model.reset();
  if (c.oneIn(4)) packedCase(m.config, options, c);
  return end;
}

}  // namespace clip::fuzz
