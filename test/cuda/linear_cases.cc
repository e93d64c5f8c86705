// Compares clip_linear_* with native/reference/linear.cc.
#include "linear.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "cases.h"
#include "device.h"
#include "emulated.h"
#include "emulator/memory_map.h"
#include "emulator/state.h"
#include "kernel_runs.h"
#include "matrices.h"

namespace {

using namespace clip;
using device::Matrix;
using device::Values;

enum class Family : uint8_t { skinny, square, float32 };

struct Shape {
  int rows, in, out;
  Activation activation = Activation::none;
  bool bias = true, residual = false;
  Dtype y = Dtype::float32;
  float scale = 1;
};

void launch(const device::Machine& machine, Family family, const Linear& l) {
  if (family == Family::float32) return device::run(machine, cuda::linearFloat32Launch(l), l);
  if (family == Family::square) return device::run(machine, cuda::linearSquareLaunch(l), l);
  const device::Memory partial(cuda::linearPartialBytes(l)), arrived(cuda::linearArrivedBytes(l));
  std::fill_n(arrived.as<char>(), arrived.bytes(), 0);
  const cuda::LinearScratch scratch{partial.as<float>(), arrived.as<unsigned>()};
  device::run(machine, cuda::linearSkinnyLaunch(l), l, scratch);
  for (size_t i = 0; i < arrived.bytes(); i++)
    if (arrived.as<char>()[i]) throw std::runtime_error("a launch leaves its counters at zero");
}

// Computes y with the kernel, for as many rows of x as `rows` says.
Matrix product(const device::Machine& machine, Family family, Dtype dtype, const Shape& s, const Values& x,
               const device::Memory& w, const Values& bias, const Values& residual) {
  const Matrix xs(x, dtype);
  // The residual may be y itself.
  Matrix y = s.residual && s.y == Dtype::float32 ? Matrix(residual, Dtype::float32, 2)
                                                 : Matrix(s.rows, s.out, s.y, 2);
  const Matrix separate(residual, Dtype::float32);
  launch(machine, family,
         {.x = xs.view(),
          .w = w.as<void>(),
          .bias = s.bias ? bias.data.data() : nullptr,
          .residual = !s.residual             ? MatrixView{}
                      : s.y == Dtype::float32 ? y.view()
                                              : separate.view(),
          .y = y.view(),
          .rows = s.rows,
          .in = s.in,
          .out = s.out,
          .activation = s.activation,
          .weights = dtype});
  return y;
}

std::string run(const device::Machine& machine, const cuda::check::ProductOp& op, const ops::Case& c) {
  device::Emulated emulated(machine);
  const cuda::check::Made made = op.make(emulated, c, op);
  made.run();
  return made.difference();
}

// Checks a shape of this file.
std::string check(const device::Machine& machine, Family family, Dtype dtype, const Shape& s) {
  const ops::Case c{"",
                    0,
                    {{"rows", double(s.rows)},
                     {"inFeatures", double(s.in)},
                     {"outFeatures", double(s.out)},
                     {"activation", double(s.activation)},
                     {"bias", double(s.bias)},
                     {"residual", s.residual ? 2. : 0.},
                     {"narrow", s.y == Dtype::float32 ? 0. : 1.}}};
  for (const cuda::check::ProductOp& op : cuda::check::productOps())
    if (op.op == std::string("linear") && op.dtype == dtype && int(op.family) == int(family))
      return run(machine, op, c);
  return "no such kernel";
}

// Checks that row r of a batch has the bits that it has alone, in all families of its type.
std::string sameBits(const device::Machine& machine, Dtype dtype, int in, const std::vector<int>& batches) {
  const std::vector<Family> families = dtype == Dtype::float32
                                           ? std::vector<Family>{Family::float32}
                                           : std::vector<Family>{Family::skinny, Family::square};
  const Shape one{1, in, 40, Activation::quickGelu, true, true, Dtype::float32};
  const Values w = device::rounded(device::normal(2, one.out, in, 1 / std::sqrt(float(in))), dtype);
  Values bias = device::normal(3, 1, one.out);
  const device::Memory packedW = device::packedWeight(w, dtype);
  emulator::mapMemory(bias.data.data(), bias.data.size() * 4);
  std::string wrong;
  const int most = *std::max_element(batches.begin(), batches.end());
  const Values x = device::normal(1, most, in), residual = device::normal(4, most, one.out);
  std::vector<std::vector<char>> rows;  // of the first run
  for (const Family family : families)
    for (const int batch : batches) {
      Shape s = one;
      s.rows = batch;
      Values xs(batch, in), rs(batch, one.out);
      // Counted from the end, so that the rows have a different position in every batch.
      for (int r = 0; r < batch; r++) {
        std::copy_n(x.row(batch - 1 - r), in, xs.row(r));
        std::copy_n(residual.row(batch - 1 - r), one.out, rs.row(r));
      }
      const Matrix y = product(machine, family, dtype, s, xs, packedW, bias, rs);
      for (int r = 0; r < batch; r++) {
        if (static_cast<int>(rows.size()) <= r) rows.push_back(y.row(batch - 1 - r));
        if (rows[r] != y.row(batch - 1 - r))
          wrong = cases::format("family %d, batch %d: row %d differs", int(family), batch, r);
      }
    }
  emulator::unmapMemory(bias.data.data());
  return wrong;
}

void addShapes(const device::Machine& machine, const std::string& group) {
  const bool fibers = &machine == &device::fibers();
  for (const cuda::check::ProductOp& op : cuda::check::productOps()) {
    if (op.op != std::string("linear")) continue;
    for (const ops::Case& c : ops::casesOf("linear", ops::kTested | ops::kEmulated)) {
      const double work = c.number("rows") * c.number("inFeatures") * c.number("outFeatures");
      cases::add(
          group, cases::format("%s, %s", op.kernel, c.name),
          [&machine, &op, c] { return run(machine, op, c); }, work > (fibers ? 3e6 : 6e5));
    }
    if (fibers)
      cases::add(
          group, cases::format("%s, 200 x 1536 x 300", op.kernel),
          [&machine, &op] {
            return check(machine, Family(op.family), op.dtype, {200, 1536, 300});
          },
          true);
  }
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16, Dtype::float32}) {
    for (const int in : {300, 768})
      cases::add(
          group,
          cases::format("%s, %d inputs: a row has the same bits in batches of 1, 7 and 64, in every family",
                        device::nameOf(dtype), in),
          [&machine, dtype, in] {
            return sameBits(machine, dtype, in, {1, 7, 64});
          });
  }
}

