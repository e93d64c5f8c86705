import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { infoNCE } from '../../lib/kernels.js'
import { casesOf } from '../helpers/cases.js'
import { bound, close, sameBytes } from '../helpers/close.js'
import { eachBackend, type Running } from '../helpers/each-backend.js'
import { generator } from '../helpers/random.js'

interface Inputs {
  name: string
  seed: number
  rows: number
  dim: number
  /** How much a text's row is its image's. */
  alike: number
  scale: number
}

interface Golden extends Inputs {
  loss: number
  scaleGradient: number
  pick: number[]
  images: number[]
  texts: number[]
  imagesNorm: number
  textsNorm: number
}

const golden: { cases: Golden[] } = JSON.parse(
  readFileSync(join(packageRoot, 'test/golden/learn/info-nce.json'), 'utf8'),
)

/** As make_info_nce.py makes them. */
function inputs({ seed, rows, dim, alike }: Inputs): { images: Float32Array; texts: Float32Array } {
  const next = generator(seed)
  const values = Float64Array.from({ length: 2 * rows * dim }, () => 2 * next() - 1)
  const unit = (row: (i: number) => number) => {
    const out = new Float32Array(rows * dim)
    for (let r = 0; r < rows; r++) {
      let square = 0
      for (let j = r * dim; j < (r + 1) * dim; j++) square += row(j) ** 2
      for (let j = r * dim; j < (r + 1) * dim; j++) out[j] = row(j) / Math.sqrt(square)
    }
    return out
  }
  return {
    images: unit(i => values[i]!),
    texts: unit(i => alike * values[i]! + (1 - alike) * values[rows * dim + i]!),
  }
}

async function lossOf(run: Running['run'], c: Inputs, gradients = true, threads = 2) {
  const values = new Float64Array(2).fill(Number.NaN)
  const imagesGradient = new Float32Array(c.rows * c.dim).fill(Number.NaN)
  const textsGradient = imagesGradient.slice()
  await run('infoNce', {
    ...inputs(c),
    rows: c.rows,
    dim: c.dim,
    logitScale: c.scale,
    values,
    threads,
    ...(gradients ? { imagesGradient, textsGradient } : {}),
  })
  return { loss: values[0]!, scaleGradient: values[1]!, imagesGradient, textsGradient }
}

/** Of a logit: a dot product of rows of length 1, times the scale. */
const logitError = (c: Inputs, epsilon: number) => c.scale * (bound(c.dim, epsilon, 1) + 2 * epsilon)
/** Of a probability, relative: two logits, an exponential, a sum of as many as there are rows. */
const probabilityError = (c: Inputs, epsilon: number) =>
  2 * logitError(c, epsilon) + bound(c.rows, epsilon, 1) + 8 * epsilon

/** The most that one row's probabilities in both directions can add up to. */
function largestShare(c: Inputs): number {
  const { images, texts } = inputs(c)
  const { rows, dim, scale } = c
  const exps = Array.from({ length: rows }, (_, i) =>
    Array.from({ length: rows }, (_, j) => {
      let dot = 0
      for (let k = 0; k < dim; k++) dot += images[i * dim + k]! * texts[j * dim + k]!
      return Math.exp(scale * (dot - 1))
    }),
  )
  const ofRow = exps.map(row => row.reduce((a, b) => a + b))
  const ofColumn = exps.map((_, j) => exps.reduce((sum, row) => sum + row[j]!, 0))
  const byText = exps.map(row => row.reduce((sum, e, j) => sum + e / ofColumn[j]!, 0))
  const byImage = ofColumn.map((_, j) => exps.reduce((sum, row, i) => sum + row[j]! / ofRow[i]!, 0))
  return 1 + Math.max(...byText, ...byImage)
}

const cases = casesOf('infoNce', { rows: 0, dim: 0, logitScale: 0, alike: 0.5 }).map(c => ({
  ...c,
  seed: 11,
  scale: c.logitScale,
}))

eachBackend('infoNce agrees with the reference', cases, async (t, on, c) => {
  const [got, want] = [await lossOf(on.run, c), await lossOf(on.reference, c)]
  const epsilon = on.epsilon
  t.true(Math.abs(got.loss - want.loss) <= 2 * logitError(c, epsilon) + 8 * epsilon + 1e-12)
  // Each element is scale / (2 rows) * sum of (p - 2 [i = j]) y, |y| <= 1, then a sum over the rows.
  const share = largestShare(c)
  const relative = probabilityError(c, epsilon) + bound(c.rows, epsilon, 1) + 4 * epsilon
  const limit = (c.scale / (2 * c.rows)) * (share + 2) * relative + 1e-30
  close(t, got.imagesGradient, want.imagesGradient, limit, 'images gradient')
  close(t, got.textsGradient, want.textsGradient, limit, 'texts gradient')
  t.true(Math.abs(got.scaleGradient - want.scaleGradient) <= (share + 2) * relative + 1e-12)
  // Threads do not show, and the loss alone has the same bits.
  const one = await lossOf(on.run, c, true, 1)
  sameBytes(t, one.imagesGradient, got.imagesGradient)
  sameBytes(t, one.textsGradient, got.textsGradient)
  t.is(one.loss, got.loss)
  t.is(one.scaleGradient, got.scaleGradient)
  const alone = await lossOf(on.run, c, false)
  if (on.borrowed.includes('infoNce'))
    t.true(Math.abs(alone.loss - want.loss) <= 2 * logitError(c, epsilon) + 8 * epsilon + 1e-12)
  else t.is(alone.loss, got.loss)
  t.true(Number.isNaN(alone.scaleGradient))
})

