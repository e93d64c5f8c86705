/** `decode: 'fast'`: JPEG at a fraction of its size is Pillow's `Image.draft`, byte for byte; what is not scaled is exact. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import sharp from 'sharp'
import type { ClipError } from '../../lib/base/errors.js'
import { packageRoot } from '../../lib/base/package.js'
import { decodeImage, prepareImage } from '../../lib/image/decode.js'
import type { Scale, ScaledDecoder } from '../../lib/image/decode-mode.js'
import type { DecodedImage } from '../../lib/image/pixels.js'
import { scaleFor } from '../../lib/image/scaled.js'
import { type Clip, evaluate, load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import { scaledDecoder } from '../../lib/native/scaled-decoder.js'
import { entriesTest } from '../helpers/entries-test.js'
import { bytesOf, sha256 } from './bytes.js'

interface Golden {
  file: string
  scale: Scale
  mode: DecodedImage['mode']
  width: number
  height: number
  pixels: string
  sha256: Record<string, string>
  turned?: string
}
const folder = join(packageRoot, 'test', 'golden', 'image')
const golden: Golden[] = JSON.parse(readFileSync(join(folder, 'scaled.json'), 'utf8'))
const inFiles = (name: string) => join(folder, 'files', name)
const preprocess = {
  size: 72,
  interpolation: 'bicubic',
  mode: 'shortest',
  mean: [0, 0, 0],
  std: [1, 1, 1],
} as const

/** Decodes at this scale whatever the size of the image is. */
const at = (scale: Scale | 1): { decode: 'fast'; scaled: ScaledDecoder } => ({
  decode: 'fast',
  scaled: { ...scaledDecoder({ ...preprocess, mean: [0, 0, 0], std: [1, 1, 1] }), scaleOf: () => scale },
})
const decoded = async (...a: Parameters<typeof decodeImage>) => (await decodeImage(...a)) as DecodedImage

let clip: Clip
let scratch: string
/** 4:2:0, smooth, large enough for 1/8 of the embedded model's 64 pixels; no side is a multiple of 8. */
let photograph: Buffer
test.before(async () => {
  clip = await load(undefined, { threads: 2 })
  scratch = mkdtempSync(join(tmpdir(), 'clip-native-scaled-'))
  photograph = await sharp(join(packageRoot, 'models', 'icon-clip', 'examples', 'hard', 'bus.jpg'))
    .resize(1301, 1133, { fit: 'fill' })
    .jpeg({ quality: 80 })
    .toBuffer()
})
test.after.always(async () => {
  await clip?.dispose()
  rmSync(scratch, { recursive: true, force: true })
})

test('JPEG files of every kind at 1/2, 1/4 and 1/8 are what Image.draft decodes', async t => {
  t.true(golden.length >= 36)
  t.true(binding().canDecodeScaled() || (await sharp(photograph).metadata()).width === 1301)
  for (const one of golden) {
    const image = await decoded(inFiles(one.file), at(one.scale))
    const { mode, width, height } = image
    const name = `${one.file} 1/${one.scale}`
    t.deepEqual({ mode, width, height }, { mode: one.mode, width: one.width, height: one.height }, name)
    t.is(sha256(image.data), one.pixels, name)
    // The bytes of a caller are not changed.
    const file = readFileSync(inFiles(one.file))
    const before = sha256(file)
    t.is(sha256((await decoded(file, at(one.scale))).data), one.pixels, name)
    t.is(sha256(file), before, name)
  }
})

entriesTest('resized they are what Pillow makes of them with the box of draft, on every backend', async t => {
  const backends = binding()
    .backends()
    .filter(backend => backend.available && backend.device !== 'cuda')
  for (const { name: backend } of backends)
    for (const one of golden)
      for (const [size, expected] of Object.entries(one.sha256)) {
        const spec = { size: Number(size), interpolation: 'bicubic', mode: 'shortest' } as const
        const image = await decoded(inFiles(one.file), at(one.scale))
        t.is(
          sha256(await bytesOf(image, spec, backend)),
          expected,
          `${backend} ${one.file} ${one.scale} ${size}`,
        )
      }
})