const cases::Registration registration([] {
  addShapes(device::fibers(), "linear");
  for (const emulator::Sum sum : {emulator::Sum::exact, emulator::Sum::aligned})
    for (const Family family : {Family::skinny, Family::square})
      cases::add("linear", cases::format("family %d, shuffled, sum %d", int(family), int(sum)), [=] {
        emulator::options.seed = 1 + static_cast<uint64_t>(sum);
        emulator::options.sum = sum;
        emulator::options.copiesLandEarly = sum == emulator::Sum::exact;
        std::string wrong = check(device::fibers(), family, Dtype::bfloat16, {40, 600, 70});
        if (wrong.empty()) wrong = sameBits(device::fibers(), Dtype::bfloat16, 600, {1, 20});
        emulator::options = {};
        return wrong;
      });
  cases::add("linear", "ldmatrix has no bank conflicts", [] {
    emulator::counters = {};
    for (const Family family : {Family::skinny, Family::square})
      if (const std::string wrong = check(device::fibers(), family, Dtype::bfloat16, {64, 128, 128});
          !wrong.empty())
        return wrong;
    return std::string(emulator::counters.matrixLoadWaves == emulator::counters.matrixLoads ? ""
                                                                                            : "conflicts");
  });
  cases::add("linear", "few rows use the skinny kernels, many rows the square ones", [] {
    Linear l{};
    l.x.dtype = Dtype::bfloat16;
    l.rows = 50, l.in = 768, l.out = 3072;
    const bool skinny = cuda::linearIsSkinny(l);
    l.rows = 64 * 50;
    return std::string(skinny && !cuda::linearIsSkinny(l) ? "" : "the choice is wrong");
  });
  if (device::ptx()) addShapes(*device::ptx(), "linear-ptx");
});

}  // namespace

std::vector<std::function<void()>> productRuns() {
  std::vector<std::function<void()>> runs;
  for (const Family family : {Family::skinny, Family::square})
    for (const int in : {64, 300, 600})
      runs.push_back([=] {
        const std::string wrong = check(device::fibers(), family, Dtype::bfloat16, {40, in, 70});
        if (!wrong.empty()) throw std::runtime_error(wrong);
      });
  return runs;
}

std::string linearHolds(const device::Machine& machine) {
  for (const Family family : {Family::skinny, Family::square})
    for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16})
      if (const std::string wrong =
              check(machine, family, dtype, {18, 300, 35, Activation::none, true, false, dtype});
          !wrong.empty())
        return wrong;
  return "";
}

std::string linearOfModels(const device::Machine& machine) {
  const Activation quickGelu = Activation::quickGelu;
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16}) {
    std::string wrong = check(machine, Family::skinny, dtype, {50, 768, 64, quickGelu, true, false, dtype});
    if (wrong.empty())
      wrong = check(machine, Family::square, dtype, {150, 320, 160, quickGelu, true, false, dtype});
    if (!wrong.empty()) return wrong;
  }
  return "";
}