eachBackend(
  'infoNce agrees with PyTorch',
  golden.cases.map(c => ({ ...c, name: `${c.rows} x ${c.dim}, scale ${c.scale}` })),
  async (t, on, c) => {
    const got = await lossOf(on.run, c)
    t.true(Math.abs(got.loss - c.loss) <= 1e-5 * Math.max(1, c.loss), `${got.loss} against ${c.loss}`)
    t.true(Math.abs(got.scaleGradient - c.scaleGradient) <= 1e-5, `${got.scaleGradient}`)
    for (const name of ['images', 'texts'] as const)
      for (const [i, at] of c.pick.entries()) {
        const value = got[`${name}Gradient`][at]!
        const off = Math.abs(value - c[name][i]!)
        t.true(off <= 1e-5 * Math.max(1, c[`${name}Norm`]), `${name}[${at}]: ${value} against ${c[name][i]}`)
      }
  },
)

eachBackend('infoNce with a NaN gives NaN', [{ name: 'in one image' }], async (t, on) => {
  const c = golden.cases[0]!
  const { images, texts } = inputs(c)
  images[5] = Number.NaN
  const values = new Float64Array(2)
  await on.run('infoNce', { images, texts, rows: c.rows, dim: c.dim, logitScale: 1, values })
  t.true(Number.isNaN(values[0]!))
})

test('infoNCE returns the same numbers in new arrays and in those of the caller, and names invalid arguments', async t => {
  const c = golden.cases[2]!
  const { images, texts } = inputs(c)
  const a = { images, texts, rows: c.rows, dim: c.dim, logitScale: c.scale }
  const { loss, gradients } = await infoNCE(a)
  t.true(Math.abs(loss - c.loss) <= 1e-5)
  t.true(Math.abs(gradients!.logitScale - c.scaleGradient) <= 1e-5)
  const out = { images: new Float32Array(c.rows * c.dim), texts: new Float32Array(c.rows * c.dim) }
  const again = await infoNCE({ ...a, out })
  t.is(again.gradients!.images, out.images)
  sameBytes(t, out.images, gradients!.images)
  sameBytes(t, out.texts, gradients!.texts)
  const alone = await infoNCE({ ...a, gradients: false })
  t.is(alone.loss, loss)
  t.false('gradients' in alone)
  for (const [more, message] of [
    [{ texts: texts.subarray(1) }, /`texts` to have 1221 floats/],
    [{ rows: 0 }, /`rows`/],
    [{ logitScale: '3' }, /`logitScale` to be a number/],
    [{ gradients: false, out }, /`out` to be omitted/],
    [{ out: { images, texts: out.texts } }, /`out\.images`/],
    [{ out: { images: out.images, texts: out.images } }, /`out\.texts`/],
  ] as const)
    await t.throwsAsync(infoNCE({ ...a, ...(more as object) }), { message })
})

test('infoNCE of 4096 pairs needs memory for a block of rows and a multiple of the inputs, not for all pairs', async t => {
  const script = `
    const { infoNCE } = await import(${JSON.stringify(pathToFileURL(join(packageRoot, 'dist/lib/kernels.js')).href)})
    const rows = 4096, dim = 64
    const make = seed => Float32Array.from({ length: rows * dim }, (_, i) => Math.sin(i * seed) / 8)
    const a = { images: make(1.1), texts: make(1.3), rows, dim, threads: 2 }
    await infoNCE({ ...a, images: a.images.slice(0, 64), texts: a.texts.slice(0, 64), rows: 1 })
    const before = process.resourceUsage().maxRSS
    const { loss, gradients } = await infoNCE(a)
    if (!Number.isFinite(loss) || !gradients.images.every(Number.isFinite)) throw new Error('not finite')
    console.log((process.resourceUsage().maxRSS - before) / 1024)`
  const grew = Number(
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }),
  )
  t.log(`peak RSS grew by ${grew.toFixed(1)} MB; the matrix of all pairs is 64 MB`)
  // Two gradients, four packed copies and one turned one of 1 MB each, a block of 2.8 MB; and what the allocator rounds.
  t.true(grew < 32, `${grew} MB`)
})
