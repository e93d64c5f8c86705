/** Kernels in float64 and plain loops: what the reference backend is compared with, which is nobody's oracle of itself. */

/**
 * The complement of the error function, to more digits than a float32 has, small values included: one minus the series
 * of erf, and its continued fraction from 3 on.
 */
function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x)
  if (x < 3) {
    let term = x
    let sum = x
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-x * x) / n
      sum += term / (2 * n + 1)
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum
  }
  let fraction = 0
  for (let n = 60; n > 0; n--) fraction = n / 2 / (x + fraction)
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction)
}

const activations = {
  none: (v: number) => v,
  relu: (v: number) => v, // comes after the residual
  quickGelu: (v: number) => v / (1 + Math.exp(-1.702 * v)),
  gelu: (v: number) => 0.5 * v * erfc(-v / Math.SQRT2),
  geluTanh: (v: number) => v / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
  sigmoid: (v: number) => 1 / (1 + Math.exp(-v)),
}

interface Linear {
  x: Float32Array
  weight: Float32Array
  bias?: Float32Array
  residual?: Float32Array
  out: Float32Array
  rows: number
  inFeatures: number
  outFeatures: number
  activation: keyof typeof activations
}

export function linear({ rows, inFeatures: n, outFeatures, activation, ...a }: Linear): void {
  for (let r = 0; r < rows; r++)
    for (let o = 0; o < outFeatures; o++) {
      let sum = 0
      for (let i = 0; i < n; i++) sum += a.x[r * n + i] * a.weight[o * n + i]
      const v = activations[activation](sum + (a.bias?.[o] ?? 0)) + (a.residual?.[r * outFeatures + o] ?? 0)
      a.out[r * outFeatures + o] = activation === 'relu' && v < 0 ? 0 : v
    }
}

interface LayerNorm {
  x: Float32Array
  weight: Float32Array
  bias: Float32Array
  out: Float32Array
  rows: number
  cols: number
  epsilon: number
}

export function layerNorm({ x, weight, bias, out, rows, cols, epsilon }: LayerNorm): void {
  for (let at = 0; at < rows * cols; at += cols) {
    let mean = 0
    let variance = 0
    for (let i = 0; i < cols; i++) mean += x[at + i] / cols
    for (let i = 0; i < cols; i++) variance += (x[at + i] - mean) ** 2 / cols
    for (let i = 0; i < cols; i++)
      out[at + i] = ((x[at + i] - mean) / Math.sqrt(variance + epsilon)) * weight[i] + bias[i]
  }
}

interface Attention {
  q: Float32Array
  k: Float32Array
  v: Float32Array
  out: Float32Array
  sequences: number
  length: number
  heads: number
  headDim: number
  mask: 'full' | 'causal' | 'tree'
  first?: Int32Array
  parent?: Int32Array
  queryRow?: Int32Array
}

export function attention({ q, k, v, out, length, heads, headDim, mask, ...a }: Attention): void {
  const cols = heads * headDim
  const first = a.first ?? Int32Array.from({ length: a.sequences * length }, (_, r) => r - (r % length))
  const rows = a.queryRow ?? first.map((_, r) => r)
  for (const [i, row] of rows.entries()) {
    const keys: number[] = []
    if (mask === 'tree') for (let r = row; r >= 0; r = a.parent![r]) keys.unshift(r)
    else for (let r = first[row]; first[r] === first[row]; r++) if (mask === 'full' || r <= row) keys.push(r)
    for (let h = 0; h < cols; h += headDim) {
      const scores = keys.map(key => {
        let dot = 0
        for (let d = h; d < h + headDim; d++) dot += q[i * cols + d] * k[key * cols + d]
        return dot / Math.sqrt(headDim)
      })
      const most = Math.max(...scores)
      const weights = scores.map(s => Math.exp(s - most))
      const total = weights.reduce((sum, w) => sum + w, 0)
      for (let d = h; d < h + headDim; d++)
        out[i * cols + d] = weights.reduce((sum, w, j) => sum + w * v[keys[j] * cols + d], 0) / total
    }
  }
}
