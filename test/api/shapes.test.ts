import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { Embeddings, load } from '../../lib/index.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

const root = await mkdtemp(join(tmpdir(), 'clip-shapes-'))
const clip = await load(await writeTinyModel(join(root, 'model'), { layers: 1, contextLength: 16 }))
const classifier = await clip.classifier(['cat', 'dog'])
test.after.always(async () => {
  await clip.dispose()
  await rm(root, { recursive: true, force: true })
})

/** Sizes that nobody's data has: each was believed once, and made arrays of it. */
const sizes = [
  1e9,
  3e8,
  2 ** 32,
  2 ** 53,
  1e300,
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  '3',
  null,
  {},
]
const data = new Float32Array(2 * 16)

for (const [what, shapeOf] of Object.entries({
  first: (size: unknown) => [size, 16],
  second: (size: unknown) => [2, size],
  both: (size: unknown) => [size, size],
  more: (size: unknown) => [2, 16, size],
}))
  test(`embeddings whose shape is not that of their data are refused: ${what}`, async t => {
    for (const size of sizes) {
      const wrong = new Embeddings(data, shapeOf(size) as never)
      const right = new Embeddings(new Float32Array(32), [2, 16] as const)
      const labels = ['cat', 'dog']
      for (const call of [
        () => clip.similarity(wrong, right),
        () => clip.similarity(right, wrong),
        () => classifier.classify(wrong),
        () => clip.linearProbe({ images: wrong, labels }, { output: 'embedding' }),
        () =>
          clip.linearProbe(
            { images: right, labels },
            { output: 'embedding', validation: { images: wrong, labels } },
          ),
        () => clip.tipAdapter({ images: wrong, labels }),
        () => clip.adapt({ images: wrong, texts: labels }),
        () => clip.adapt({ images: right, texts: wrong }),
        () => clip.encodeImage(wrong as never),
        () => clip.encodeImage([wrong] as never, { errors: 'collect' }),
      ]) {
        const error = await t.throwsAsync(call as () => Promise<unknown>, undefined, `${call}: ${size}`)
        t.is((error as { code?: string })?.code, 'ERR_CLIP_INPUT', `${call}: ${String(size)}`)
      }
    }
  })

test('preprocessed images whose shape is not that of their data are refused', async t => {
  const one = 3 * 16 * 16
  const shapes = [
    ...sizes.map(size => [size, 3, 16, 16]),
    ...sizes.map(size => [1, 3, size, size]),
    ...sizes.map(size => [1, size, 16, 16]),
    [256, 3, 1, 1],
    [0, 3, 16, 16],
    [1, 3, 16],
    [-1, 3, -16, 16],
    [-1, -3, 16, 16],
  ]
  for (const shape of shapes)
    for (const length of [one, 0]) {
      if (length === 0 && shape[0] === 0) continue // no images
      const wrong = { data: new Float32Array(length), shape } as never
      for (const call of [
        () => clip.encodeImage(wrong, { errors: 'collect' }),
        () => clip.encodeImage([wrong, wrong], { errors: 'collect' }),
        () => clip.preprocess(wrong),
        () => classifier.classify([wrong]),
      ]) {
        const error = await t.throwsAsync(
          call as () => Promise<unknown>,
          undefined,
          `[${shape}] of ${length}`,
        )
        t.is(
          (error as { code?: string })?.code,
          'ERR_CLIP_INPUT',
          `[${shape}] of ${length}: ${error?.message}`,
        )
      }
    }
  t.deepEqual(
    [...(await clip.encodeImage({ data: new Float32Array(0), shape: [0, 3, 16, 16] })).shape],
    [0, 16],
  )
})

test('a shape that changes after the call began is ignored', async t => {
  const shape = [2, 3, 16, 16]
  const promise = clip.encodeImage({ data: new Float32Array(2 * 3 * 16 * 16), shape })
  shape[0] = 1e9
  t.deepEqual([...(await promise).shape], [2, 16])
})
