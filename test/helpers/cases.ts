/** The cases of an op, from the list that its checks and timings on GPUs, the emulators and the benchmark read as well: native/ops. */

import test from 'ava'
import { testEntries } from '../../lib/native/test-entries.js'
import { lackingEntries } from './entries-test.js'

interface Named {
  name: string
  /** What the case's numbers stand for, of ops that take lists. */
  lists?: Record<string, Int32Array>
}

const skipped = new Set<string>()

/**
 * Every case that the tests of all backends run, with a default for sizes that a case does not name. An addon without
 * test entries has no list of cases: one skipped test says so.
 */
export function casesOf<S extends Record<string, number>>(op: string, sizes: S): (S & Named)[] {
  if (lackingEntries) {
    if (!skipped.has(op)) test.skip(`all cases of ${op} (${lackingEntries})`, () => undefined)
    skipped.add(op)
    return []
  }
  const cases = testEntries()
    .measure.cases({ op })
    .filter(c => c.tested)
  if (cases.length === 0) throw new Error(`native/ops has no cases of ${op}`)
  return cases.map(c => {
    const unknown = Object.keys(c.sizes).filter(key => !(key in sizes))
    if (unknown.length > 0) throw new Error(`${op}, ${c.name}: the test does not know ${unknown.join(', ')}`)
    return { name: c.name, ...sizes, ...(c.sizes as Partial<S>), lists: c.lists }
  })
}

/** Activation functions by the number that cases name. */
export const activations = ['none', 'quickGelu', 'gelu', 'relu', 'geluTanh', 'sigmoid'] as const
/** The cases of linear, in words. relu is applied after the residual is added, the other activations before. */
export const linearCases = casesOf('linear', {
  rows: 0,
  inFeatures: 0,
  outFeatures: 0,
  activation: 0,
  bias: 1,
  residual: 0,
  scale: 1,
}).map(c => ({
  ...c,
  activation: activations[c.activation]!,
  bias: c.bias === 1,
  residual: (['none', 'apart', 'in place'] as const)[c.residual]!,
}))
