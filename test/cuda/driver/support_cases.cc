#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "rows.h"
#include "support.h"

namespace support {
namespace {

std::string path(const char* name) {
  const char* folder = std::getenv("TMPDIR");
  return std::string(folder ? folder : "/tmp") + "/clip-standin-" + std::to_string(getpid()) + "-" + name;
}

std::string read(const char* variable) {
  std::ifstream file(std::getenv(variable));
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

bool opened = false;

std::vector<char> bytesOf(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  if (bytes.empty()) throw std::runtime_error("CUDA_TESTS_IMAGES has no " + file);
  return bytes;
}

}  // namespace

Images committedImages() {
  const char* folder = std::getenv("CUDA_TESTS_IMAGES");
  if (!folder) throw std::runtime_error("CUDA_TESTS_IMAGES is not set");
  Images all{.machineCode = bytesOf(std::string(folder) + "/kernels.fatbin"),
             .ptx = bytesOf(std::string(folder) + "/kernels.ptx"),
             .name = "committed"};
  all.ptx.push_back('\0');
  return all;
}

Environment::Environment(const std::string& assignments) {
  std::istringstream all(assignments + " CLIP_STANDIN_REPORT=" + path("report") +
                         " CLIP_STANDIN_LOG=" + path("log"));
  for (std::string assignment; all >> assignment;) {
    const size_t equals = assignment.find('=');
    names_.push_back(assignment.substr(0, equals));
    setenv(names_.back().c_str(), assignment.c_str() + equals + 1, 1);
  }
  if (!haveImages()) giveImages(committedImages());
  if (opened) driver().cuInit.result(0);
  opened = true;
}
Environment::~Environment() {
  unlink(path("report").c_str());
  unlink(path("log").c_str());
  unsetenv("CLIP_STANDIN_FAIL");
  for (const std::string& name : names_) unsetenv(name.c_str());
}
void Environment::fail(const std::string& faults) const { setenv("CLIP_STANDIN_FAIL", faults.c_str(), 1); }
std::string Environment::report() const { return read("CLIP_STANDIN_REPORT"); }
int Environment::calls(const std::string& name) const {
  std::istringstream log(read("CLIP_STANDIN_LOG"));
  int count = 0;
  for (std::string line; std::getline(log, line);) count += line == name;
  return count;
}

std::string Environment::silent() const {
  const std::string all = report();
  return all.empty() ? "" : "reported: " + all;
}
std::string Environment::reported(const std::string& words) const {
  const std::string all = report();
  return all.find(words) != std::string::npos ? "" : "not reported: " + words + "; but: " + all;
}

void check(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}
void checkCode(CUresult got, CUresult want, const std::string& what) {
  check(got == want, what + ": code " + std::to_string(got) + " instead of " + std::to_string(want));
}

clip::Error errorOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const clip::Error& e) {
    return e;
  }
  throw std::runtime_error("nothing was thrown");
}

Child inChild(const std::function<std::string()>& body) {
  int ends[2];
  if (pipe(ends)) throw std::runtime_error("pipe");
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);  // including what is printed at a crash
    std::string said;
    try {
      said = body();
    } catch (const clip::Error& e) {
      said = e.code + " " + e.message;
    } catch (const std::exception& e) {
      said = e.what();
    }
    const bool written = write(ends[1], said.data(), said.size()) >= 0;
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  Child result;
  char buffer[512];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    result.said.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  result.end = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                   : "exit " + std::to_string(WEXITSTATUS(status));
  return result;
}

Rows::Rows(int device) : module(Module::of(device)) {
  const Driver& cu = driver();
  cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
  cu.cuMemAlloc(&from, kBytes);
  cu.cuMemAlloc(&to, kBytes);
  void* pinned = nullptr;
  cu.cuMemHostAlloc(&pinned, kBytes, CU_MEMHOSTALLOC_PORTABLE);
  in = static_cast<float*>(pinned);
  cu.cuMemHostAlloc(&pinned, kBytes, CU_MEMHOSTALLOC_PORTABLE);
  out = static_cast<float*>(pinned);
}
Rows::~Rows() {
  const Driver& cu = driver();
  cu.cuCtxSetCurrent.result(module->context());
  if (stream) cu.cuStreamDestroy.result(stream);
  if (from) cu.cuMemFree.result(from);
  if (to) cu.cuMemFree.result(to);
  if (in) cu.cuMemFreeHost.result(in);
  if (out) cu.cuMemFreeHost.result(out);
}
void Rows::fill(float first) {
  for (int i = 0; i < kRows * kCols; i++) in[i] = first + static_cast<float>(i);
}
void Rows::cast(CUstream s, int rows) const {
  const auto matrix = [](CUdeviceptr at) {
    return clip::MatrixView{
        .data = reinterpret_cast<void*>(at), .stride = kCols * 4, .dtype = clip::Dtype::float32};
  };
  const clip::Cast c{.x = matrix(from), .y = matrix(to), .rows = rows, .cols = kCols};
  module->launch(launchOf(c), s, {&c});
}
bool Rows::isCopied(float first) const {
  for (int i = 0; i < kRows * kCols; i++)
    if (!(out[i] == first + static_cast<float>(i))) return false;
  return true;
}

}  // namespace support
