/** One test body, every backend of this build. */

import test, { type ExecutionContext } from 'ava'
import { binding } from '../../lib/native/addon.js'
import { handOverKernels } from '../../lib/native/compiled-kernels.js'
import type { NativeBackend } from '../../lib/native/surface.js'
import type { NativeTestBinding } from '../../lib/native/test-entries.js'
import { lackingEntries } from './entries-test.js'
import { attention, layerNorm, linear } from './plain.js'

/** Those that have a public kernel, and those that only tests call. */
type NativeKernels = NativeTestBinding['kernels']

export interface Running {
  backend: string
  /** Ops that another backend computes for this one. */
  borrowed: string
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
  const kernel = (binding() as NativeTestBinding).kernels[op] as (a: object) => Promise<string>
  if (backend === 'cuda') await handOverKernels()
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
  const { dtype = 'float32', outDtype = 'float32', weightDtype } = a as Record<string, unknown>
  const own = backend === 'reference' && dtype === 'float32' && outDtype === 'float32' && !weightDtype
  if (own && plain[op]) plain[op](a as never)
  else await runOn(t, 'reference', op, a)
}

/** Ops that only tests call: a test of one has its name in the title. */
const testOps = /\b(cast|channelGate|conv|depthwiseConv|embed|gather|normali[sz]e|patches|pool|rope|gate)\b/

/** Why a backend has nothing to run a case with, if so: an instruction or a kernel that no machine gives it. */
export type Lacks<C> = (backend: NativeBackend, c: C) => string | undefined | false

/** For tests in a dtype: backends without it are left out. */
export const needs =
  (dtype: 'bfloat16' | 'int8'): Lacks<object> =>
  backend =>
    !backend.dtypes.includes(dtype) && `it has no ${dtype}`

/** For tests of attention: CUDA has heads of a multiple of 8 numbers only, and not of any size. */
export const needsHead =
  (dtype: 'float32' | 'bfloat16'): Lacks<{ shape: { headDim: number } }> =>
  ({ device }, { shape: { headDim } }) =>
    device === 'cuda' &&
    (headDim % 8 !== 0 || headDim > (dtype === 'float32' ? 256 : 128)) &&
    `it has no heads of ${headDim} in ${dtype}`

/**
 * Registers one test per backend and case, a GPU's too where there is one, but for the backend that CLIP_TEST_WITHOUT
 * names. What a backend of this machine can't run is left out by `lacks`; a backend that this machine lacks gives one
 * skipped test that says why.
 */
export function eachBackend<C extends { name: string }>(
  op: string,
  cases: C[],
  body: (t: ExecutionContext, on: Running, c: C) => Promise<void>,
  lacks: Lacks<C> = () => undefined,
): void {
  for (const described of binding().backends()) {
    const { name: backend, available, reason, epsilon } = described
    if (backend === process.env.CLIP_TEST_WITHOUT) continue
    if (!available) {
      test.skip(`${op} on ${backend}: not on this machine (${reason})`, () => {})
      continue
    }
    for (const c of cases) {
      const lacking = (testOps.test(op) && lackingEntries) || lacks(described, c)
      if (lacking) {
        test.skip(`${op} on ${backend}: ${c.name} (${lacking})`, () => {})
        continue
      }
      test(`${op} on ${backend}: ${c.name}`, t =>
        body(
          t,
          {
            backend,
            borrowed: described.borrowed,
            epsilon: epsilon.float32!,
            run: (name, a) => runOn(t, backend, name, a),
            reference: (name, a) => oracle(t, backend, name, a),
          },
          c,
        ))
    }
  }
}
