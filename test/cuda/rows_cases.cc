// The kernels that go row by row, on every case of ops/cases.cc, each in every stored type.
#include <deque>

#include "cuda/check_support.h"
#include "matrices.h"

namespace {

using namespace clip;

// An emulator as a machine of the cases: memory whose ends are watched.
class Emulated : public cuda::check::Machine {
 public:
  explicit Emulated(const device::Machine& machine) : machine_(machine) {}
  void* take(size_t bytes) override { return memory_.emplace_back(bytes).as<void>(); }
  void upload(void* there, const void* here, size_t bytes) override { std::memcpy(there, here, bytes); }
  void download(void* here, const void* there, size_t bytes) override { std::memcpy(here, there, bytes); }
  void run(const cuda::Launch& launch, std::initializer_list<const void*> arguments) override {
    machine_.run(launch, arguments);
  }

 private:
  const device::Machine& machine_;
  std::deque<device::Memory> memory_;
};

void addAll(const device::Machine& machine, const std::string& group) {
  for (const cuda::check::RowOp& op : cuda::check::rowOps())
    for (const ops::Case& c : ops::casesOf(op.op, ops::kTested | ops::kEmulated))
      for (const Dtype dtype : device::kStored) {
        if (!op.dtypes && dtype != Dtype::float32) continue;
        const bool isLong = c.number("rows", 1) * c.number("cols", 1) > 3e4;
        cases::add(
            group, cases::format("%s, %s, %s", op.op, c.name, device::nameOf(dtype)),
            [&machine, make = op.make, c, dtype] {
              Emulated emulated(machine);
              const cuda::check::Made made = make(emulated, c, dtype);
              made.run();
              return made.difference();
            },
            isLong);
      }
}

const cases::Registration registration([] {
  addAll(device::fibers(), "rows");
  if (device::ptx()) addAll(*device::ptx(), "rows-ptx");
});

}  // namespace
