/**
 * Attention over tries, float32 and bfloat16: whatever rows share a tile and a list of keys, a row has the bits of its
 * own path alone. features.test.ts runs this file again without bfloat16 products.
 */

import { attentionCases, attentionInputs } from '../helpers/attention.js'
import { sameBytes } from '../helpers/close.js'
import { eachBackend, needsHead, type Running } from '../helpers/each-backend.js'
import { toBfloat16s } from '../helpers/narrow.js'

type Numbers = Float32Array | Uint16Array

async function run(
  on: Running,
  [q, k, v]: Numbers[],
  shape: {
    mask: 'causal' | 'tree'
    length: number
    parent?: Int32Array
    queryRow?: Int32Array
    heads: number
    headDim: number
  },
  threads: number,
): Promise<Numbers> {
  const out = q!.slice()
  const dtype = q instanceof Float32Array ? 'float32' : 'bfloat16'
  const a = { q: q!, k: k!, v: v!, out, dtype, sequences: 1, threads, ...shape } as const
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

const trees = attentionCases.filter(c => c.shape.mask === 'tree' && !c.shape.queryRow)

for (const dtype of ['float32', 'bfloat16'] as const)
  eachBackend(
    `attention over a trie in ${dtype} gives the same bits whatever rows are computed together`,
    trees,
    async (t, on, c) => {
      const { heads, headDim } = c.shape
      const parent = c.shape.parent!
      const cols = heads * headDim
      const { q, k, v } = attentionInputs(c)
      const all: Numbers[] = [q, k, v].map(x => (dtype === 'float32' ? x : toBfloat16s(x)))
      const shape = { mask: 'tree' as const, length: c.rows, parent, heads, headDim }
      const whole = await run(on, all, shape, 2)
      sameBytes(t, await run(on, all, shape, 1), whole, 'one thread')
      // The ends of some paths, alone and then those that nobody is below.
      const inner = new Set(parent)
      const leaves = Array.from(parent.keys()).filter(r => !inner.has(r))
      for (let i = 0; i < leaves.length; i += Math.ceil(leaves.length / 12)) {
        const path: number[] = []
        for (let r = leaves[i]!; r >= 0; r = parent[r]!) path.unshift(r)
        const own = all.map(x => pick(x, path, cols))
        const plain = await run(on, own, { mask: 'causal', length: path.length, heads, headDim }, 1)
        sameBytes(t, plain, pick(whole, path, cols), `path to row ${leaves[i]}`)
      }
      const queryRow = Int32Array.from(leaves)
      const asking = [pick(all[0]!, leaves, cols), all[1]!, all[2]!]
      const ends = await run(on, asking, { ...shape, queryRow }, 2)
      sameBytes(t, ends, pick(whole, leaves, cols), 'leaves asking')
    },
    needsHead(dtype),
  )
