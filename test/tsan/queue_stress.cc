// Many threads use one thread pool and queues that are cancelled, disposed and closed meanwhile, under
// ThreadSanitizer. The program itself checks that every job is settled exactly once: with the bits that the
// model gives to a single caller, with Cancelled, or with ERR_CLIP_DISPOSED.
//
//   queue_stress [rounds] [seed]
//   queue_stress race              shares a plain number between two pool threads, which the sanitizer must
//                                  report
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "choices.h"
#include "error.h"
#include "model/text_transformer.h"
#include "threads/threads.h"
#include "queue.h"
#include "tiny_model.h"

namespace {

using clip::Queue;
using clip::fuzz::SeededChoices;

[[noreturn]] void fault(const std::string& what) {
  std::fprintf(stderr, "FAULT: %s\n", what.c_str());
  std::abort();
}

constexpr int kTexts = 8, kImages = 4, kUsers = 4, kJobs = 40;

// A small CLIP with both towers, its inputs, and the result of each input alone.
struct Subject {
  clip::ModelConfig config;
  std::vector<std::vector<int32_t>> texts;
  std::vector<std::vector<float>> planes, textRows, imageRows;

  std::unique_ptr<clip::Model> load() const {
    clip::LoadOptions options;
    options.device = "cpu";
    options.threads = 3;
    options.maxBatchRows = 64;
    const std::atomic<bool> cancel{false};
    return clip::Model::load(config, options, cancel);
  }
  clip::Image imageAt(int i) const {
    clip::Image image;
    image.width = image.height = config.preprocess.size;
    image.planes = planes[i].data();
    return image;
  }
};

Subject subjectOf(uint64_t seed, const std::string& path) {
  for (;; seed++) {
    SeededChoices choices(seed);
    clip::fuzz::TinyModel tiny = clip::fuzz::tinyModel(choices);
    clip::ModelConfig& c = tiny.config;
    if (!c.hasImageTower() || !c.text || c.preprocess.size > 40 || c.text->contextLength < 4) continue;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(tiny.bytes.data()),
               static_cast<std::streamsize>(tiny.bytes.size()));
    c.files[0] = path;
    Subject s;
    s.config = c;
    for (int i = 0; i < kTexts; i++) {
      std::vector<int32_t>& ids = s.texts.emplace_back();
      const int length = choices.within(1, std::min(c.text->contextLength, 12));
      for (int k = 0; k < length; k++)
        ids.push_back(static_cast<int32_t>(choices.below(std::min(c.text->vocabSize, 3))));
      std::vector<int32_t> lengths{length};
      clip::toTextRows(*c.text, ids, lengths);
    }
    for (int i = 0; i < kImages; i++) {
      std::vector<float>& planes = s.planes.emplace_back(size_t{3} * c.preprocess.size * c.preprocess.size);
      for (float& x : planes) x = static_cast<float>(choices.within(-100, 100)) / 50;
    }
    const auto never = [] { return false; };
    const std::unique_ptr<clip::Model> model = s.load();
    for (const auto& ids : s.texts) {
      const auto length = static_cast<int32_t>(ids.size());
      std::vector<float>& row =
          s.textRows.emplace_back(model->textFloats(clip::Output::embedding, &length, 1));
      model->encodeTexts(ids.data(), &length, 1, clip::Output::embedding, true, row.data(), never);
    }
    for (int i = 0; i < kImages; i++) {
      const clip::Image image = s.imageAt(i);
      const clip::Image* const images[] = {&image};
      std::vector<float>& row = s.imageRows.emplace_back(model->imageFloats(clip::Output::embedding));
      model->encodeImages(images, 1, clip::Output::embedding, true, row.data(), never);
    }
    return s;
  }
}

struct Tally {
  std::atomic<int> pushed{0}, results{0}, cancelled{0}, disposed{0};
  int settled() const { return results + cancelled + disposed; }
};

