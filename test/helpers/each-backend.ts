/** One test body, every backend of this build. */

import test, { type ExecutionContext } from 'ava'
import { binding, type NativeKernels } from '../../lib/binding.js'

export interface Running {
  backend: string
  /** Unit round-off of float32 on this backend. */
  epsilon: number
  /** Runs an op on this backend, and fails the test when another one ran it. */
  run<K extends keyof NativeKernels>(op: K, a: Arguments<K>): Promise<void>
  /** The same on the reference backend: the oracle. */
  reference<K extends keyof NativeKernels>(op: K, a: Arguments<K>): Promise<void>
}

type Arguments<K extends keyof NativeKernels> = Omit<
  Parameters<NativeKernels[K]>[0],
  'threads' | 'backend'
> & {
  threads?: number
}

async function runOn<K extends keyof NativeKernels>(
  t: ExecutionContext,
  backend: string,
  op: K,
  a: Arguments<K>,
) {
  const kernel = binding().kernels[op] as (a: object) => Promise<string>
  const ran = await kernel({ threads: 2, ...a, backend })
  if (ran !== backend) t.fail(`${op} ran on ${ran} instead of ${backend}`)
}

/**
 * Registers one test per backend and case, but for the backend that CLIP_TEST_WITHOUT names. A backend that this machine
 * lacks gives one skipped test that says why.
 */
export function eachBackend<C extends { name: string }>(
  op: string,
  cases: C[],
  body: (t: ExecutionContext, on: Running, c: C) => Promise<void>,
): void {
  for (const { name: backend, available, reason, epsilon } of binding().backends()) {
    if (backend === process.env.CLIP_TEST_WITHOUT) continue
    if (!available) {
      test.skip(`${op} on ${backend}: not on this machine (${reason})`, () => {})
      continue
    }
    for (const c of cases)
      test(`${op} on ${backend}: ${c.name}`, t =>
        body(
          t,
          {
            backend,
            epsilon: epsilon.float32!,
            run: (name, a) => runOn(t, backend, name, a),
            reference: (name, a) => runOn(t, 'reference', name, a),
          },
          c,
        ))
  }
}
