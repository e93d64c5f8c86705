import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { devices } from '../../lib/index.js'
import { binding, fromNative } from '../../lib/native/addon.js'
import { generator } from '../helpers/random.js'

interface Some {
  at: number[]
  values: number[]
}
interface Settings {
  epochs: number
  batch: number
  rate: number
  decay: number
  seed: number
  scale: number
  dim: number
  loss: number
}
interface Tip extends Settings {
  rows: number
  classes: number
  alpha: number
  beta: number
  keys: Some
}
interface Contrastive extends Settings {
  pairs: number
  wi: number
  wt: number
  bias: boolean
  logitScale: number
  image: Some
  text: Some
}
const golden: { tip: Tip[]; contrastive: Contrastive[] } = JSON.parse(
  readFileSync(join(packageRoot, 'test/golden/learn/training.json'), 'utf8'),
)
const backends = devices().flatMap(d =>
  d.backends.filter(b => b.available && d.name !== 'cuda').map(b => b.name),
)

function uniform(seed: number, n: number): Float64Array {
  const next = generator(seed)
  return Float64Array.from({ length: n }, () => 2 * next() - 1)
}

function unit(values: ArrayLike<number>, dim: number): Float32Array {
  const out = new Float32Array(values.length)
  for (let r = 0; r < values.length; r += dim) {
    let square = 0
    for (let j = r; j < r + dim; j++) square += values[j]! ** 2
    for (let j = r; j < r + dim; j++) out[j] = values[j]! / Math.sqrt(square)
  }
  return out
}

/**
 * AdamW divides by the root of a mean square, so a gradient that is almost 0 may move a parameter either way by the
 * rate: half a percent of what all steps together could move it is allowed.
 */
function near(t: ExecutionContext, got: Float32Array, want: Some, s: Settings, what: string): void {
  const limit = 1e-5 + 0.005 * s.rate * s.epochs
  for (const [i, at] of want.at.entries())
    t.true(
      Math.abs(got[at]! - want.values[i]!) <= limit,
      `${what}[${at}]: ${got[at]} against ${want.values[i]}`,
    )
}

let job = 2_000_000
const settings = (s: Settings, backend: string) => ({
  epochs: s.epochs,
  batch: s.batch,
  rate: s.rate,
  weightDecay: s.decay,
  seed: s.seed,
  logitScale: s.scale,
  threads: 2,
  backend,
})

function tipInputs(c: Tip) {
  const labels = Int32Array.from({ length: c.rows }, (_, i) => i % c.classes)
  const centres = uniform(2, c.classes * c.dim)
  const features = unit(
    uniform(1, c.rows * c.dim).map(
      (v, i) => v + 2 * centres[labels[Math.floor(i / c.dim)]! * c.dim + (i % c.dim)]!,
    ),
    c.dim,
  )
  return { labels, features, classes: unit(uniform(3, c.classes * c.dim), c.dim), keys: features.slice() }
}

for (const c of golden.tip)
  test(`Tip-Adapter-F agrees with PyTorch: ${c.rows} keys, ${c.epochs} epochs, batches of ${c.batch}`, async t => {
    for (const backend of backends) {
      const { labels, features, classes, keys } = tipInputs(c)
      const loss = await fromNative(() =>
        binding().learn.tipAdapter(job++, {
          ...settings(c, backend),
          features,
          labels,
          classes,
          keys,
          owners: labels,
          rows: c.rows,
          dim: c.dim,
          classCount: c.classes,
          keyCount: c.rows,
          alpha: c.alpha,
          beta: c.beta,
        }),
      )
      t.true(Math.abs(loss - c.loss) <= 1e-4 * c.loss, `${backend}: ${loss} against ${c.loss}`)
      near(t, keys, c.keys, c, backend)
    }
  })

function side(seed: number, n: number, width: number, dim: number) {
  return {
    features: Float32Array.from(uniform(seed, n * width)),
    width,
    projection: Float32Array.from(uniform(seed + 2, dim * width), v => 0.3 * v),
  }
}

for (const c of golden.contrastive)
  test(`contrastive adaptation agrees with PyTorch: ${c.pairs} pairs, ${c.epochs} epochs, batches of ${c.batch}`, async t => {
    for (const backend of backends) {
      const images = side(4, c.pairs, c.wi, c.dim)
      const texts = side(5, c.pairs, c.wt, c.dim)
      const result = await fromNative(() =>
        binding().learn.contrastive(job++, {
          ...settings(c, backend),
          images: c.bias ? { ...images, bias: Float32Array.from(uniform(8, c.dim)) } : images,
          texts,
          pairs: c.pairs,
          embedDim: c.dim,
        }),
      )
      t.true(Math.abs(result.loss - c.loss) <= 1e-3 * c.loss, `${backend}: ${result.loss} against ${c.loss}`)
      t.true(
        Math.abs(result.logitScale - c.logitScale) <= 1e-3 * c.logitScale,
        `${backend}: ${result.logitScale}`,
      )
      t.true(result.logitScale <= 100 * (1 + 1e-12))
      near(t, images.projection, c.image, c, `${backend} image`)
      near(t, texts.projection, c.text, c, `${backend} text`)
    }
  })

test('an abort stops the training', async t => {
  const c = { ...golden.contrastive[0]!, epochs: 1_000_000 }
  const number = job++
  const done = fromNative(() =>
    binding().learn.contrastive(number, {
      ...settings(c, backends[0]!),
      images: side(4, c.pairs, c.wi, c.dim),
      texts: side(5, c.pairs, c.wt, c.dim),
      pairs: c.pairs,
      embedDim: c.dim,
    }),
  )
  binding().learn.cancel(number)
  await t.throwsAsync(done, { code: 'ERR_CLIP_ABORTED' })
})

test('native code checks its arguments', async t => {
  const c = golden.contrastive[0]!
  const call = (more: object) =>
    fromNative(() =>
      binding().learn.contrastive(job++, {
        ...settings(c, backends[0]!),
        images: side(4, c.pairs, c.wi, c.dim),
        texts: side(5, c.pairs, c.wt, c.dim),
        pairs: c.pairs,
        embedDim: c.dim,
        ...more,
      }),
    )
  for (const [more, message] of [
    [{ pairs: 1 }, /`pairs`/],
    [{ pairs: 13 }, /`images\.features` to have 91/],
    [
      { texts: { ...side(5, c.pairs, c.wt, c.dim), projection: new Float32Array(3) } },
      /`texts\.projection` to have 30/,
    ],
    [{ batch: 1 }, /`batch` to be 2 or more/],
    [{ rate: 0 }, /`rate` to be more than 0/],
    [{ logitScale: Number.NaN }, /`logitScale`/],
  ] as const)
    await t.throwsAsync(call(more), { instanceOf: TypeError, message })
})
