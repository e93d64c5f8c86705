// How many threads this process should use: limited by the cores of the machine, by the affinity mask and by
// the CPU quota of the container.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "threads/context.h"
#include "threads/threads.h"
#ifdef __linux__
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#endif

namespace clip {
namespace {

#ifdef __linux__
// Returns an empty string if the file can't be read. It does not use std::ifstream, which would link the
// whole locale library into the addon.
std::string textOf(const std::string& file) {
  std::string text;
  if (std::FILE* in = std::fopen(file.c_str(), "re")) {
    char piece[4096];
    for (size_t n; (n = std::fread(piece, 1, sizeof(piece), in)) > 0;) text.append(piece, n);
    std::fclose(in);
  }
  return text;
}

bool readNumber(const std::string& file, long& value) {
  const std::string text = textOf(file);
  char* end = nullptr;
  const long number = std::strtol(text.c_str(), &end, 10);
  if (end == text.c_str()) return false;
  value = number;
  return true;
}

// The number of cores among the processors of our affinity mask; two hyper-threads of one core count once.
int coresAllowed() {
  cpu_set_t* set = nullptr;
  size_t bytes = 0;
  int processors = 1024;
  for (; processors <= 1 << 16; processors *= 2) {
    set = CPU_ALLOC(processors);
    bytes = CPU_ALLOC_SIZE(processors);
    if (!set) return 0;
    if (sched_getaffinity(0, bytes, set) == 0) break;
    CPU_FREE(set);
    set = nullptr;
  }
  if (!set) return 0;
  std::set<std::pair<long, long>> cores;
  for (int i = 0; i < processors; i++) {
    if (!CPU_ISSET_S(i, bytes, set)) continue;
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(i) + "/topology/";
    long package = -1, core = i;
    if (!readNumber(topology + "physical_package_id", package) || !readNumber(topology + "core_id", core) ||
        core < 0)
      package = -1, core = i;
    cores.insert({package, core});
  }
  CPU_FREE(set);
  return int(cores.size());
}

// The smallest quota of this cgroup and its ancestors, in processors, rounded up; 0 if there is none.
int cgroupQuota() {
  long best = 0;
  const auto note = [&](long quota, long period) {
    if (quota <= 0 || period <= 0) return;
    const long processors = quota / period + (quota % period != 0);
    best = best ? std::min(best, processors) : processors;
  };
  const auto readV2 = [&](const std::string& folder) {
    const std::string text = textOf(folder + "/cpu.max");  // "quota period" or "max period"
    char* end = nullptr;
    const long quota = std::strtol(text.c_str(), &end, 10);
    if (end != text.c_str()) note(quota, std::strtol(end, nullptr, 10));
  };
  const auto readV1 = [&](const std::string& folder) {
    long quota, period;
    if (readNumber(folder + "/cpu.cfs_quota_us", quota) && readNumber(folder + "/cpu.cfs_period_us", period))
      note(quota, period);
  };
  const std::string groups = textOf("/proc/self/cgroup");
  for (size_t at = 0, end; at < groups.size(); at = end + 1) {  // "0::/path" (v2), "4:cpu,cpuacct:/path" (v1)
    end = std::min(groups.find('\n', at), groups.size());
    const std::string line = groups.substr(at, end - at);
    const size_t a = line.find(':'), b = a == std::string::npos ? a : line.find(':', a + 1);
    if (b == std::string::npos) continue;
    std::string controllers = ",";
    controllers.append(line, a + 1, b - a - 1).append(",");
    const bool v2 = controllers == ",,";
    if (!v2 && controllers.find(",cpu,") == std::string::npos) continue;
    for (std::string path = line.substr(b + 1);;) {
      if (path == "/") path.clear();
      // In a container the path may be the one on the host. Then only the last iteration, the root of the
      // mount, finds its files.
      if (v2) {
        readV2("/sys/fs/cgroup" + path);
        readV2("/sys/fs/cgroup/unified" + path);
      } else {
        readV1("/sys/fs/cgroup/cpu" + path);
        readV1("/sys/fs/cgroup/cpu,cpuacct" + path);
      }
      if (path.empty()) break;
      path.erase(std::min(path.size(), path.rfind('/')));
    }
  }
  return int(best);
}
#endif

int count() {
  int cores = 0, quota = 0;
#ifdef __linux__
  cores = coresAllowed();
  quota = cgroupQuota();
#elif defined(__APPLE__)
  size_t size = sizeof cores;
  if (sysctlbyname("hw.physicalcpu", &cores, &size, nullptr, 0) != 0) cores = 0;
#elif defined(_WIN32)
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);
  std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> info(bytes /
                                                         sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
  DWORD_PTR ours = ~DWORD_PTR(0), all = 0;
  GetProcessAffinityMask(GetCurrentProcess(), &ours, &all);
  if (!info.empty() && GetLogicalProcessorInformation(info.data(), &bytes))
    for (const auto& i : info) cores += i.Relationship == RelationProcessorCore && (i.ProcessorMask & ours);
#endif
  if (cores < 1) cores = int(std::thread::hardware_concurrency());
  if (quota > 0) cores = std::min(cores, quota);
  return std::clamp(cores, 1, kMaxThreads);
}

}  // namespace

int defaultThreads() {
  static const int threads = count();
  return threads;
}

}  // namespace clip
