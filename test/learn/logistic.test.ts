import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { devices } from '../../lib/index.js'
import { binding, fromNative } from '../../lib/native/addon.js'
import { generator } from '../helpers/random.js'

interface Case {
  seed: number
  rows: number
  width: number
  classes: number
  spread: number
  c: number
  loss: number
  predictions: number[]
  close: number[]
}
const golden: { sklearn: string; cases: Case[] } = JSON.parse(
  readFileSync(join(packageRoot, 'test/golden/learn/logistic.json'), 'utf8'),
)

/** As make_logistic.py makes them. */
function problem({ seed, rows, width, classes, spread }: Case) {
  const next = generator(seed)
  const centres = Float64Array.from({ length: classes * width }, () => 2 * next() - 1)
  const labels = Int32Array.from({ length: rows }, (_, i) => i % classes)
  const features = Float32Array.from(
    { length: rows * width },
    (_, i) => centres[labels[Math.floor(i / width)]! * width + (i % width)]! + spread * (2 * next() - 1),
  )
  return { features, labels }
}

/** The objective and the logits, in double from what was returned. */
function evaluate(
  c: Case,
  features: Float32Array,
  labels: Int32Array,
  weights: Float32Array,
  bias: Float32Array,
) {
  let loss = weights.reduce((sum, w) => sum + w * w, 0) / 2
  const predictions: number[] = []
  for (let i = 0; i < c.rows; i++) {
    const z = Array.from(bias, (b, k) => {
      let sum = b
      for (let j = 0; j < c.width; j++) sum += weights[k * c.width + j]! * features[i * c.width + j]!
      return sum
    })
    const top = Math.max(...z)
    loss += c.c * (Math.log(z.reduce((sum, v) => sum + Math.exp(v - top), 0)) + top - z[labels[i]!]!)
    predictions.push(z.indexOf(top))
  }
  return { loss, predictions }
}

const backends = devices().flatMap(d =>
  d.backends.filter(b => b.available && d.name !== 'cuda').map(b => b.name),
)

let job = 1_000_000
const train = (c: Case, backend: string, threads: number, more: object = {}) => {
  const { features, labels } = problem(c)
  const weights = new Float32Array(c.classes * c.width)
  const bias = new Float32Array(c.classes)
  const number = job++
  const done = fromNative(() =>
    binding().learn.logistic(number, {
      features,
      labels,
      rows: c.rows,
      width: c.width,
      classes: c.classes,
      c: c.c,
      maxIterations: 5000,
      weights,
      bias,
      threads,
      backend,
      ...more,
    }),
  )
  return { features, labels, weights, bias, done, number }
}

for (const c of golden.cases)
  test(`a fit reaches scikit-learn's optimum and predictions: ${c.rows} x ${c.width}, ${c.classes} classes, C ${c.c}`, async t => {
    for (const backend of backends) {
      const { features, labels, weights, bias, done } = train(c, backend, 2)
      const report = await done
      t.true(report.converged, `${backend}: ${JSON.stringify(report)}`)
      const { loss, predictions } = evaluate(c, features, labels, weights, bias)
      t.true(loss <= c.loss * (1 + 1e-6), `${backend}: ${loss} against ${c.loss}`)
      t.true(Math.abs(loss - report.loss) <= 1e-6 * c.loss, `${backend}: says ${report.loss}, is ${loss}`)
      const close = new Set(c.close)
      t.deepEqual(
        predictions.flatMap((p, i) => (p !== c.predictions[i] && !close.has(i) ? [i] : [])),
        [],
        backend,
      )
    }
  })

test('the number of threads does not change the bits', async t => {
  for (const c of [golden.cases[2]!, golden.cases[5]!]) {
    const [one, two] = [train(c, 'reference', 1), train(c, 'reference', 2)]
    await Promise.all([one.done, two.done])
    t.deepEqual(one.weights, two.weights)
    t.deepEqual(one.bias, two.bias)
  }
})

test('a fit starts from given weights, stops when it is aborted and reports when it had too few iterations', async t => {
  const c = golden.cases[3]!
  const first = train(c, backends[0]!, 1)
  const all = await first.done
  const again = train(c, backends[0]!, 1, { weights: first.weights, bias: first.bias })
  t.true((await again.done).iterations < all.iterations / 2)
  const short = await train(c, backends[0]!, 1, { maxIterations: 3 }).done
  t.false(short.converged)
  t.is(short.iterations, 3)
  t.true(short.loss > all.loss)
  const cancelled = train(golden.cases[5]!, 'reference', 1)
  binding().learn.cancel(cancelled.number)
  await t.throwsAsync(cancelled.done, { code: 'ERR_CLIP_ABORTED' })
})

test('a fit on features with NaN ends with a report that says so', async t => {
  const c = golden.cases[0]!
  const features = problem(c).features
  features[7] = Number.NaN
  const report = await train(c, backends[0]!, 1, { features }).done
  t.false(report.converged)
  t.true(Number.isNaN(report.loss))
})

test('native code checks its arguments', async t => {
  const c = golden.cases[0]!
  for (const [more, message] of [
    [{ labels: new Int32Array(c.rows).fill(2) }, /`labels\[0\]`/],
    [{ labels: new Int32Array(3) }, /`labels` to have 60/],
    [{ features: new Float32Array(5) }, /`features` to have 300/],
    [{ weights: new Float32Array(9) }, /`weights` to have 10/],
    [{ c: 0 }, /`c` to be more than 0/],
    [{ classes: 1 }, /`classes`/],
  ] as const)
    await t.throwsAsync(train(c, backends[0]!, 1, more).done, { instanceOf: TypeError, message })
})
