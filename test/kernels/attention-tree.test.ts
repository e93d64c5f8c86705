/**
 * Attention over tries, float32 and bfloat16: whatever rows share a tile and a list of keys, a row has the bits of its
 * own path alone. features.test.ts runs this file again without bfloat16 products.
 */

import { sameBytes } from '../helpers/close.js'
import { eachBackend, type Running } from '../helpers/each-backend.js'
import { toBfloat16s } from '../helpers/narrow.js'
import { generator, normal } from '../helpers/random.js'

type Numbers = Float32Array | Uint16Array

/** `prefix` rows one after the other, then chains of 1 to 4 rows below its end or below the start of the chain before. */
function labels(prefix: number, count: number): Int32Array {
  const next = generator(prefix)
  const parent = Array.from({ length: prefix }, (_, r) => r - 1)
  let start = prefix - 1
  for (let i = 0; i < count; i++) {
    let above = next() < 0.3 ? start : prefix - 1
    const length = 1 + Math.floor(next() * 4)
    for (let j = 0; j < length; j++) {
      if (j === 0) start = parent.length
      parent.push(above)
      above = parent.length - 1
    }
  }
  return Int32Array.from(parent)
}

function random(rows: number, reach: number): Int32Array {
  const next = generator(rows)
  return Int32Array.from({ length: rows }, (_, r) =>
    r === 0 || next() < 0.05 ? -1 : Math.max(0, r - 1 - Math.floor(next() * reach)),
  )
}

/** A long path with short side branches: more keys than a block of sums has. */
const long = Int32Array.from({ length: 860 }, (_, r) => (r < 830 || r % 2 ? r - 1 : (r - 830) * 20 + 10))

const tries: [name: string, parent: Int32Array][] = [
  ['labels below five tokens', labels(5, 60)],
  ['labels below four tokens', labels(4, 60)],
  ['labels below twenty tokens', labels(20, 40)],
  ['one parent', Int32Array.from({ length: 50 }, (_, r) => (r ? 0 : -1))],
  ['only roots', new Int32Array(40).fill(-1)],
  ['random, near', random(120, 4)],
  ['random, far', random(121, 121)],
  ['a path of 830 with branches', long],
]

async function run(
  on: Running,
  [q, k, v]: Numbers[],
  shape: {
    mask: 'causal' | 'tree'
    length: number
    parent?: Int32Array
    queryRow?: Int32Array
    headDim: number
  },
  threads: number,
): Promise<Numbers> {
  const out = q!.slice()
  const dtype = q instanceof Float32Array ? 'float32' : 'bfloat16'
  const a = { q: q!, k: k!, v: v!, out, dtype, sequences: 1, heads: 2, threads, ...shape } as const
  await on.run('attention', a)
  return out
}

function pick(x: Numbers, rows: Iterable<number>, cols: number): Numbers {
  const list = [...rows]
  const picked = x.slice(0, list.length * cols)
  list.forEach((r, i) => {
    picked.set(x.subarray(r * cols, (r + 1) * cols), i * cols)
  })
  return picked
}

const cases = tries.flatMap(([name, parent]) =>
  (['float32', 'bfloat16'] as const).flatMap(dtype =>
    [24, 64].map(headDim => ({
      name: `${name}, ${dtype}, head dimension ${headDim}`,
      parent,
      dtype,
      headDim,
    })),
  ),
)

for (const spoilt of [false, true])
  eachBackend(
    `attention over a trie${spoilt ? ' with values that are not finite' : ''}`,
    cases.filter(c => !spoilt || (c.headDim === 24 && c.parent.length < 200)),
    async (t, on, { parent, dtype, headDim }) => {
      const rows = parent.length
      const cols = 2 * headDim
      const make = (seed: number) => {
        const x = normal(seed, rows * cols)
        if (spoilt && seed === 3) {
          x[Math.floor(rows / 2) * cols + 3] = Number.NaN
          x[Math.floor(rows / 3) * cols + 7] = Number.POSITIVE_INFINITY
        }
        return dtype === 'float32' ? x : toBfloat16s(x)
      }
      const all = [make(1), make(2), make(3)]
      const shape = { mask: 'tree' as const, length: rows, parent, headDim }
      const whole = await run(on, all, shape, 2)
      sameBytes(t, await run(on, all, shape, 1), whole, 'one thread')
      // The ends of some paths, alone and then those that nobody is below.
      const inner = new Set(parent)
      const leaves = Array.from(parent.keys()).filter(r => !inner.has(r))
      for (let i = 0; i < leaves.length; i += Math.ceil(leaves.length / 12)) {
        const path: number[] = []
        for (let r = leaves[i]!; r >= 0; r = parent[r]!) path.unshift(r)
        const own = all.map(x => pick(x, path, cols))
        const plain = await run(on, own, { mask: 'causal', length: path.length, headDim }, 1)
        sameBytes(t, plain, pick(whole, path, cols), `path to row ${leaves[i]}`)
      }
      const queryRow = Int32Array.from(leaves)
      const asking = [pick(all[0]!, leaves, cols), all[1]!, all[2]!]
      const ends = await run(on, asking, { ...shape, queryRow }, 2)
      sameBytes(t, ends, pick(whole, leaves, cols), 'leaves asking')
    },
  )
