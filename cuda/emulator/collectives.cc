#include "collectives.h"

namespace emulator {

int blockBarrier(Operation operation, int value, int line) {
  if (!synchronises(operation, line)) return value;
  self->state = State::atBarrier;
  self->line = line;
  self->operation = operation;
  self->value = value;
  yield();
  return operation == kBarrierAny ? block.votesAny : 0;
}

void collective(Operation operation, unsigned mask, void* argument, int line, void (*all)(void**, int)) {
  Thread& t = *self;
  Thread* warp = &block.threads[t.warp * 32];
  const unsigned lanes = std::min(32u, block.threadCount - t.warp * 32);
  if (!(mask >> t.lane & 1)) return report(line, "calling lane is not in the warp mask");
  if (lanes < 32) mask &= (1u << lanes) - 1;  // lanes after the block's last thread do not exist
  t.operation = operation;
  t.mask = mask;
  t.argument = argument;
  t.line = line;
  t.state = State::inCollective;
  void* arguments[32] = {};
  for (unsigned i = 0; i < lanes; i++) {
    if (!(mask >> i & 1)) continue;
    const Thread& other = warp[i];
    if (other.state != State::inCollective || other.operation != operation || other.mask != mask ||
        other.line != line)
      return yield();
    arguments[i] = other.argument;
  }
  all(arguments, line);
  endIfStopped();
  for (unsigned i = 0; i < lanes; i++)
    if (mask >> i & 1) warp[i].state = State::running;
}

unsigned vote(unsigned mask, int predicate, int line) {
  struct Argument {
    int predicate;
    unsigned result;
  } argument{predicate, 0};
  collective(kVote, mask, &argument, line, [](void** all, int) {
    unsigned bits = 0;
    for (int i = 0; i < 32; i++)
      if (all[i] && static_cast<Argument*>(all[i])->predicate) bits |= 1u << i;
    for (int i = 0; i < 32; i++)
      if (all[i]) static_cast<Argument*>(all[i])->result = bits;
  });
  return argument.result;
}

}  // namespace emulator
