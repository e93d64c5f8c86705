// Seeded mutations of everything that native code parses or maps, for a build with AddressSanitizer and
// UndefinedBehaviourSanitizer:
//
//   weights_mutations [cases = 100000] [first seed = 0] [seconds = no limit]
//
// Six of nine cases are weight tables and files, one is images, one is tokens, one is vocabularies. Case i uses seed i: a fault
// prints it, and `weights_mutations 1 SEED` repeats it.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "cases.h"

using namespace clip::fuzz;

namespace {

volatile uint64_t running = 0;

struct Kind {
  const char* name;
  End (*run)(Choices&);
  uint64_t cases = 0, refused = 0;
};

}  // namespace

// The sanitizers call it before they end the process.
extern "C" void __sanitizer_set_death_callback(void (*)());

int main(int argc, char** argv) {
  const uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100000;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const double seconds = argc > 3 ? std::atof(argv[3]) : 1e9;
  const auto say = [] { std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(running)); };
  __sanitizer_set_death_callback(say);

  Kind kinds[] = {{"weights", weightsCase},
                  {"images", imageCase},
                  {"tokens", tokensCase},
                  {"vocabularies", vocabularyCase}};
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  double slowest = 0;
  uint64_t slowestSeed = 0, done = 0;
  for (; done < count && elapsed() < seconds; done++) {
    running = seed + done;
    Kind& k = kinds[running % 9 < 6 ? 0 : running % 9 - 5];
    SeededChoices choices(running);
    const double before = elapsed();
    k.cases++;
    if (k.run(choices) == End::refused) k.refused++;
    if (elapsed() - before > slowest) slowest = elapsed() - before, slowestSeed = running;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  for (const Kind& k : kinds)
    std::printf("%s: %llu cases, %llu refused, %llu ran\n", k.name, static_cast<unsigned long long>(k.cases),
                static_cast<unsigned long long>(k.refused),
                static_cast<unsigned long long>(k.cases - k.refused));
  std::printf("%llu cases in %.0f s, the slowest %.2f s (seed %llu), peak RSS %ld MB\n",
              static_cast<unsigned long long>(done), elapsed(), slowest,
              static_cast<unsigned long long>(slowestSeed), usage.ru_maxrss / 1024);
  return 0;
}
