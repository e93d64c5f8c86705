/**
 * Values of another realm (jest, vitest's vm pools, jsdom, `node:vm`): arrays, buffers and objects that are made there
 * are no `instanceof` ours, and give the same results.
 */

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createContext, runInContext } from 'node:vm'
import test from 'ava'
import { type Clip, load, type Preprocessed, type RawPixels } from '../lib/index.js'
import * as kernels from '../lib/kernels.js'
import { exampleImages } from './api/helpers.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const context = createContext({ URL, Blob, AbortController })
type Maker = (value: unknown) => unknown
/** A copy of plain data, arrays and typed arrays, made there. */
const foreign = runInContext(
  `(function copy(value) {
    if (ArrayBuffer.isView(value)) {
      const type = { '[object Float32Array]': Float32Array, '[object Uint8Array]': Uint8Array, '[object Int32Array]': Int32Array,
        '[object Uint8ClampedArray]': Uint8ClampedArray, '[object Uint16Array]': Uint16Array, '[object Int8Array]': Int8Array }[Object.prototype.toString.call(value)]
      return new type(value)
    }
    if (Array.isArray(value)) return Array.from(value, copy)
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, copy(one)]))
    return value
  })`,
  context,
) as Maker
const there = <T>(value: T): T => foreign(value) as T

let folder: string
let clip: Clip
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'clip-realms-'))
  clip = await load(await writeTinyModel(join(folder, 'model')), { threads: 1 })
})
test.after.always(async () => {
  await clip?.dispose()
  await rm(folder, { recursive: true, force: true })
})

const pixels = (seed: number): RawPixels => ({
  data: new Uint8Array(24 * 20 * 3).map((_, i) => (i * (2 * seed + 1) + (i >> 4)) & 255),
  width: 24,
  height: 20,
  channels: 3,
})

test('the values in these tests come from another realm', t => {
  const array = there(new Float32Array(2))
  t.false(array instanceof Float32Array)
  t.deepEqual([...array], [0, 0])
  t.false(there({ a: 1 }) instanceof Object)
})

test('pixels, bytes, buffers, planes and streams of another realm are accepted as images', async t => {
  const plain = await clip.encodeImage([pixels(1), pixels(2)])
  t.deepEqual((await clip.encodeImage(there([pixels(1), pixels(2)]))).data, plain.data)
  const clamped = { ...pixels(1), data: new Uint8ClampedArray(pixels(1).data) }
  t.deepEqual((await clip.encodeImage(there(clamped))).data, plain.row(0).slice())
  const planes = await clip.preprocess(pixels(1))
  t.deepEqual((await clip.preprocess(there(pixels(1)))).data, planes.data)
  const copied: Preprocessed = there({ data: planes.data, shape: [...planes.shape] as never })
  t.deepEqual((await clip.encodeImage(copied)).data, plain.row(0).slice())
  const file = await readFile(exampleImages[0]!)
  const decoded = await clip.encodeImage(file)
  const bytes = there(new Uint8Array(file))
  t.deepEqual((await clip.encodeImage(bytes)).data, decoded.data)
  t.deepEqual((await clip.encodeImage(bytes.buffer as ArrayBuffer)).data, decoded.data)
  t.deepEqual((await clip.encodeImage(new Blob([file]))).data, decoded.data)
  const pieces = runInContext(
    '(async function* (bytes) { yield bytes.subarray(0, 1000); yield bytes.subarray(1000) })',
    context,
  ) as (bytes: Uint8Array) => AsyncIterable<Uint8Array>
  t.deepEqual((await clip.encodeImage(pieces(bytes))).data, decoded.data)
})

