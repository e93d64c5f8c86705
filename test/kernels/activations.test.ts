/** QuickGELU, GELU, its tanh form and the sigmoid over all of float32, through a product with the number 1; and with them exp, which all end in. */

import { close } from '../helpers/close.js'
import { eachBackend } from '../helpers/each-backend.js'

/** Every 9973rd float32 and the neighbourhoods of what is special: about 430 000 numbers. */
function sweep(): Float32Array {
  const bits: number[] = []
  for (let b = 0; b < 2 ** 32; b += 9973) bits.push(b)
  const x = new Float32Array(Uint32Array.from(bits).buffer)
  const special = [0, -0, Infinity, -Infinity, Number.NaN, -52, -88.5, -104, 3.4e38, -3.4e38, 1e-45, -1e-45]
  const dense = Float32Array.from({ length: 40_000 }, (_, i) => (i - 20_000) / 1000)
  return Float32Array.from([...x, ...special, ...dense])
}

const u = 2 ** -24

/**
 * QuickGELU is x / (1 + exp(-1.702 x)): exp is off by 1.75 u (0.87 ulp), its argument by 2 u (the float32 1.702, and
 * the product), which moves exp by twice 1.702 |x| u, and the sum and the quotient round once each. Below -52 exp is infinite and the result -0, 1.6e-37 off.
 */
const quickGelu = (x: number, y: number): number =>
  (5 + 2 * 1.702 * Math.abs(x)) * u * Math.abs(y) * 1.01 + (x < -52 ? 1.6e-37 : 2 ** -149)

/**
 * GELU is x times Phi(x): its fit is off by 1.2e-7 of the smaller tail, the squared argument z^2 = x^2 / 2 of the
 * exponential by 2 u of itself, and ten roundings more. 1 - tail rounds once.
 */
const gelu = (x: number, y: number): number => {
  const tail = x < 0 ? Math.abs(y) : Math.abs(x - y)
  return (1.2e-7 + (10 + 3 * x * x) * u) * tail + 2 * u * Math.abs(y) + 2 ** -148 * Math.max(1, Math.abs(x))
}

/**
 * GELU's tanh form is x / (1 + exp(a)), a = x (c1 + c2 x^2): two constants, the square, the sum and the product move a by
 * 4 u of itself, which moves the sum by that times exp(a) / (1 + exp(a)); exp, the sum and the quotient as QuickGELU's.
 * From a = 88.7 on exp is infinite and the result -0, 3e-38 off.
 */
const geluTanh = (x: number, y: number): number => {
  const a = -2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)
  const moved = Math.abs(a) / (1 + Math.exp(-a))
  return Math.abs(y) * (5 + 4 * moved) * u * 1.01 + (a > 88.7 ? 4e-38 : 2 ** -149)
}

/** exp is off by 1.75 u, its argument is exact; the sum and the quotient round once each. Tiny exponentials round to subnormals. */
const sigmoid = (_x: number, y: number): number => 4 * u * y + 2 ** -149

const bounds = { quickGelu, gelu, geluTanh, sigmoid }

eachBackend(
  'activation functions agree with the reference over the range of float32',
  [
    { name: 'QuickGELU', activation: 'quickGelu' as const },
    { name: 'GELU', activation: 'gelu' as const },
    { name: 'tanh form of GELU', activation: 'geluTanh' as const },
    { name: 'sigmoid', activation: 'sigmoid' as const },
  ],
  async (t, on, { activation }) => {
    const x = sweep()
    const [got, want] = [new Float32Array(x.length), new Float32Array(x.length)]
    const a = { x, weight: Float32Array.of(1), rows: x.length, inFeatures: 1, outFeatures: 1, activation }
    await on.run('linear', { ...a, out: got })
    await on.reference('linear', { ...a, out: want })
    close(t, got, want, i => bounds[activation](x[i]!, want[i]!), activation)
    t.true(
      x.every((v, i) => !Number.isNaN(v) || Number.isNaN(got[i]!)),
      'NaN in gives NaN out',
    )
  },
  ({ device }) => device === 'cuda' && 'its functions are others: test/cuda/linear_cases.cc has their bounds',
)