test('where libvips cannot be reached, the image is decoded whole', async t => {
  const { decode, scaled } = at(2)
  const whole = await decoded(photograph)
  const image = await decoded(photograph, { decode, scaled: { ...scaled, isAvailable: () => false } })
  t.deepEqual([image.width, image.height], [1301, 1133])
  t.is(sha256(image.data), sha256(whole.data))
})

test('with `orient` it is turned as its EXIF orientation says', async t => {
  const turned = golden.filter(one => one.turned)
  t.is(turned.length, 3)
  for (const one of turned) {
    const image = await decoded(inFiles(one.file), { ...at(one.scale), orient: true })
    t.deepEqual([image.width, image.height], [one.height, one.width])
    t.is(sha256(image.data), one.turned!)
  }
})

test('the scale is the smallest that leaves at least twice the size that the preprocessing makes of it', t => {
  const scale = (mode: 'shortest' | 'squash' | 'longest', width: number, height: number, size = 224) =>
    scaleFor({ size, interpolation: 'bicubic', mode }, width, height)
  t.is(scale('shortest', 4032, 3024), 4)
  t.is(scale('shortest', 3024, 4032), 4)
  t.is(scale('shortest', 895, 4000), 1)
  t.is(scale('shortest', 896, 4000), 2)
  t.is(scale('squash', 1791, 9000), 2)
  t.is(scale('squash', 1792, 9000), 4)
  t.is(scale('shortest', 3584, 3584), 8)
  t.is(scale('shortest', 65_000, 65_000), 8)
  // The longer side becomes 224 pixels long, and the shorter one less.
  t.is(scale('longest', 1000, 300), 2)
  t.is(scale('longest', 300, 895), 1)
  t.is(scale('shortest', 1301, 1133, 64), 8)
  t.is(scaleFor({ size: 64, interpolation: 'nearest', mode: 'shortest' }, 1301, 1133), 1)
})

test('`decode` of load and of a call: the same embedding, close to the exact one and not equal to it', async t => {
  const exact = await clip.encodeImage(photograph)
  const fast = await clip.encodeImage(photograph, { decode: 'fast' })
  t.notDeepEqual(fast.data, exact.data)
  const cosine = exact.data.reduce((sum, x, i) => sum + x * fast.data[i]!, 0)
  t.true(cosine > 0.995, `${cosine}`)
  t.is(clip.info.decode, 'exact')
  await using other = await load(undefined, { threads: 2, decode: 'fast' })
  t.is(other.info.decode, 'fast')
  t.is(other.info.fingerprint, clip.info.fingerprint)
  t.deepEqual((await other.encodeImage(photograph)).data, fast.data)
  t.deepEqual((await other.encodeImage(photograph, { decode: 'exact' })).data, exact.data)
  // In a list, as a Blob and a stream, and beside images that are not scaled.
  const small = inFiles('jpeg-420.jpg')
  const list = await other.encodeImage([small, photograph, new Blob([photograph])])
  t.deepEqual(list.row(0), (await clip.encodeImage(small)).row(0))
  for (const i of [1, 2]) t.deepEqual(list.row(i), fast.row(0))
  const planes = await clip.preprocess(photograph, { decode: 'fast' })
  t.deepEqual((await clip.encodeImage(planes)).data, fast.data)
})