// The calls of one thread: jobs of a few rows, some cancelled at once, some by another thread a little later.
void use(const Subject& subject, Queue& queue, uint64_t seed, Tally& tally) {
  SeededChoices choices(seed);
  std::vector<Queue::JobPtr> jobs;
  for (int n = 0; n < kJobs; n++) {
    const auto job = std::make_shared<Queue::Job>();
    const auto expected = std::make_shared<std::vector<float>>();
    const bool isText = choices.oneIn(2);
    for (int rows = choices.within(1, 4); rows > 0; rows--) {
      const int i = choices.within(0, (isText ? kTexts : kImages) - 1);
      const std::vector<float>& row = isText ? subject.textRows[i] : subject.imageRows[i];
      expected->insert(expected->end(), row.begin(), row.end());
      if (isText) {
        job->ids.insert(job->ids.end(), subject.texts[i].begin(), subject.texts[i].end());
        job->lengths.push_back(static_cast<int32_t>(subject.texts[i].size()));
      } else {
        job->images.push_back(subject.imageAt(i));
      }
    }
    job->kind = isText ? Queue::Kind::text : Queue::Kind::image;
    const auto answered = std::make_shared<std::atomic<bool>>(false);
    // A raw pointer, because the job must not own itself.
    job->done = [&tally, expected, answered, j = job.get()](std::exception_ptr failure) {
      if (answered->exchange(true)) fault("a job was answered twice");
      if (!failure) {
        if (j->floats != expected->size() ||
            std::memcmp(j->out.get(), expected->data(), expected->size() * sizeof(float)) != 0)
          fault("a job got other bits than alone");
        ++tally.results;
        return;
      }
      try {
        std::rethrow_exception(failure);
      } catch (const clip::Cancelled&) {
        ++tally.cancelled;
      } catch (const clip::Error& e) {
        if (e.code != "ERR_CLIP_DISPOSED") fault(e.code + ": " + e.message);
        ++tally.disposed;
      }
    };
    ++tally.pushed;
    queue.push(job);
    jobs.push_back(job);
    if (choices.oneIn(4)) queue.cancel(jobs[choices.below(jobs.size())]);
    if (choices.oneIn(8)) queue.counters();
    if (choices.oneIn(8)) std::this_thread::yield();
  }
}

// Kernel calls of other users of the same pool at the same time.
void share(int turns) {
  for (int turn = 0; turn < turns; turn++) {
    std::atomic<int> sum{0};
    std::vector<int> plain(97);
    struct Op {
      std::atomic<int>* sum;
      int* plain;
    } op{&sum, plain.data()};
    clip::parallelFor(
        3, 97,
        [](const void* argument, int chunk, int) {
          const Op& o = *static_cast<const Op*>(argument);
          o.plain[chunk] = chunk;  // each writes its own element; the caller reads all of them afterwards
          *o.sum += chunk;
        },
        &op);
    int total = 0;
    for (const int x : plain) total += x;
    if (sum != 97 * 48 || total != sum) fault("parallelFor lost a chunk");
  }
}

void wait(const std::function<bool()>& holds, const char* what) {
  for (int i = 0; !holds(); i++) {
    if (i > 120'000) fault(what);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// end: 0: all jobs run to their end, 1: disposed while they run, 2: closed while they run.
void round(const Subject& subject, uint64_t seed, int end, Tally& total) {
  Tally tally;
  std::atomic<bool> freed{false};
  const auto queue = std::make_shared<Queue>(subject.load());
  std::vector<std::thread> users;
  users.reserve(kUsers + 1);
  for (int u = 0; u < kUsers; u++)
    users.emplace_back([&, u] { use(subject, *queue, seed * 100 + static_cast<uint64_t>(u), tally); });
  users.emplace_back([] { share(20); });
  if (end > 0) {
    wait([&] { return tally.settled() > 5; }, "no job was answered");
    if (end == 1) {
      queue->dispose([&freed] { freed = true; });
    } else {
      queue->close();
    }
  }
  for (std::thread& user : users) user.join();
  if (end == 0) {
    wait([&] { return tally.settled() == tally.pushed; }, "a job was not answered");
    queue->dispose([&freed] { freed = true; });
  }
  if (end == 2) {  // waiting jobs were dropped without being settled
    if (tally.settled() > tally.pushed) fault("more answers than jobs");
  } else {
    wait([&] { return tally.settled() == tally.pushed; }, "a job was not answered");
    wait([&] { return freed.load(); }, "the memory was not given back");
  }
  queue->close();
  total.pushed += tally.pushed;
  total.results += tally.results;
  total.cancelled += tally.cancelled;
  total.disposed += tally.disposed;
}

int race() {
  int shared = 0;
  clip::parallelFor(
      4, 400,
      [](const void* argument, int, int) {
        ++*static_cast<int*>(const_cast<void*>(argument));
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      },
      &shared);
  std::printf("%d\n", shared);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "race") == 0) return race();
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 60;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const std::string path =
      (std::filesystem::temp_directory_path() / ("queue_stress-" + std::to_string(getpid()))).string();
  Tally total;
  for (int r = 0; r < rounds; r++) {
    const Subject subject = subjectOf(seed * 1000 + static_cast<uint64_t>(r) * 10, path);
    round(subject, seed * 1000 + static_cast<uint64_t>(r), r % 3, total);
  }
  std::filesystem::remove(path);
  if (total.results == 0 || total.cancelled == 0 || total.disposed == 0) fault("a case never happened");
  std::printf("%d rounds: %d jobs, %d results, %d cancelled, %d disposed, %d dropped by close\n", rounds,
              total.pushed.load(), total.results.load(), total.cancelled.load(), total.disposed.load(),
              total.pushed - total.settled());
}
