import test, { type ExecutionContext } from 'ava'
import { binding } from '../../lib/binding.js'
import { nextJob } from '../../lib/calls.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { goldenPath, goldenPixels, goldens } from './goldens.js'

function closeTo(t: ExecutionContext, what: string, actual: Float32Array, rows: number[][]): void {
  const dim = rows[0].length
  t.is(actual.length, rows.length * dim, `${what}: floats`)
  rows.forEach((expected, r) => {
    const row = actual.subarray(r * dim, (r + 1) * dim)
    const norm = (v: ArrayLike<number>) => Math.sqrt(Array.from(v).reduce((s, x) => s + x * x, 0))
    const scale = norm(expected)
    let worst = 0
    let dot = 0
    for (let i = 0; i < dim; ++i) {
      // Differences of the normalised embeddings; written so that NaN fails.
      const difference = Math.abs(row[i] / norm(row) - expected[i] / scale)
      if (!(difference <= worst)) worst = difference
      dot += row[i] * expected[i]
    }
    t.true(worst <= 1e-5, `${what} ${r}: largest difference ${worst}`)
    t.true(dot / (scale * norm(row)) >= 0.999999, `${what} ${r}: cosine ${dot / (scale * norm(row))}`)
    t.true(Math.abs(norm(row) / scale - 1) <= 1e-5, `${what} ${r}: length ${norm(row)}, expected ${scale}`)
  })
}

for (const device of ['auto', 'reference'] as const)
  for (const [name, golden] of Object.entries(goldens)) {
    test(`${name} on ${device}: embeddings are those of ${golden.madeBy}`, async t => {
      const { model: spec, preprocess } = await readCheckpoint(goldenPath(name), {
        activation: golden.activation,
      })
      t.true(Math.abs(spec.logitScale / Math.exp(2.75) - 1) < 1e-6)
      t.is(spec.image?.imageSize, golden.imageSize)
      const options = { device, dtype: 'float32', threads: 1, maxBatchRows: 512 } as const
      const model = await binding().loadModel(nextJob(), spec, preprocess, options)
      try {
        const images = goldenPixels(golden.imageSize).map(planes => ({ planes }))
        closeTo(t, 'image', await model.encodeImage(nextJob(), images, 'embedding', false), golden.image)
        const ids = Int32Array.from(golden.texts.flat())
        const lengths = Int32Array.from(golden.texts.map(text => text.length))
        closeTo(t, 'text', await model.encodeText(nextJob(), ids, lengths, 'embedding', false), golden.text)
      } finally {
        await model.dispose()
      }
    })
  }
