/** A float32 model keeps a matrix in float16 where that changes no weight, and only there. */

import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type LoadOptions, load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import { close } from '../helpers/close.js'
import { type TinyShape, writeTinyModel } from '../helpers/tiny-model.js'
import { bits, red } from './helpers.js'

const root = mkdtempSync(join(tmpdir(), 'clip-native-float16-'))
test.after.always(() => rmSync(root, { recursive: true, force: true }))

const width = 48
const shape: Partial<TinyShape> = { width, heads: 3 }
/** Multiples of 2^-12 below 2^-3: nine bits. */
const round = (values: Float32Array) => values.set(values.map(v => Math.round(v * 4096) / 4096))
const odd = 'text_model.encoder.layers.0.mlp.fc1.weight'

const all = writeTinyModel(
  join(root, 'all'),
  shape,
  1,
  (name, values) => name !== 'logit_scale' && round(values),
)
// The very last weight of a matrix of six panels, so that most of it has been packed before anybody knows.
const allButOne = writeTinyModel(join(root, 'all-but-one'), shape, 1, (name, values) => {
  if (name !== 'logit_scale') round(values)
  if (name === odd) values[values.length - 1] = 1 / 3
})
const none = writeTinyModel(join(root, 'none'), shape, 1)

async function run(model: string, options: LoadOptions) {
  await using clip = await load(model, { threads: 2, ...options })
  const image = (await clip.encodeImage([red])).data
  const text = (await clip.encodeText(['a dog', 'two red cats and a very long tail'])).data
  return { bytes: clip.info.weightBytes, use: clip.info.packCache, image, text }
}
const bitsOf = (r: { image: Float32Array; text: Float32Array }) => [bits(r.image), bits(r.text)]

for (const { name, device } of binding()
  .backends()
  .filter(b => b.available && b.device !== 'cuda'))
  test.serial(`matrices of ${name} are stored in float16 if it represents every weight`, async t => {
    const before = process.env.CLIP_NATIVE_BACKEND
    process.env.CLIP_NATIVE_BACKEND = name
    try {
      const options: LoadOptions = { device: device === 'reference' ? 'reference' : 'auto' }
      const [narrow, mixed, wide] = [
        await run(await all, options),
        await run(await allButOne, options),
        await run(await none, options),
      ]
      const matrix = 4 * width * width
      t.is(mixed.bytes - narrow.bytes, 2 * matrix)
      // 12 width^2 per block, less what stays float32 everywhere: the token table.
      t.true(wide.bytes - narrow.bytes >= 2 * 4 * 12 * width * width)
      // One weight of 36864 is another one: not the same text, nearly the same, and the same image.
      t.deepEqual(bits(mixed.image), bits(narrow.image))
      t.notDeepEqual(bits(mixed.text), bits(narrow.text))
      const plain = await run(await allButOne, { device: 'reference' })
      close(t, mixed.text, plain.text, 1e-5, 'text')
      close(t, mixed.image, plain.image, 1e-5, 'image')

      const cacheDir = join(root, `cache-${name}`)
      const written = await run(await allButOne, { ...options, cacheDir, packCache: true })
      const mapped = await run(await allButOne, { ...options, cacheDir, packCache: true })
      t.deepEqual([written.use, mapped.use], ['written', 'mapped'])
      t.deepEqual(bitsOf(written), bitsOf(mixed))
      t.deepEqual(bitsOf(mapped), bitsOf(mixed))
      t.is(mapped.bytes, mixed.bytes)
      const [file] = readdirSync(join(cacheDir, 'packed'))
      t.is(statSync(join(cacheDir, 'packed', file!)).size, 4096 + mixed.bytes)
    } finally {
      if (before === undefined) delete process.env.CLIP_NATIVE_BACKEND
      else process.env.CLIP_NATIVE_BACKEND = before
    }
  })
