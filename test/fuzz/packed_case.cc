#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include "case_support.h"

namespace clip::fuzz {
namespace {

constexpr uint64_t kHeader = 4096;

// Replaces the number of `bytes` bytes at `at` in the file by a different one.
void overwrite(int fd, uint64_t at, int bytes, uint64_t value) {
  uint64_t old = 0;
  if (pread(fd, &old, bytes, static_cast<off_t>(at)) != bytes) fault("can't read the packed file");
  if (std::memcmp(&old, &value, bytes) == 0) value ^= 1;
  if (pwrite(fd, &value, bytes, static_cast<off_t>(at)) != bytes) fault("can't damage the packed file");
}

// Damages the file; returns false if it is unchanged.
bool damage(Choices& c, const std::string& path) {
  const uint64_t size = std::filesystem::file_size(path);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) fault("there is no packed file");
  bool damaged = true;
  switch (c.below(9)) {
    case 0:  // a number of the header: byte order, length, checksum of the weights, its own checksum
      overwrite(fd, c.pick({16, 24, 32, static_cast<int>(kHeader) - 8}), 8,
                static_cast<uint64_t>(c.hostile()));
      break;
    case 1:  // magic, numbers, the beginning of the names
      overwrite(fd, c.below(200), 1, c.below(256));
      break;
    case 2:
      overwrite(fd, c.below(kHeader), 1, c.below(256));
      break;
    case 3:
      overwrite(fd, kHeader + c.below(size - kHeader), 1, c.below(256));
      break;
    case 4:
      if (ftruncate(fd, static_cast<off_t>(c.oneIn(2) ? c.below(size) : c.below(kHeader + 1))) != 0)
        fault("can't cut the packed file");
      break;
    case 5:
      if (ftruncate(fd, static_cast<off_t>(size + 1 + c.below(10000))) != 0) fault("can't lengthen it");
      break;
    case 6:  // writable by other users
      if (fchmod(fd, c.pick({0620, 0602, 0666})) != 0) fault("can't change its mode");
      break;
    case 7: {  // something else
      std::filesystem::remove(path);
      const uint64_t kind = c.below(4);
      if (kind == 0) std::filesystem::create_directory(path);
      if (kind == 1 && mkfifo(path.c_str(), 0600) != 0) fault("can't make a FIFO");
      if (kind == 2) std::filesystem::create_symlink(c.oneIn(2) ? "/dev/zero" : path, path);
      break;
    }
    default:
      damaged = false;
  }
  close(fd);
  return damaged;
}

// The output of a tower without embeddings is the pooled row.
Output outputOf(Projection p) { return p == Projection::none ? Output::pooled : Output::embedding; }

// The embeddings of an image and of a text.
std::vector<float> answers(Model& m) {
  std::vector<float> all;
  if (m.config().hasImageTower() && m.config().preprocess.size <= 64) {
    const int size = m.config().preprocess.size;
    const std::vector<float> planes(size_t{3} * size * size, 0.25f);
    Image image;
    image.width = image.height = size;
    image.planes = planes.data();
    const Image* const images[] = {&image};
    const Output output = outputOf(m.config().imageProjection());
    all.resize(m.imageFloats(output));
    m.encodeImages(images, 1, output, false, all.data(), [] { return false; });
  }
  if (m.config().text) {
    const int32_t id = 0, length = 1;
    const Output output = outputOf(m.config().text->project);
    std::vector<float> text(m.textFloats(output, &length, 1));
    m.encodeTexts(&id, &length, 1, output, false, text.data(), [] { return false; });
    all.insert(all.end(), text.begin(), text.end());
  }
  return all;
}

}  // namespace

void packedCase(const ModelConfig& config, LoadOptions options, Choices& c) {
  options.packFolder = folder();
  options.packName = "packs";
  options.packKey = "a checkpoint";
  const std::atomic<bool> cancel{false};
  std::string path;
  std::vector<float> expected;
  {
    const std::unique_ptr<Model> first = Model::load(config, options, cancel);
    path = first->packCacheFile();
    if (first->packCacheUse() != PackCacheUse::written) fault("packed weights were not written");
    expected = answers(*first);
  }
  bool damaged = damage(c, path);
  if (c.oneIn(8))
    options.packKey = c.oneIn(2) ? "another checkpoint" : std::string(5000, 'k'), damaged = true;
  {
    const std::unique_ptr<Model> second = Model::load(config, options, cancel);
    if (damaged && second->packCacheUse() == PackCacheUse::mapped) fault("a damaged packed file was taken");
    if (!damaged && second->packCacheUse() != PackCacheUse::mapped) fault("a packed file was not taken");
    const std::vector<float> actual = answers(*second);
    if (actual.size() != expected.size() ||
        (!actual.empty() && std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(float)) != 0))
      fault("other embeddings with packed weights from a file");
    exercise(*second, c);
  }
  std::filesystem::remove_all(path);
}

}  // namespace clip::fuzz
