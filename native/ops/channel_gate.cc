#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

namespace clip::ops::channelGate {

// activation: the number of an Activation. With a NaN in the first number under the emulators.
std::vector<Case> cases() {
  const Shapes channelGate{{"rows", "cols", "rowsPerGate"}};
  return {
      channelGate("one of everything", kTested, {1, 1, 1}),
      channelGate("a gate per row", kTested, {5, 31, 1}),
      channelGate("a gate per 6 rows", kTested | kFirstLoad, {12, 70, 6}),
      channelGate("a gate per 7 rows, gelu", kTested | kFirstLoad, {21, 33, 7}, {{"activation", 2}}),
      channelGate("the last gate has fewer rows, gelu", kTested, {10, 64, 4}, {{"activation", 2}}),
      channelGate("MobileCLIP2-S2 third stage", kTimed, {256, 320, 256}, {{"activation", 2}}),
  };
}

std::span<const Dtype> dtypes() { return kStored; }

Made made(Machine& m, const Case& c, Dtype to) {
  const int rows = c["rows"], cols = c["cols"], rowsPerGate = c["rowsPerGate"],
            gates = (rows + rowsPerGate - 1) / rowsPerGate;
  Values x = normal(1, rows, cols), gate = normal(2, gates, cols);
  x.row(0)[0] = std::nanf("");
  const ChannelGate call{.x = m.matrix(x, Dtype::float32),
                         .gate = m.matrix(gate, Dtype::float32),
                         .y = m.output(rows, cols, to),
                         .rows = rows,
                         .cols = cols,
                         .rowsPerGate = rowsPerGate,
                         .activation = static_cast<Activation>(c["activation"])};
  const auto difference = [=, &m]() mutable {
    Values want(rows, cols);
    ChannelGate here = call;
    here.x = x.view();
    here.gate = gate.view();
    here.y = want.view();
    referenceBackend.channelGate(Machine::reference(), here);
    // One product; the arithmetic of gelu is accurate to 2^-20 of its argument.
    return m.compareMatrix(call.y, want, [&](int r, int i) {
      const double v = std::fabs(double(x.row(r)[i]) * gate.row(r / rowsPerGate)[i]);
      return v * (0x1p-22 + (call.activation == Activation::none ? 0 : 0x1p-20)) +
             epsilon(to) * std::fabs(want.row(r)[i]) + 0x1p-24;
    });
  };
  return {running(m, call), difference, size(rows, cols) + inDtype(to), 1. * rows * cols,
          4. * rows * cols + 4. * gates * cols + double(bytesOf(to)) * rows * cols};
}

Job prepare(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols"), rowsPerGate = c.integer("rowsPerGate");
  const auto activation =
      c.choice<Activation>("activation", {{"none", Activation::none}, {"gelu", Activation::gelu}});
  const auto x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  const auto gate = c.array<float>("gate", {(rowsOf(rows) + rowsPerGate - 1) / rowsPerGate, rowsOf(cols)});
  const Dtype outDtype = c.rowDtype("outDtype");
  requireFloats("outDtype", outDtype);
  const LentMatrix y = c.outputMatrix("out", rows, cols, outDtype);
  return [=](const Backend& b, Context& context, Arrays& at) {
    b.channelGate(context, {.x = at.dense(x, cols),
                            .gate = at.dense(gate, cols),
                            .y = at(y),
                            .rows = rows,
                            .cols = cols,
                            .rowsPerGate = rowsPerGate,
                            .activation = activation});
  };
}

}  // namespace clip::ops::channelGate
