import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { softmaxCrossEntropy } from '../../lib/kernels.js'
import { canaryFloats } from '../helpers/canary.js'
import { casesOf } from '../helpers/cases.js'
import { bound, close, largest, sameBytes } from '../helpers/close.js'
import { eachBackend, type Running } from '../helpers/each-backend.js'
import { toBfloat16s, widened } from '../helpers/narrow.js'
import { generator, integers, normal } from '../helpers/random.js'

/** Numbers that JSON does not have are strings. */
type Value = number | string
interface Golden {
  seed: number
  rows: number
  cols: number
  scale: number
  targets: number[]
  ignored: number[]
  loss: Value[]
  mean: Value
  pick: number[]
  gradient: Value[]
}
const golden: {
  cases: Golden[]
  extremes: { logits: Value[]; target: number; loss: Value; gradient: Value[] }[]
} = JSON.parse(readFileSync(join(packageRoot, 'test/golden/kernels/softmax-cross-entropy.json'), 'utf8'))
const floats = (values: Value[]) =>
  Float32Array.from(values, v => (v === 'inf' ? Infinity : v === '-inf' ? -Infinity : Number(v)))

interface Inputs {
  logits: Float32Array | Uint16Array
  targets: Int32Array
  mask?: Uint8Array
  rows: number
  cols: number
  dtype?: 'float32' | 'bfloat16'
}

async function lossOf(run: Running['run'], a: Inputs, more: { threads?: number; scale?: number } = {}) {
  const loss = canaryFloats(a.rows)
  const gradient = canaryFloats(a.rows * a.cols)
  const mean = new Float64Array(1)
  await run('softmaxCrossEntropy', {
    ...a,
    ...more,
    loss: loss.array,
    gradient: gradient.array,
    mean,
  })
  return { loss: loss.array, gradient: gradient.array, mean: mean[0]!, canaries: [loss, gradient] }
}

/**
 * A logit is exact and its difference from the largest rounds once, relative to their size; so does the exponential, and
 * the sum of as many as there are columns. A loss is a logarithm of that sum plus the difference.
 */
const relativeError = (cols: number, most: number, epsilon: number) =>
  4 * epsilon * most + bound(cols, epsilon, 1) + 16 * epsilon
const lossError = (cols: number, most: number, epsilon: number) =>
  relativeError(cols, most, epsilon) + 4 * epsilon * (most + Math.log(cols))

const cases = casesOf('softmaxCrossEntropy', { rows: 0, cols: 0, scale: 1 })

const inputs = ({ rows, cols, scale }: (typeof cases)[number]): Inputs => ({
  logits: normal(1, rows * cols, scale),
  targets: integers(2, rows, cols),
  mask: Uint8Array.from({ length: rows }, (_, r) => (r % 3 === 2 ? 0 : 1)),
  rows,
  cols,
})

eachBackend('softmaxCrossEntropy agrees with the reference', cases, async (t, on, c) => {
  const a = inputs(c)
  const [got, want] = [await lossOf(on.run, a), await lossOf(on.reference, a)]
  const most = 2 * largest(a.logits as Float32Array)
  close(t, got.loss, want.loss, lossError(c.cols, most, on.epsilon), 'loss')
  t.true(Math.abs(got.mean - want.mean) <= lossError(c.cols, most, on.epsilon))
  const counted = a.mask!.reduce((n, m) => n + m, 0)
  // A probability is at most 1; of the target 1 is subtracted.
  close(
    t,
    got.gradient,
    want.gradient,
    i =>
      (relativeError(c.cols, most, on.epsilon) * Math.min(1, Math.abs(want.gradient[i]!) * counted) +
        2 * on.epsilon * (i % c.cols === a.targets[Math.floor(i / c.cols)] ? 1 : 0)) /
        counted +
      1e-37,
    'gradient',
  )
  for (const canary of [...got.canaries, ...want.canaries]) canary.check(t)
  for (let r = 2; r < c.rows; r += 3) {
    t.is(got.loss[r], 0)
    t.true(got.gradient.subarray(r * c.cols, (r + 1) * c.cols).every(v => v === 0))
  }
})

