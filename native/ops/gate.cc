#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

namespace clip::ops::gate {

// activation: the number of a Gating. nan: one of the numbers is a NaN.
std::vector<Case> cases() {
  const Shapes gate{{"rows", "cols", "activation"}};
  return {
      gate("EVA02-L, 3 rows", kTested, {3, 2730, 0}),
      gate("EVA02-B, 3 rows", kTested, {3, 2048, 0}),
      gate("ViTamin-L, 3 rows", kTested, {3, 2048, 1}),
      gate("one of everything", kTested, {1, 1, 0}),
      gate("one of everything, gelu", kTested, {1, 1, 1}),
      gate("341 columns", kTested | kFirstLoad, {5, 341, 0}),
      gate("33 columns, gelu", kTested | kFirstLoad, {5, 33, 1}),
      gate("large values", kTested, {4, 100, 0}, {{"scale", 40}}),
      gate("large values, gelu", kTested, {4, 100, 1}, {{"scale", 40}}),
      gate("a NaN stays where it is", kTested, {4, 21, 0}, {{"nan", 1}}),
      gate("4 images of EVA02-B", kTimed, {788, 2048, 0}),
      gate("an image of EVA02-L", kTimed, {257, 2730, 0}),
      gate("an image of ViTamin-L", kTimed, {257, 2048, 1}),
  };
}

std::span<const Dtype> dtypes() { return kStored; }

Made made(Machine& m, const Case& c, Dtype to) {
  const int rows = c["rows"], cols = c["cols"];
  Values a = normal(1, rows, cols, scaleOf(c), to);
  const Values b = normal(2, rows, cols, 1, to);
  if (c["nan"]) a.row(rows - 1)[cols / 2] = std::nanf("");
  const Gate call{.a = m.matrix(a, to),
                  .b = m.matrix(b, to),
                  .y = m.output(rows, cols, to),
                  .rows = rows,
                  .cols = cols,
                  .activation = static_cast<Gating>(c["activation"])};
  const auto difference = [=, &m]() mutable {
    Values want(rows, cols), other = b;
    Gate here = call;
    here.a = a.view();
    here.b = other.view();
    here.y = want.view();
    referenceBackend.gate(Machine::reference(), here);
    return m.compareMatrix(call.y, want, [&](int r, int i) {
      return 0x1p-19 * std::fabs(b.row(r)[i]) * (1 + std::fabs(a.row(r)[i])) +
             epsilon(to) * std::fabs(want.row(r)[i]) + 0x1p-24;
    });
  };
  return {running(m, call), difference, size(rows, cols) + inDtype(to), 10. * rows * cols,
          3. * double(bytesOf(to)) * rows * cols};
}

Job prepare(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto activation = c.choice<Gating>("activation", {{"silu", Gating::silu}, {"gelu", Gating::gelu}});
  const Dtype dtype = c.rowDtype("dtype"), outDtype = c.rowDtype("outDtype");
  requireFloats("dtype", dtype);
  requireFloats("outDtype", outDtype);
  const LentMatrix a = c.matrix("a", rows, cols, dtype), b = c.matrix("b", rows, cols, dtype),
                   y = c.outputMatrix("out", rows, cols, outDtype);
  return [=](const Backend& backend, Context& context, Arrays& at) {
    backend.gate(context,
                 {.a = at(a), .b = at(b), .y = at(y), .rows = rows, .cols = cols, .activation = activation});
  };
}

}  // namespace clip::ops::gate
