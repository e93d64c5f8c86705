/** The cases of an op, from the list that its checks and timings on GPUs, the emulators and the benchmark read as well: native/ops. */

import { testEntries } from '../../lib/native/test-entries.js'

interface Named {
  name: string
  /** What the case's numbers stand for, of ops that take lists. */
  lists?: Record<string, Int32Array>
}

/** Every case that the tests of all backends run, with a default for sizes that a case does not name. */
export function casesOf<S extends Record<string, number>>(op: string, sizes: S): (S & Named)[] {
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

const activations = ['none', 'quickGelu', 'gelu', 'relu', 'geluTanh'] as const
/** relu comes after the residual, the others before it. */
/** The cases of linear, in words. */
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
