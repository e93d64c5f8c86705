// The specification of the gate of channels.
#include "threads/context.h"
#include "reference/reference.h"

namespace clip::reference {

// y = f(x * gate): Hu et al. 2018, equation 4.
void channelGate(Context& context, const ChannelGate& g) {
  eachRow(context.threads, g.rows, [&](int r) {
    const float *x = in(g.x, r), *gate = in(g.gate, r / g.rowsPerGate);
    for (int c = 0; c < g.cols; c++) put(g.y, r, c, activate(g.activation, double(x[c]) * gate[c]));
  });
}

}  // namespace clip::reference
