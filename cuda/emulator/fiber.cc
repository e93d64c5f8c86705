#include "fiber.h"

#include <sys/mman.h>

#include <cstdlib>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {
namespace {

#if defined(__x86_64__)
// Saves the callee-saved registers and the stack pointer to *from, and resumes `to`.
__attribute__((naked, noinline)) void switchStacks(void** /*from*/, void* /*to*/) {
  asm volatile(
      "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
      "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
      "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret");
}
#else
ucontext_t schedulerContext;
ucontext_t& contextOf(Thread& t) { return *static_cast<ucontext_t*>(t.stackPointer); }
#endif

// AddressSanitizer must be told which stack is in use.
void leaving([[maybe_unused]] void** fake, [[maybe_unused]] const void* stack,
             [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake, stack, bytes);
#endif
}
void arrived([[maybe_unused]] void* fake, [[maybe_unused]] const void** from,
             [[maybe_unused]] size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, from, bytes);
#endif
}

void fiberMain() {
  arrived(nullptr, &block.schedulerStack, &block.schedulerStackBytes);
  for (;;) {
    block.body();
    self->state = State::done;
    yield();
  }
}

}  // namespace

void yield() {
  Thread& t = *self;
  counters.switches++;
  leaving(&t.fakeStack, block.schedulerStack, block.schedulerStackBytes);
#if defined(__x86_64__)
  switchStacks(&t.stackPointer, block.scheduler);
#else
  swapcontext(&contextOf(t), &schedulerContext);
#endif
  arrived(t.fakeStack, &block.schedulerStack, &block.schedulerStackBytes);
}

void resume(Thread& t) {
  self = &t;
  leaving(&block.schedulerFakeStack, t.stack, options.stackBytes);
#if defined(__x86_64__)
  switchStacks(&block.scheduler, t.stackPointer);
#else
  swapcontext(&schedulerContext, &contextOf(t));
#endif
  arrived(block.schedulerFakeStack, nullptr, nullptr);
  self = nullptr;
}

void makeFiber(Thread& t) {
  if (!t.stack) {
    void* stack =
        mmap(nullptr, options.stackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) abort();
    t.stack = static_cast<char*>(stack);
  }
#if defined(__SANITIZE_ADDRESS__)
  // a fiber may have been abandoned before its end
  __asan_unpoison_memory_region(t.stack, options.stackBytes);
#endif
#if defined(__x86_64__)
  // What switchStacks pops: six registers and the return address, followed by the return address of
  // fiberMain's caller.
  void** top = reinterpret_cast<void**>(t.stack + options.stackBytes);
  top[-1] = nullptr;
  top[-2] = reinterpret_cast<void*>(&fiberMain);
  for (int i = 3; i <= 8; i++) top[-i] = nullptr;
  t.stackPointer = top - 8;
#else
  if (!t.stackPointer) t.stackPointer = new ucontext_t;
  ucontext_t& context = contextOf(t);
  getcontext(&context);
  context.uc_stack.ss_sp = t.stack;
  context.uc_stack.ss_size = options.stackBytes;
  context.uc_link = nullptr;
  makecontext(&context, fiberMain, 0);
#endif
}

}  // namespace emulator