eachBackend(
  'softmaxCrossEntropy gives the golden values',
  golden.cases.map(g => ({ ...g, name: `${g.rows} x ${g.cols}, scale ${g.scale}` })),
  async (t, on, g) => {
    const next = generator(g.seed)
    const logits = Float32Array.from({ length: g.rows * g.cols }, () => g.scale * (2 * next() - 1))
    const mask = Uint8Array.from({ length: g.rows }, (_, r) => (g.ignored.includes(r) ? 0 : 1))
    // Of rows that do not count, targets may be anything.
    const targets = Int32Array.from(g.targets, (target, r) => (mask[r] ? target : -100))
    const got = await lossOf(on.run, { logits, targets, mask, rows: g.rows, cols: g.cols })
    const limit = lossError(g.cols, 2 * g.scale, on.epsilon)
    close(t, got.loss, floats(g.loss), limit, 'loss')
    const mean = floats([g.mean])[0]!
    t.true(Object.is(got.mean, mean) || Math.abs(got.mean - mean) <= limit, `${got.mean} instead of ${mean}`)
    const picked = Float32Array.from(g.pick, i => got.gradient[i]!)
    close(t, picked, floats(g.gradient), relativeError(g.cols, 2 * g.scale, on.epsilon), 'gradient')
  },
)

eachBackend(
  'softmaxCrossEntropy of extreme logits gives the golden values',
  [{ name: 'row by row, and all at once' }],
  async (t, on) => {
    const rows = golden.extremes.length
    const cols = 4
    const logits = floats(golden.extremes.flatMap(e => e.logits))
    const mask = Uint8Array.from(golden.extremes, e => (e.target < 0 ? 0 : 1))
    const targets = Int32Array.from(golden.extremes, e => e.target)
    const all = await lossOf(on.run, { logits, targets, mask, rows, cols }, { scale: 1 })
    for (const [r, e] of golden.extremes.entries()) {
      const row = { logits: logits.subarray(r * cols, (r + 1) * cols), targets: targets.subarray(r, r + 1) }
      const one = await lossOf(on.run, { ...row, mask: mask.subarray(r, r + 1), rows: 1, cols }, { scale: 1 })
      close(
        t,
        one.loss,
        floats([e.loss]),
        4 * on.epsilon * Math.max(1, Math.abs(floats([e.loss])[0]!)),
        `loss ${r}`,
      )
      close(t, one.gradient, floats(e.gradient), 8 * on.epsilon, `gradient ${r}`)
      sameBytes(t, canonical(all.loss.subarray(r, r + 1)), canonical(one.loss))
      sameBytes(t, canonical(all.gradient.subarray(r * cols, (r + 1) * cols)), canonical(one.gradient))
    }
  },
)
/** A NaN's sign is nobody's business. */
const canonical = (x: Float32Array) => x.map(v => (Number.isNaN(v) ? Number.NaN : v))

eachBackend(
  'softmaxCrossEntropy of long rows with infinities and NaN gives the defined results',
  [{ name: 'in any block' }],
  async (t, on) => {
    const cols = 2100
    const bad: [at: number, value: number, nan: boolean][] = [
      [0, Infinity, true],
      [1500, Number.NaN, true],
      [2099, Infinity, true],
      [3, -Infinity, false],
    ]
    for (const [at, value, nan] of bad)
      for (const fill of [undefined, -Infinity]) {
        const logits = normal(3, cols)
        // A block of nothing but -Infinity before numbers.
        if (fill !== undefined) logits.fill(fill, 0, 1100)
        logits[at] = value
        const targets = Int32Array.of(2000)
        const [got, want] = [
          await lossOf(on.run, { logits, targets, rows: 1, cols }),
          await lossOf(on.reference, { logits, targets, rows: 1, cols }),
        ]
        t.is(Number.isNaN(got.loss[0]!), nan, `${value} at ${at}`)
        t.true(got.gradient.every(v => Number.isNaN(v) === nan))
        close(t, got.loss, want.loss, lossError(cols, 10, on.epsilon))
        close(t, got.gradient, want.gradient, 2 * relativeError(cols, 10, on.epsilon))
      }
    // What a row that does not count holds is nobody's business.
    const logits = new Float32Array(cols).fill(Number.NaN)
    const none = await lossOf(on.run, {
      logits,
      targets: Int32Array.of(-7),
      mask: new Uint8Array(1),
      rows: 1,
      cols,
    })
    t.is(none.loss[0], 0)
    t.true(none.gradient.every(v => v === 0))
    t.true(Number.isNaN(none.mean))
  },
)

eachBackend(
  'softmaxCrossEntropy gives a row the same bits in every batch',
  [{ name: '64 rows of 1100' }],
  async (t, on) => {
    const cols = 1100
    const c = { name: '', rows: 64, cols, scale: 5 }
    const { mask: _, ...a } = inputs(c)
    const all = await lossOf(on.run, a, { scale: 0.25, threads: 2 })
    for (const rows of [1, 7, 64])
      for (const threads of [1, 2]) {
        const from = 64 - rows
        const part = { logits: a.logits.subarray(from * cols), targets: a.targets.subarray(from), rows, cols }
        const got = await lossOf(on.run, part, { scale: 0.25, threads })
        sameBytes(t, got.loss, all.loss.subarray(from), `${rows} rows, ${threads} threads`)
        sameBytes(t, got.gradient, all.gradient.subarray(from * cols), `${rows} rows, ${threads} threads`)
        // The loss alone has the same bits.
        const loss = new Float32Array(rows)
        await on.run('softmaxCrossEntropy', { ...part, loss, mean: new Float64Array(1), threads })
        sameBytes(t, loss, got.loss)
      }
  },
)