test('every method that reads images has the option', async t => {
  const exact = await clip.classifier(['bus', 'cat'])
  const of = async (decode: 'exact' | 'fast') => {
    const [first] = await exact.classify(photograph, { as: 'cosine', decode })
    return first!.score
  }
  const [whole, scaled] = [await of('exact'), await of('fast')]
  t.not(whole, scaled)
  for await (const { predictions } of exact.stream([photograph], { as: 'cosine', decode: 'fast' }))
    t.is(predictions![0]!.score, scaled)
  const { data } = await clip.similarity(photograph, ['a bus'], { as: 'cosine', decode: 'fast' })
  t.notDeepEqual(data, (await clip.similarity(photograph, ['a bus'], { as: 'cosine' })).data)

  await using store = await clip.openStore(join(scratch, 'store'), { create: true })
  await store.add([{ id: 'a', image: photograph }], { decode: 'fast' })
  await store.add([{ id: 'b', image: photograph }])
  const rows: Float32Array[] = []
  for await (const { embeddings } of store.batches()) for (const row of embeddings) rows.push(row)
  t.deepEqual(rows[0], (await clip.encodeImage(photograph, { decode: 'fast' })).row(0))
  t.deepEqual(rows[1], (await clip.encodeImage(photograph)).row(0))

  const images = [photograph, inFiles('jpeg-420.jpg')]
  const labels = ['bus', 'other']
  const learned = async (decode: 'exact' | 'fast') => {
    const probe = await clip.linearProbe({ images, labels }, { decode })
    const tip = await clip.tipAdapter({ images, labels }, { decode })
    const adapter = await clip.adapt({ images, texts: labels }, { decode, epochs: 1 })
    const scores = [probe, tip].map(async one => (await one.classify(images[0]!, { as: 'logit' }))[0]!.score)
    return [...(await Promise.all(scores)), adapter.loss]
  }
  const [from, to] = [await learned('exact'), await learned('fast')]
  for (const i of from.keys()) t.not(from[i], to[i], `${i}`)

  const samples = [{ image: photograph, label: 'bus' }]
  const accuracy = async (decode: 'exact' | 'fast') => {
    const report = await evaluate(clip, samples, { labels: ['bus', 'cat'], decode })
    return JSON.stringify(report)
  }
  t.not(await accuracy('exact'), await accuracy('fast'))
})

test('a value that is none is refused with its name, everywhere', async t => {
  const decode = 'quick' as 'fast'
  const message = /^Expected `decode` to be one of 'exact', 'fast', got "quick"$/
  const classifier = await clip.classifier(['a', 'b'])
  await using store = await clip.openStore(join(scratch, 'other'), { create: true })
  const examples = { images: [photograph, photograph], labels: ['a', 'b'] }
  for (const call of [
    () => load(undefined, { decode }),
    () => clip.encodeImage(photograph, { decode }),
    () => clip.preprocess(photograph, { decode }),
    () => clip.similarity(photograph, ['a'], { decode }),
    () => classifier.classify(photograph, { decode }),
    () => classifier.stream([photograph], { decode }).next(),
    () => store.add([{ id: 'a', image: photograph }], { decode }),
    () => clip.linearProbe(examples, { decode }),
    () => clip.tipAdapter(examples, { decode }),
    () => clip.adapt({ images: examples.images, texts: examples.labels }, { decode }),
    () => evaluate(clip, [{ image: photograph, label: 'a' }], { decode }),
  ])
    t.regex(
      (await t.throwsAsync(async () => void (await call()), { instanceOf: TypeError })).message,
      message,
    )
})

test('a JPEG that ends too soon is refused with the same words as when it is decoded whole', async t => {
  const part = photograph.subarray(0, photograph.length >> 1)
  const errors = []
  for (const decode of ['exact', 'fast'] as const)
    errors.push((await t.throwsAsync(clip.encodeImage(part, { decode }))) as ClipError)
  for (const error of errors) t.is(error.code, 'ERR_CLIP_IMAGE')
  t.is(errors[1]!.message, errors[0]!.message)
})

