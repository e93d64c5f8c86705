/** The reference itself, and with it every backend, against values from PyTorch (test/golden/kernels/make.py). */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'
import { bound, close } from '../helpers/close.js'
import { eachBackend } from '../helpers/each-backend.js'

type Values = Record<string, Float32Array>
const file = JSON.parse(readFileSync(join(packageRoot, 'test/golden/kernels/kernels.json'), 'utf8')) as {
  cases: Record<string, Record<string, number[]>>
}
const golden = (name: string): Values =>
  Object.fromEntries(Object.entries(file.cases[name]).map(([key, v]) => [key, Float32Array.from(v)]))

eachBackend(
  'linear gives the golden values',
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

eachBackend('layerNorm gives the golden values', [{ name: 'F.layer_norm' }], async (t, on) => {
  const g = golden('layerNorm')
  const out = new Float32Array(120)
  await on.run('layerNorm', { x: g.x, weight: g.weight, bias: g.bias, out, rows: 4, cols: 30, epsilon: 1e-5 })
  close(t, out, g.y, bound(30, on.epsilon, 6), 'y')
})

eachBackend(
  'attention gives the golden values',
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
  'cosineSoftmax gives the golden values',
  (['cosine', 'logit', 'probability'] as const).map(name => ({ name })),
  async (t, on, { name }) => {
    const g = golden('cosine')
    const out = new Float32Array(33)
    const shape = { rows: 3, classCount: 11, dim: 16, logitScale: 100, as: name }
    await on.run('cosineSoftmax', { queries: g.queries, classes: g.classes, out, ...shape })
    close(t, out, g[name], bound(16, on.epsilon, name === 'cosine' ? 1 : 100), name)
  },
)

eachBackend('cosineTopK gives the golden values', [{ name: 'softmax, then topk' }], async (t, on) => {
  const g = golden('cosine')
  const index = new Int32Array(12)
  const value = new Float32Array(12)
  const shape = { rows: 3, classCount: 11, dim: 16, k: 4, logitScale: 100, as: 'probability' as const }
  await on.run('cosineTopK', { queries: g.queries, classes: g.classes, index, value, ...shape })
  t.deepEqual([...index], [...g.topIndex])
  close(t, value, g.topValue, bound(16, on.epsilon, 100), 'value')
})

eachBackend(
  'conv gives the golden values',
  (['stride2', 'kernel1'] as const).map(name => ({ name })),
  async (t, on, { name }) => {
    const g = golden('conv')
    const out = new Float32Array(g[name].length)
    const image = { images: 2, height: 6, width: 7, inChannels: 5, outChannels: 4 }
    // Columns 20 to 24 of each of the four rows of 45 are the middle of the 3 x 3 window.
    const middle = Float32Array.from(
      { length: 20 },
      (_, i) => g.weight[Math.floor(i / 5) * 45 + 20 + (i % 5)],
    )
    const how =
      name === 'kernel1'
        ? { weight: middle, kernel: 1, stride: 1, pad: 0, activation: 'relu' as const }
        : { weight: g.weight, kernel: 3, stride: 2, pad: 1, activation: 'relu' as const }
    await on.run('conv', { x: g.x, bias: g.bias, out, ...image, ...how })
    close(t, out, g[name], bound(46, on.epsilon, 20), name)
  },
)

eachBackend(
  'linear with a residual, then relu, gives the golden values',
  [{ name: 'end of a bottleneck' }],
  async (t, on) => {
    const g = golden('conv')
    const out = new Float32Array(24 * 4)
    const middle = Float32Array.from(
      { length: 20 },
      (_, i) => g.weight[Math.floor(i / 5) * 45 + 20 + (i % 5)],
    )
    const shape = { rows: 24, inFeatures: 5, outFeatures: 4, activation: 'relu' as const }
    const x = g.x.subarray(0, 24 * 5)
    await on.run('linear', { x, weight: middle, bias: g.bias, residual: g.residual, out, ...shape })
    close(t, out, g.bottleneck, bound(7, on.epsilon, 12), 'out')
  },
)

eachBackend(
  'pool gives the golden values',
  (['pool', 'poolAll'] as const).map(name => ({ name })),
  async (t, on, { name }) => {
    const g = golden('conv')
    const out = new Float32Array(g[name].length)
    const [kernelHeight, kernelWidth] = name === 'pool' ? [2, 2] : [6, 7]
    const image = { images: 2, height: 6, width: 7, channels: 5, kernelHeight, kernelWidth }
    await on.run('pool', { x: g.x, out, ...image })
    close(t, out, g[name], bound(42, on.epsilon, 4), name)
  },
)
