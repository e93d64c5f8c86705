/** The reference itself, and with it every backend, against values from PyTorch (test/golden/kernels/make.py). */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/binding.js'
import { bound, close } from '../helpers/close.js'
import { eachBackend } from '../helpers/each-backend.js'

type Values = Record<string, Float32Array>
const file = JSON.parse(readFileSync(join(packageRoot, 'test/golden/kernels/kernels.json'), 'utf8')) as {
  cases: Record<string, Record<string, number[]>>
}
const golden = (name: string): Values =>
  Object.fromEntries(Object.entries(file.cases[name]).map(([key, v]) => [key, Float32Array.from(v)]))

eachBackend(
  'golden: linear',
  (['none', 'gelu', 'quickGelu', 'geluResidual'] as const).map(name => ({ name })),
  async (t, on, { name }) => {
    const g = golden('linear')
    const out = new Float32Array(35)
    const activation = name === 'geluResidual' ? 'gelu' : name
    const residual = name === 'geluResidual' ? g.residual : undefined
    const shape = { rows: 5, inFeatures: 24, outFeatures: 7, activation }
    await on.run('linear', { x: g.x, weight: g.weight, bias: g.bias, residual, out, ...shape })
    close(t, out, g[name], bound(25, on.epsilon, 12), name)
  },
)

eachBackend('golden: layerNorm', [{ name: 'F.layer_norm' }], async (t, on) => {
  const g = golden('layerNorm')
  const out = new Float32Array(120)
  await on.run('layerNorm', { x: g.x, weight: g.weight, bias: g.bias, out, rows: 4, cols: 30, epsilon: 1e-5 })
  close(t, out, g.y, bound(30, on.epsilon, 6), 'y')
})

eachBackend(
  'golden: attention',
  (['full', 'causal'] as const).map(name => ({ name })),
  async (t, on, { name }) => {
    const g = golden('attention')
    const out = new Float32Array(g.q.length)
    const shape = { sequences: 2, length: 9, heads: 2, headDim: 8, mask: name }
    await on.run('attention', { q: g.q, k: g.k, v: g.v, out, ...shape })
    close(t, out, g[name], bound(9, on.epsilon, 8), name)
  },
)

eachBackend(
  'golden: cosineSoftmax',
  (['cosine', 'logit', 'probability'] as const).map(name => ({ name })),
  async (t, on, { name }) => {
    const g = golden('cosine')
    const out = new Float32Array(33)
    const shape = { rows: 3, classCount: 11, dim: 16, logitScale: 100, as: name }
    await on.run('cosineSoftmax', { queries: g.queries, classes: g.classes, out, ...shape })
    close(t, out, g[name], bound(16, on.epsilon, name === 'cosine' ? 1 : 100), name)
  },
)

eachBackend('golden: cosineTopK', [{ name: 'softmax, then topk' }], async (t, on) => {
  const g = golden('cosine')
  const index = new Int32Array(12)
  const value = new Float32Array(12)
  const shape = { rows: 3, classCount: 11, dim: 16, k: 4, logitScale: 100, as: 'probability' as const }
  await on.run('cosineTopK', { queries: g.queries, classes: g.classes, index, value, ...shape })
  t.deepEqual([...index], [...g.topIndex])
  close(t, value, g.topValue, bound(16, on.epsilon, 100), 'value')
})