test('texts, signals, options, embeddings and labels of another realm are accepted', async t => {
  const texts = ['a dog', 'a cat']
  const plain = await clip.encodeText(texts)
  const signal = (runInContext('new AbortController()', context) as AbortController).signal
  t.deepEqual(
    (await clip.encodeText(there(texts), { ...there({ normalize: true }), signal })).data,
    plain.data,
  )
  const images = await clip.encodeImage([pixels(1), pixels(2)])
  const copy = (e: { data: Float32Array; shape: readonly number[] }) =>
    there({ data: e.data, shape: [...e.shape] }) as never
  const scores = await clip.similarity(images, plain)
  t.deepEqual((await clip.similarity(copy(images), copy(plain))).data, scores.data)
  const own = await clip.classifier(['dog', ['cat', 'kitten']], { templates: ['a {}'] })
  const made = await clip.classifier(there(['dog', ['cat', 'kitten']]), { templates: there(['a {}']) })
  t.deepEqual(await made.classify(there(pixels(1))), await own.classify(pixels(1)))
  t.deepEqual(await made.classify(copy(images)), await own.classify(images))
  const streamed = []
  for await (const { predictions } of made.stream(there([pixels(1)]) as never)) streamed.push(predictions)
  t.deepEqual(streamed, [await own.classify(pixels(1))])
  const ids = await clip.tokenize(texts)
  t.is(clip.detokenize(there(ids.ids.slice(0, 4))), clip.detokenize(ids.ids.slice(0, 4)))
})

test('learning, stores and files accept values of another realm', async t => {
  const images = [1, 2, 3, 4].map(pixels)
  const labels = ['a', 'a', 'b', 'b']
  const scores = async (examples: { images: RawPixels[]; labels: string[] }) => {
    const probe = await clip.linearProbe(examples as never, { maxIterations: 50 })
    const tip = await clip.tipAdapter(examples as never, { templates: '{}' })
    return [await probe.classify(pixels(5)), await tip.classify(pixels(5))]
  }
  t.deepEqual(await scores(there({ images, labels })), await scores({ images, labels }))
  const pairs = { images, texts: ['one', 'two', 'three', 'four'] }
  await t.notThrowsAsync(clip.adapt(there(pairs) as never, { epochs: 1 } as never))
  const { URL: ForeignURL } = runInContext('({ URL })', context) as { URL: typeof URL }
  await using store = await clip.openStore(new ForeignURL(`file://${join(folder, 'there.store')}`), {
    create: true,
  })
  await store.add(there([{ id: 'one', image: pixels(1) }]) as never)
  const [found] = await store.search(there({ image: pixels(1) }) as never, { topK: 1 })
  t.is(found!.id, 'one')
})

test('kernels accept input and output arrays of another realm', async t => {
  const floats = (n: number) => new Float32Array(n).map((_, i) => Math.sin(i + 1))
  const calls: [string, (values: typeof there) => Promise<Float32Array>][] = [
    [
      'linear',
      async of => {
        const out = of(new Float32Array(6))
        await kernels.linear({
          ...of({ x: floats(8), weight: floats(12), rows: 2, inFeatures: 4, outFeatures: 3 }),
          out,
        } as never)
        return out
      },
    ],
    [
      'layerNorm',
      of =>
        kernels.layerNorm(
          of({ x: floats(8), weight: floats(4), bias: floats(4), rows: 2, cols: 4 } as never),
        ),
    ],
    [
      'attention',
      of =>
        kernels.attention(
          of({
            q: floats(32),
            k: floats(32),
            v: floats(32),
            sequences: 1,
            length: 4,
            heads: 1,
            headDim: 8,
          } as never),
        ) as Promise<Float32Array>,
    ],
    [
      'cosineSoftmax',
      of =>
        kernels.cosineSoftmax(
          of({ queries: floats(4), rows: 1, dim: 4, classes: floats(12), classCount: 3 } as never),
        ),
    ],
    [
      'cosineTopK',
      async of =>
        (
          await kernels.cosineTopK(
            of({ queries: floats(4), rows: 1, dim: 4, classes: floats(12), classCount: 3, k: 2 } as never),
          )
        ).value,
    ],
  ]
  for (const [name, call] of calls)
    t.deepEqual([...(await call(there))], [...(await call(value => value))], name)
})
