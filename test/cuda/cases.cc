#include "cases.h"

#include <cstdarg>
#include <cstdio>
#include <exception>
#include <map>
#include <vector>

#include "error.h"

namespace cases {
namespace {

struct Case {
  std::string name;
  Body body;
  bool isLong;
};
std::map<std::string, std::vector<Case>>& groups() {
  static std::map<std::string, std::vector<Case>> all;
  return all;
}

std::vector<void (*)()>& registrations() {
  static std::vector<void (*)()> all;
  return all;
}

std::string run(const Case& c) {
  try {
    return c.body();
  } catch (const std::exception& error) {
    return error.what();
  } catch (const clip::Error& error) {
    return error.code + ": " + error.message;
  }
}

}  // namespace

void add(const std::string& group, const std::string& name, Body body, bool isLong) {
  groups()[group].push_back({name, std::move(body), isLong});
}

Registration::Registration(void (*addAll)()) { registrations().push_back(addAll); }

std::string format(const char* text, ...) {
  char buffer[500];
  va_list list;
  va_start(list, text);
  std::vsnprintf(buffer, sizeof buffer, text, list);
  va_end(list);
  return buffer;
}

}  // namespace cases

// cuda_tests                    lists the groups
// cuda_tests GROUP [--all]      runs one; --all: including the long cases
int main(int count, char** arguments) {
  using namespace cases;
  for (const auto addAll : registrations()) addAll();
  if (count < 2) {
    for (const auto& group : groups()) std::printf("%s\n", group.first.c_str());
    return 0;
  }
  const auto found = groups().find(arguments[1]);
  if (found == groups().end()) {
    std::printf("Bail out! There is no group %s\n", arguments[1]);
    return 2;
  }
  const bool all = count > 2 && std::string(arguments[2]) == "--all";
  int number = 0, failed = 0;
  for (const Case& c : found->second) {
    if (c.isLong && !all) continue;
    const std::string wrong = run(c);
    failed += !wrong.empty();
    std::printf("%sok %d - %s%s%s\n", wrong.empty() ? "" : "not ", ++number, c.name.c_str(),
                wrong.empty() ? "" : ": ", wrong.c_str());
    std::fflush(stdout);
  }
  std::printf("1..%d\n", number);
  return failed != 0;
}