eachBackend(
  'softmaxCrossEntropy in bfloat16 gives the rounded float32 results',
  [{ name: 'logits and gradient, in place' }],
  async (t, on) => {
    const [rows, cols] = [5, 1037]
    const { mask, targets, logits } = inputs({ name: '', rows, cols, scale: 4 })
    const narrow = toBfloat16s(logits as Float32Array)
    const wide = await lossOf(on.run, { logits: widened(narrow), targets, mask, rows, cols })
    const loss = new Float32Array(rows)
    const mean = new Float64Array(1)
    const both = { targets, mask, rows, cols, loss, mean, dtype: 'bfloat16', outDtype: 'bfloat16' } as const
    await on.run('softmaxCrossEntropy', { ...both, logits: narrow, gradient: narrow })
    sameBytes(t, loss, wide.loss)
    t.is(mean[0], wide.mean)
    sameBytes(t, narrow, toBfloat16s(wide.gradient))
    const inPlace = logits.slice() as Float32Array
    const apart = await lossOf(on.run, { logits, targets, mask, rows, cols })
    await on.run('softmaxCrossEntropy', {
      targets,
      mask,
      rows,
      cols,
      loss,
      mean,
      logits: inPlace,
      gradient: inPlace,
    })
    sameBytes(t, inPlace, apart.gradient)
  },
)

test('softmaxCrossEntropy returns losses, mean and gradient in new arrays and in those of the caller, and names invalid arguments', async t => {
  const [rows, cols] = [4, 6]
  const { logits, targets } = inputs({ name: '', rows, cols, scale: 2 })
  const a = { logits: logits as Float32Array, targets, rows, cols }
  const { loss, mean, gradient } = await softmaxCrossEntropy(a)
  t.is(loss.length, rows)
  t.true(Math.abs(mean - loss.reduce((sum, v) => sum + v, 0) / rows) < 1e-6)
  // Probabilities add up to 1, so each row of the gradient adds up to 0.
  for (let r = 0; r < rows; r++)
    t.true(Math.abs(gradient!.subarray(r * cols, (r + 1) * cols).reduce((sum, v) => sum + v, 0)) < 1e-6)
  const sum = await softmaxCrossEntropy({ ...a, gradientScale: 1 })
  close(
    t,
    sum.gradient!,
    gradient!.map(v => v * rows),
    1e-6,
  )
  const out = { loss: new Float32Array(rows), gradient: new Uint16Array(rows * cols) }
  const narrow = await softmaxCrossEntropy({ ...a, out })
  t.is(narrow.gradient, out.gradient)
  sameBytes(t, out.gradient, toBfloat16s(gradient!))
  sameBytes(t, out.loss, loss)
  const alone = await softmaxCrossEntropy({ ...a, gradient: false })
  t.false('gradient' in alone)
  t.is(alone.mean, mean)
  const own = a.logits.slice()
  await softmaxCrossEntropy({ ...a, logits: own, out: { gradient: own } })
  sameBytes(t, own, gradient!)
  for (const [more, message] of [
    [{ logits: a.logits.subarray(1) }, /`logits` to have 24 floats \(4 rows x 6 cols\)/],
    [{ logits: [1, 2] }, /`logits` to be a Float32Array or a Uint16Array of bfloat16/],
    [{ targets: Int32Array.of(0, 1, 6, 2) }, /`targets\[2\]` to be an integer from 0 to 5, got 6/],
    [{ targets: Int32Array.of(0, 1, -1, 2) }, /`targets\[2\]`/],
    [{ targets: [0, 1, 2, 3] }, /`targets` to be an Int32Array/],
    [{ mask: new Uint8Array(3) }, /`mask` to have 4 bytes/],
    [{ mask: [1, 1, 1, 1] }, /`mask` to be a Uint8Array/],
    [{ cols: 0 }, /`cols`/],
    [{ gradientScale: Number.NaN }, /`gradientScale` to be finite/],
    [{ gradient: false, out }, /`out\.gradient` to be omitted/],
    [{ out: { loss: a.logits.subarray(0, 4) } }, /`out\.loss` to share no memory with `logits`/],
    [{ out: { gradient: new Float64Array(24) } }, /`out\.gradient` to be a Float32Array or a Uint16Array/],
  ] as const)
    await t.throwsAsync(softmaxCrossEntropy({ ...a, ...(more as object) }), {
      message,
      code: 'ERR_CLIP_INPUT',
    })
})
