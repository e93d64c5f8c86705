/** One test body, every backend of this build. */

import test, { type ExecutionContext } from 'ava'
import { binding } from '../../lib/native/addon.js'
import type { NativeKernels } from '../../lib/native/surface.js'
import { attention, layerNorm, linear } from './plain.js'

export interface Running {
  backend: string
  /** Unit round-off of float32 on this backend. */
  epsilon: number
  /** Runs an op on this backend, and fails the test when another one ran it. */
  run<K extends keyof NativeKernels>(op: K, a: Arguments<K>): Promise<void>
  /** What is right: the same on the reference backend, and of itself, where test/helpers/plain.ts has the op, that. */
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

/** Ops of float32 that the reference is not its own oracle of. */
const plain: Partial<Record<keyof NativeKernels, (a: never) => void>> = { linear, layerNorm, attention }

async function oracle<K extends keyof NativeKernels>(
  t: ExecutionContext,
  backend: string,
  op: K,
  a: Arguments<K>,
) {
  const { dtype = 'float32', outDtype = 'float32', float16Weights } = a as Record<string, unknown>
  const own = backend === 'reference' && dtype === 'float32' && outDtype === 'float32' && !float16Weights
  if (own && plain[op]) plain[op](a as never)
  else await runOn(t, 'reference', op, a)
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
  for (const { name: backend, device, available, reason, epsilon } of binding().backends()) {
    if (device === 'cuda') continue // computes on memory of its own: models, not single kernels (test/cuda)
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
            reference: (name, a) => oracle(t, backend, name, a),
          },
          c,
        ))
  }
}