test('less memory is asked for; `maxPixels` is of the size in the header', async t => {
  const bytes = async (decode: 'exact' | 'fast') => {
    const prepared = await prepareImage(photograph, { ...at(8), decode })
    t.is(prepared.kind, 'pending')
    if (prepared.kind !== 'pending') return Number.NaN
    prepared.opened()
    return prepared.bytes
  }
  const [exact, fast] = [await bytes('exact'), await bytes('fast')]
  t.true(fast < exact / 4, `${fast} of ${exact}`)
  const error = await t.throwsAsync(decodeImage(photograph, { ...at(8), maxPixels: 1301 * 1133 - 1 }))
  t.regex(error.message, /1301 x 1133 pixels, more than `maxPixels`/)
})

test('WebP is scaled by its decoder; with transparency or several frames it is whole, as all other formats are', async t => {
  const size = async (bytes: Buffer) => {
    const { width, height } = await decoded(bytes, at(4))
    return [width, height]
  }
  const image = sharp(photograph)
  t.deepEqual(await size(await image.clone().webp().toBuffer()), [326, 284])
  t.deepEqual(await size(await image.clone().webp({ lossless: true, effort: 0 }).toBuffer()), [326, 284])
  const whole = [1301, 1133]
  const clear = image.clone().ensureAlpha(0.5)
  t.deepEqual(await size(await clear.webp().toBuffer()), whole)
  t.deepEqual(await size(await image.clone().png({ compressionLevel: 1 }).toBuffer()), whole)
  const webp = await image.clone().webp({ quality: 90 }).toBuffer()
  const [exact, fast] = [await clip.encodeImage(webp), await clip.encodeImage(webp, { decode: 'fast' })]
  t.notDeepEqual(fast.data, exact.data)
  t.true(exact.data.reduce((sum, x, i) => sum + x * fast.data[i]!, 0) > 0.995)
})

test('unusual sampling factors and sides that libjpeg would refuse are left to the whole decoder', async t => {
  const file = Buffer.from(readFileSync(inFiles('jpeg-420.jpg')))
  const frame = file.indexOf(Buffer.from([0xff, 0xc0]))
  t.is(file[frame + 11], 0x22)
  const bytes = async (change: (copy: Buffer) => void) => {
    const copy = Buffer.from(file)
    change(copy)
    const sizes = []
    for (const decode of ['exact', 'fast'] as const) {
      const prepared = await prepareImage(copy, { ...at(2), decode })
      if (prepared.kind !== 'pending') continue
      prepared.opened()
      sizes.push(prepared.bytes)
    }
    return sizes
  }
  const [exact, fast] = await bytes(() => {})
  t.true(fast! < exact!)
  const [three, same] = await bytes(copy => {
    copy[frame + 11] = 0x32 // the other channels have 1: 3 and 2
    copy[frame + 14] = 0x22
  })
  t.is(three, same)
  const [long, alike] = await bytes(copy => void copy.writeUInt16BE(65_498, frame + 5))
  t.is(long, alike)
})

test('an abort ends the call, and the worker ends while it decodes', async t => {
  const controller = new AbortController()
  const call = clip.encodeImage(photograph, { decode: 'fast', signal: controller.signal })
  controller.abort(new Error('enough'))
  await t.throwsAsync(call, { message: 'enough' })
  const { Worker } = await import('node:worker_threads')
  const file = join(packageRoot, 'dist', 'lib', 'index.js')
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     const { load } = require(workerData.file)
     load(undefined, { threads: 1 }).then(clip => {
       for (let i = 0; i < 20; i++) clip.encodeImage(Buffer.from(workerData.image), { decode: 'fast' }).catch(() => {})
       setImmediate(() => parentPort.postMessage('decoding'))
     })`,
    { eval: true, workerData: { file, image: photograph } },
  )
  await new Promise<void>((resolve, reject) => {
    worker.once('message', () => resolve())
    worker.once('error', reject)
  })
  t.is(typeof (await worker.terminate()), 'number')
  t.is((await clip.encodeImage(photograph, { decode: 'fast' })).shape[0], 1)
})
