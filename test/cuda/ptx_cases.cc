// The PTX interpreter's own tests: faults that it must report, single instructions, and mutants of the
// kernels' inline assembly, which the fiber emulator cannot check.
#include <array>
#include <functional>
#include <regex>
#include <stdexcept>

#include "cases.h"
#include "device.h"
#include "emulator/banks.h"
#include "kernel_runs.h"
#include "ptx_machine.h"

namespace {

std::string kernel(const std::string& body) {
  return ".version 9.0\n.target sm_80\n.address_size 64\n.extern .shared .align 1024 .b8 memory[];\n"
         ".visible .entry test(\n.param .u64 test_param_0,\n.param .u64 test_param_1\n)\n{\n.reg .b32 "
         "%r<9>;\n"
         "ld.param.u64 %rd1, [test_param_0];\nld.param.u64 %rd2, [test_param_1];\nmov.u32 %r1, %tid.x;\n"
         "mul.wide.u32 %rd3, %r1, 4;\nadd.s64 %rd4, %rd1, %rd3;\nadd.s64 %rd5, %rd2, %rd3;\nmov.u32 %r9, "
         "memory;\n" +
         body + "\nret;\n}\n";
}

// Runs `body` with 64 threads, each of which has its own of the 64 words at out (%rd4) and in (%rd5); returns
// "" or the fault.
std::string run(const std::string& body, uint32_t* result = nullptr, uint32_t in = 0) {
  const device::Memory out(256), input = device::copyOf(std::vector<uint32_t>(64, in));
  const void *a = out.as<void>(), *b = input.as<void>();
  try {
    const auto module = emulator::ptx::parse(kernel(body));
    const void* arguments[] = {&a, &b};
    emulator::ptx::run(module.at("test"), {1, 1, 1, 64, 1024}, arguments);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  if (result) *result = out.as<uint32_t>()[3];
  return "";
}

void addFaults() {
  const auto fault = [](const char* name, const char* want, const char* body) {
    cases::add("ptx", cases::format("%s: %s", name, want), [=] {
      const std::string got = run(body);
      return got.find(want) != std::string::npos ? "" : "reports: " + got;
    });
  };
  fault("an instruction of another machine", "does not know", "wgmma.fence.sync.aligned;");
  fault("local memory", "does not know", "ld.local.u32 %r2, [%rd1];");
  fault("a partial barrier", "does not know", "bar.sync 1, 64;");
  fault("beyond the output", "global memory out of bounds", "st.global.u32 [%rd4+256], %r1;");
  fault("a null pointer", "global memory out of bounds", "mov.u64 %rd6, 0;\nld.global.u32 %r2, [%rd6];");
  fault("misaligned", "misaligned", "st.global.u32 [%rd4+2], %r1;");
  fault("beyond shared memory", "shared memory out of bounds", "st.shared.u32 [%r9+1024], %r1;");
  fault("uninitialised", "before it was written", "ld.shared.u32 %r2, [%r9];");
  fault("beyond the parameters", "parameter out of bounds", "ld.param.u32 %r2, [test_param_1+8];");
  fault("barrier of some lanes", "barrier in a diverged warp",
        "setp.lt.u32 %p1, %r1, 40;\n@%p1 bra $L1;\nbar.sync 0;\n$L1:\nst.global.u32 [%rd4], %r1;");
  fault("barrier of one warp", "not all warps reach",
        "setp.lt.u32 %p1, %r1, 32;\n@%p1 bra $L1;\nbar.sync 0;\n$L1:\nst.global.u32 [%rd4], %r1;");
  fault("shuffle of some lanes", "diverged warp",
        "setp.lt.u32 %p1, %r1, 3;\n@%p1 bra $L1;\nshfl.sync.bfly.b32 %r2|%p2, %r1, 1, 31, "
        "-1;\n$L1:\nst.global.u32 [%rd4], %r1;");
  fault("copy under way at the end", "under way",
        "shl.b32 %r2, %r1, 4;\nand.b32 %r2, %r2, 1008;\nmov.u32 %r3, 16;\ncp.async.cg.shared.global [%r2], "
        "[%rd2], 16, %r3;\ncp.async.commit_group;");
  fault("copy read early", "a copy is under way",
        "shl.b32 %r2, %r1, 4;\nand.b32 %r2, %r2, 1008;\nmov.u32 %r3, 16;\ncp.async.cg.shared.global [%r2], "
        "[%rd2], 16, %r3;\n"
        "cp.async.commit_group;\ncp.async.wait_group 1;\nld.shared.u32 %r4, [%r2];");
}

void addInstructions() {
  const auto gives = [](const char* text, uint32_t in, uint32_t want) {
    const std::string name = std::regex_replace(text, std::regex("\n"), " ");
    cases::add("ptx", cases::format("%s of %08x", name.c_str(), in), [=] {
      uint32_t got = 0;
      const std::string wrong =
          run(std::string("ld.global.u32 %r2, [%rd5];\n") + text + "\nst.global.u32 [%rd4], %r3;", &got, in);
      return !wrong.empty() || got == want ? wrong : cases::format("%08x instead of %08x", got, want);
    });
  };
  gives("shr.s32 %r3, %r2, 4;", 0x80000010u, 0xf8000001u);
  gives("shr.u32 %r3, %r2, 40;", 0x80000010u, 0);
  gives("shl.b32 %r3, %r2, 31;", 3, 0x80000000u);
  gives("mul.hi.s32 %r3, %r2, -3;", 0x7fffffffu, 0xfffffffeu);
  gives("mul.lo.s32 %r3, %r2, %r2;", 0x10001u, 0x20001u);
  gives("mad.lo.s32 %r3, %r2, -2, 5;", 7, static_cast<uint32_t>(-9));
  gives("bfi.b32 %r3, %r2, 0, 8, 4;", 0xffu, 0xf00u);
  gives("max.s32 %r3, %r2, 1;", 0xffffffffu, 1);
  gives("max.u32 %r3, %r2, 1;", 0xffffffffu, 0xffffffffu);
  gives("not.b32 %r3, %r2;", 5, 0xfffffffau);
  // A register of 64 bits is filled with the sign of a signed 32-bit number.
  gives("ld.global.s32 %rd6, [%rd5];\nshr.s64 %rd6, %rd6, 36;\ncvt.u32.u64 %r3, %rd6;", 0x80000000u,
        0xffffffffu);
  gives("ld.global.u32 %rd6, [%rd5];\nshr.s64 %rd6, %rd6, 28;\ncvt.u32.u64 %r3, %rd6;", 0x80000000u, 8);
  gives("popc.b32 %r3, %r2;", 0xf0f0u, 8);
  gives("cvt.rn.f32.s32 %r3, %r2;", 0xffffffffu, 0xbf800000u);
  gives("cvt.rzi.s32.f32 %r3, %r2;", 0xc0200000u, static_cast<uint32_t>(-2));
  gives("cvt.rn.bf16x2.f32 %r3, 0f3F808000, %r2;", 0x3f818000u, 0x3f803f82u);
  gives("cvt.rn.f16x2.f32 %r3, 0f3F801000, %r2;", 0x7fc00000u, 0x3c007fffu);
  gives("ex2.approx.ftz.f32 %r3, %r2;", 0xff800000u, 0);
  gives("rcp.approx.ftz.f32 %r3, %r2;", 0x7f800000u, 0);
  gives("max.f32 %r3, %r2, 0f3F800000;", 0x7fc00000u, 0x3f800000u);
  gives("copysign.f32 %r3, %r2, 0f3F800000;", 0x80000000u, 0xbf800000u);
  gives("setp.lt.f32 %p1, %r2, 0f00000000;\nselp.u32 %r3, 1, 2, %p1;", 0x7fc00000u, 2);
  gives("setp.geu.f32 %p1, %r2, 0f00000000;\nselp.u32 %r3, 1, 2, %p1;", 0x7fc00000u, 1);
  gives("mov.u32 %r3, 1;\nsetp.eq.s32 %p1, %r2, 4;\n@!%p1 mov.u32 %r3, 9;", 4, 1);
  gives(
      "mov.u32 %r3, 0;\n$L1:\nadd.s32 %r3, %r3, 2;\nsetp.lt.u32 %p1, %r3, %r1;\n@%p1 bra $L1;\nbar.warp.sync "
      "-1;",
      4, 4);
  gives("setp.lt.u32 %p1, %r1, 40;\nbar.red.or.pred %p2, 0, %p1;\nselp.u32 %r3, 1, 0, %p2;", 0, 1);
}

// The counted cost of an access: the wavefronts of both warps of a block, and the minimum.
void addBanks() {
  const auto costs = [](const char* name, const char* body, emulator::SharedAccess kind, uint64_t least,
                        uint64_t taken) {
    cases::add("ptx", cases::format("bank conflicts: %s", name), [=]() -> std::string {
      // Every word is written first, without conflicts.
      std::string all = "shl.b32 %r2, %r1, 4;\nst.shared.v4.u32 [%r2], {%r1, %r1, %r1, %r1};\nbar.sync 0;\n";
      emulator::sharedTraffic.erase("test");
      if (const std::string wrong = run(all + body); !wrong.empty()) return wrong;
      emulator::Wavefronts got = emulator::sharedTraffic.at("test")[kind];
      if (kind == emulator::kStore) {
        got.least -= 8;
        got.taken -= 8;
      }
      emulator::sharedTraffic.erase("test");
      return got.least == least && got.taken == taken
                 ? ""
                 : cases::format("%d of at least %d", int(got.taken), int(got.least));
    });
  };
  using namespace emulator;
  const auto times = [](const char* shift, const char* access) {
    return std::string("and.b32 %r3, %r1, 31;\nshl.b32 %r3, %r3, ") + shift + ";\n" + access;
  };
  static const std::string word = times("2", "ld.shared.u32 %r4, [%r3];"),
                           two = times("3", "ld.shared.u32 %r4, [%r3];"),
                           eight = times("5", "ld.shared.u32 %r4, [%r3];"),
                           pair = times("3", "ld.shared.v2.u32 {%r4, %r5}, [%r3];"),
                           pairs = times("4", "ld.shared.v2.u32 {%r4, %r5}, [%r3];"),
                           four = times("4", "st.shared.v4.u32 [%r3], {%r1, %r1, %r1, %r1};"),
                           halves = times("1", "st.shared.u16 [%r3], %rs1;");
  costs("neighbouring words: none", word.c_str(), kLoad, 2, 2);
  costs("one word for all: none", "ld.shared.u32 %r4, [%r9+4];", kLoad, 2, 2);
  costs("every second word: twice", two.c_str(), kLoad, 2, 4);
  costs("every eighth word: eight times", eight.c_str(), kLoad, 2, 16);
  costs("neighbouring pairs: none", pair.c_str(), kLoad, 4, 4);
  costs("every second pair: twice", pairs.c_str(), kLoad, 4, 8);
  costs("neighbouring four words: none", four.c_str(), kStore, 8, 8);
  costs("two halves of a word: none", halves.c_str(), kStore, 2, 2);
  costs(
      "lanes that are switched off: none",
      "and.b32 %r3, %r1, 31;\nshl.b32 %r3, %r3, 5;\nsetp.lt.u32 %p1, %r1, 1;\n@%p1 ld.shared.u32 %r4, [%r3];",
      kLoad, 1, 1);
  // Consecutive rows of 128 bytes; eight neighbouring chunks of 16.
  costs("ldmatrix of a column: eight times",
        "and.b32 %r3, %r1, 7;\nshl.b32 %r3, %r3, 7;\n"
        "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r4,%r5}, [%r3];",
        kLoadMatrix, 4, 32);
  costs("ldmatrix of a row: none",
        "and.b32 %r3, %r1, 15;\nshl.b32 %r3, %r3, 4;\n"
        "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r4,%r5}, [%r3];",
        kLoadMatrix, 4, 4);
  costs("cp.async into a column: eight times",
        "and.b32 %r3, %r1, 7;\nshl.b32 %r3, %r3, 7;\nmov.u32 %r4, 0;\n"
        "cp.async.cg.shared.global [%r3], [%rd2], 16, %r4;\ncp.async.commit_group;\ncp.async.wait_group 0;",
        kCopyAsync, 8, 64);
}

// Changes every line that begins with `begin`.
std::string changed(const std::string& text, const std::string& begin, const std::string& pattern,
                    const std::string& with) {
  const std::regex expression(pattern);
  std::string result;
  size_t changes = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    if (line.find(begin) != std::string::npos) {
      const std::string after = std::regex_replace(line, expression, with);
      changes += after != line;
      line = after;
    }
    result += line + "\n";
    at = end == std::string::npos ? text.size() : end + 1;
  }
  if (changes == 0) throw std::runtime_error("the mutant changes nothing");
  return result;
}

void addMutants() {
  const std::string four = R"(\{(%\w+), ?(%\w+), ?(%\w+), ?(%\w+)\})", two = R"(\{(%\w+), ?(%\w+)\})";
  const std::string mma = R"((mma\S+)\s*)" + four + ", " + four + ", " + two + ", " + four;
  static const std::vector<std::array<std::string, 4>> mutants = {
      {"mma: two registers of A swapped", "m16n8k16", mma,
       "$1 {$2, $3, $4, $5}, {$6, $8, $7, $9}, {$10, $11}, {$12, $13, $14, $15}"},
      {"mma: the registers of B swapped", "m16n8k16", mma,
       "$1 {$2, $3, $4, $5}, {$6, $7, $8, $9}, {$11, $10}, {$12, $13, $14, $15}"},
      {"mma: two registers of C swapped", "m16n8k16", mma,
       "$1 {$2, $4, $3, $5}, {$6, $7, $8, $9}, {$10, $11}, {$12, $14, $13, $15}"},
      {"mma: C not added", "m16n8k16", mma,
       "$1 {$2, $3, $4, $5}, {$6, $7, $8, $9}, {$10, $11}, {0f00000000, 0f00000000, 0f00000000, 0f00000000}"},
      {"mma: float16 for bfloat16", "mma.sync", R"(f32\.bf16\.bf16\.f32)", "f32.f16.f16.f32"},
      {"mma of 8: the registers of A swapped", "m16n8k8", R"(, \{(%\w+), ?(%\w+)\}, )", ", {$2, $1}, "},
      {"cvt: high and low swapped", "x2.f32", R"((cvt\S+)\s*(%\w+), (\S+), (\S+);)", "$1 $2, $4, $3;"},
      {"ldmatrix: .trans forgotten", "ldmatrix", R"(x4\.trans)", "x4"},
      {"ldmatrix: two registers swapped", "ldmatrix", four, "{$1, $3, $2, $4}"},
      {"cp.async: as many bytes as should be zero", "selp", R"(16, 0, (%\w+);)", "0, 16, $1;"},
      {"cp.async: wait for one group less", "wait_group", R"(wait_group\s*0)", "wait_group 1"},
      {"cp.async: no commit", "commit_group", R"(cp\.async\.commit_group;)", ""},
  };
  for (const auto& m : mutants)
    cases::add("ptx-mutants", m[0], [m]() -> std::string {
      const device::PtxMachine machine(changed(device::ptxText("attention"), m[1], m[2], m[3]) +
                                       device::ptxText("attention_rows"));
      try {
        const std::string wrong = attentionHolds(machine);
        if (wrong.empty()) return "the mutation is not detected";
      } catch (const std::runtime_error&) {
      }
      return "";
    });
  cases::add("ptx-mutants", "without a mutation, all checks pass", []() -> std::string {
    return attentionHolds(
        device::PtxMachine(device::ptxText("attention") + device::ptxText("attention_rows")));
  });
  cases::add("ptx-mutants", "linear: two registers of B swapped", [mma]() -> std::string {
    const device::PtxMachine machine(
        changed(device::ptxText("linear"), "m16n8k16", mma,
                "$1 {$2, $3, $4, $5}, {$6, $7, $8, $9}, {$11, $10}, {$12, $13, $14, $15}"));
    return linearHolds(machine).empty() ? "the mutation is not detected" : "";
  });
}

const cases::Registration registration([] {
  addFaults();
  addInstructions();
  addBanks();
  if (device::ptx()) addMutants();
});

}  // namespace
