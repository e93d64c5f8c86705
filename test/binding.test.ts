/** The native surface distrusts lib, and the public kernels distrust everybody. */

import test, { type ExecutionContext } from 'ava'
import { attention, cosineSoftmax, cosineTopK, layerNorm, linear, resizeBicubic } from '../lib/kernels.js'
import { binding } from '../lib/native/addon.js'
import type { NativeModel } from '../lib/native/surface.js'
import { testEntries } from '../lib/native/test-entries.js'
import { entriesTest } from './helpers/entries-test.js'

const f = (n: number) => new Float32Array(n)

/** A call with any arguments: what TypeScript would refuse is what is tested here. */
// biome-ignore lint/suspicious/noExplicitAny: wrong types on purpose
type Loose = any

async function refuses(
  t: ExecutionContext,
  call: () => Promise<unknown>,
  message: string | RegExp,
  field?: string,
) {
  let promise: Promise<unknown> | undefined
  t.notThrows(() => {
    promise = call()
  }, 'threw instead of rejecting')
  const error = (await t.throwsAsync(promise!, { message })) as
    | (Error & { code?: string; field?: string })
    | undefined
  t.is(error?.code, 'ERR_CLIP_INPUT')
  t.true(error instanceof TypeError || error instanceof RangeError)
  if (field) t.is(error?.field, field)
}

const tokens = 2 * 64 * 12 * 64
const good = { q: f(tokens), k: f(tokens), v: f(tokens), sequences: 2, length: 64, heads: 12, headDim: 64 }

entriesTest('errors of test kernels name the expected and the actual value', async t => {
  const { kernels } = testEntries()
  const table = { table: f(8), positions: f(8), out: f(4), rows: 1, cols: 4, threads: 1, backend: undefined }
  const zero = Int32Array.of(0)
  await refuses(
    t,
    () => kernels.embed({ ...table, ids: Int32Array.of(2), position: zero }),
    /`ids\[0\]`.*from 0 to 1/,
  )
  await refuses(
    t,
    () => kernels.embed({ ...table, ids: zero, position: Int32Array.of(-1) }),
    /`position\[0\]`/,
  )
  const gathered = { x: f(8), out: f(4), count: 1, cols: 4, threads: 1, backend: undefined }
  await refuses(t, () => kernels.gather({ ...gathered, row: Int32Array.of(9) }), /`row\[0\]`/)
})

test('kernel errors name the expected and the actual value', async t => {
  await refuses(
    t,
    () => attention({ ...good, q: f(10) }),
    'Expected `q` to have 98304 floats (2 sequences x 64 tokens x 12 heads x 64), got 10',
    'q',
  )
  await refuses(
    t,
    () => attention({ ...good, k: [1] as Loose }),
    'Expected `k` to be a Float32Array, got an array of 1',
  )
  await refuses(
    t,
    () => attention({ ...good, heads: 0 }),
    /^Expected `heads` to be an integer from 1 to 4096, got 0$/,
  )
  await refuses(t, () => attention({ ...good, length: Number.NaN }), /`length`.*got NaN$/)
  await refuses(t, () => attention({ ...good, out: f(9) }), /`out` to have 98304 floats/)
  await refuses(t, () => attention({ ...good, out: good.q }), /^Expected `out` to share no memory with `q`/)
  await refuses(
    t,
    () => attention(undefined as Loose),
    'Expected `arguments[0]` to be an object, got undefined',
  )
  await refuses(t, () => attention({ ...good, threads: 0 }), /`threads`/)
  await refuses(
    t,
    () => attention({ ...good, backend: 3 as Loose }),
    'Expected `backend` to be a string, got 3',
  )
  const product = { x: f(6), weight: f(12), rows: 2, inFeatures: 3, outFeatures: 4 }
  await refuses(t, () => linear({ ...product, bias: f(3) }), 'Expected `bias` to have 4 floats, got 3')
  await refuses(
    t,
    () => linear({ ...product, activation: 'relu' as Loose }),
    /be one of 'none', 'quickGelu', 'gelu'/,
  )
  const norm = { x: f(6), weight: f(3), bias: f(3), rows: 2, cols: 3 }
  await refuses(t, () => layerNorm({ ...norm, epsilon: -1 }), /`epsilon` to be at least 0/)
  const scores = { queries: f(4), classes: f(8), rows: 1, classCount: 2, dim: 4 }
  await refuses(t, () => cosineSoftmax({ ...scores, logitScale: Infinity }), /`logitScale` to be finite/)
  await refuses(t, () => cosineTopK({ ...scores, k: 3 }), 'Expected `k` to be an integer from 1 to 2, got 3')
  const pixels = { data: new Uint8Array(12), width: 2, height: 2, channels: 3, outWidth: 4, outHeight: 4 }
  await refuses(
    t,
    () => resizeBicubic({ ...pixels, width: 3 }),
    /have 18 bytes \(2 high x 3 wide x 3 channels\), got 12/,
  )
  await refuses(t, () => resizeBicubic({ ...pixels, outWidth: 1e9 }), /`outWidth`/)
  t.is((await resizeBicubic(pixels)).length, 48)
})

test('a backend that does not exist is a ClipError', async t => {
  const error = await t.throwsAsync(
    layerNorm({ x: f(1), weight: f(1), bias: f(1), rows: 1, cols: 1, backend: 'abacus' }),
  )
  t.like(error, { name: 'ClipError', code: 'ERR_CLIP_BACKEND', field: 'backend', actual: 'abacus' })
})

test('kernels compute into `out` and return it', async t => {
  const out = f(2)
  const shape = { rows: 1, inFeatures: 2, outFeatures: 2, out }
  const y = await linear({ x: Float32Array.of(1, 2), weight: Float32Array.of(3, 4, 5, 6), ...shape })
  t.is(y, out)
  t.deepEqual([...y], [11, 17])
  const top = await cosineTopK({
    queries: Float32Array.of(0, 2),
    classes: Float32Array.of(5, 0, 0, 1, -1, 0),
    rows: 1,
    classCount: 3,
    dim: 2,
    k: 2,
    as: 'cosine',
  })
  t.deepEqual(
    [[...top.index], [...top.value]],
    [
      [1, 0],
      [1, 0],
    ],
  )
})

test('native kernels repeat the checks of lib', async t => {
  const { kernels } = binding()
  const attend = (a: object) => kernels.attention(a as Loose)
  const shape = { sequences: 1, length: 2, heads: 1, headDim: 4, mask: 'full', threads: 1 }
  const all = { q: f(8), k: f(8), v: f(8), out: f(8), ...shape }
  await refuses(t, () => attend({ ...all, v: f(7) }), /`v` to have 8 elements, got 7/, 'v')
  await refuses(t, () => attend({ ...all, out: undefined }), /`out` to be a Float32Array, got undefined/)
  await refuses(t, () => attend({ ...all, mask: 'diagonal' }), /`mask` to be one of 'full', 'causal', 'tree'/)
  await refuses(t, () => attend({ ...all, mask: 'tree' }), /`parent`/)
  await refuses(
    t,
    () => attend({ ...all, mask: 'tree', parent: Int32Array.of(-1, 1) }),
    /`parent\[1\]` to be less than 1/,
  )
  await refuses(
    t,
    () => attend({ ...all, queryRow: Int32Array.of(0, 2) }),
    /`queryRow\[1\]`.*from 0 to 1, got 2/,
  )
  await refuses(t, () => attend({ ...all, length: 2 ** 31 }), /`length`/)
  await refuses(t, () => attend({ ...all, heads: 1.5 }), /`heads`.*got 1.5/)
  await refuses(t, () => attend({ ...all, threads: 257 }), /`threads`/)
  await refuses(t, () => attend(null as Loose), /be an object, got null/)
  const detached = f(8)
  structuredClone(detached.buffer, { transfer: [detached.buffer] })
  await refuses(
    t,
    () => attend({ ...all, q: detached }),
    /`q` to have 8 elements, got a Float32Array that was transferred/,
  )
})

const spec = (
  change: object = {},
  {
    embed = {},
    blocks = {},
    ...image
  }: { embed?: object; blocks?: object; kind?: string; pool?: string } = {},
) => ({
  files: ['/nowhere'],
  fileBytes: [1],
  embedDim: 8,
  image: {
    kind: 'transformer',
    embed: { kind: 'patches', imageSize: 8, patchSize: 4, classToken: true, ...embed },
    preNorm: true,
    mask: 'full',
    blocks: { width: 8, layers: 1, heads: 2, mlp: 16, activation: 'gelu', layerNormEps: 1e-5, ...blocks },
    pool: 'first',
    project: 'none',
    ...image,
  },
  tensors: {},
  ...change,
})
const looks = { size: 8, interpolation: 'bicubic', mode: 'shortest', mean: [0, 0, 0], std: [1, 1, 1] }
const how = { device: 'auto', dtype: 'float32', threads: 1, maxBatchRows: 512 }
let job = 1000
const loadNative = (s: Loose, p: Loose = looks, o: Loose = how): Promise<NativeModel> =>
  binding().loadModel(job++, s, p, o)

test('loadModel checks every number of the specification', async t => {
  const rejects = async (promise: Promise<unknown>, code: string, message: RegExp) => {
    const error = (await t.throwsAsync(promise, { message })) as (Error & { code?: string }) | undefined
    t.is(error?.code, code)
  }
  await rejects(loadNative(null), 'ERR_CLIP_INPUT', /`spec` to be an object/)
  await rejects(loadNative(spec({ files: [] })), 'ERR_CLIP_INPUT', /fileBytes/)
  await rejects(loadNative(spec({ embedDim: -1 })), 'ERR_CLIP_CONFIG', /`spec.embedDim`/)
  await rejects(
    loadNative(spec({}, { blocks: { heads: 3 } })),
    'ERR_CLIP_CONFIG',
    /`spec.image.blocks.heads` to divide the width 8/,
  )
  await rejects(
    loadNative(spec({}, { embed: { patchSize: 9 } })),
    'ERR_CLIP_CONFIG',
    /`spec.image.embed.patchSize`/,
  )
  await rejects(loadNative(spec({}, { blocks: { layerNormEps: 5 } })), 'ERR_CLIP_CONFIG', /layerNormEps/)
  await rejects(loadNative(spec({}, { embed: { imageSize: 1e9 } })), 'ERR_CLIP_CONFIG', /imageSize/)
  await rejects(loadNative(spec({}, { kind: 'fourier' })), 'ERR_CLIP_CONFIG', /`spec.image.kind`/)
  await rejects(
    loadNative(spec({}, { embed: { kind: 'tokens' } })),
    'ERR_CLIP_CONFIG',
    /`spec.image.embed.kind`/,
  )
  await rejects(loadNative(spec({}, { pool: 'median' })), 'ERR_CLIP_INPUT', /`spec.image.pool`/)
  await rejects(loadNative(spec(), { ...looks, std: [1, 0, 1] }), 'ERR_CLIP_CONFIG', /`preprocess.std\[1\]`/)
  await rejects(loadNative(spec(), looks, { ...how, threads: 0 }), 'ERR_CLIP_INPUT', /`options.threads`/)
  await rejects(loadNative(spec(), looks, { ...how, dtype: 'float8' }), 'ERR_CLIP_INPUT', /`options.dtype`/)
  const tensor = { name: 'x', file: 1, dtype: 'F32', shape: [1], strides: [1], offset: 0 }
  await rejects(
    loadNative(spec({ tensors: { 'image.class': tensor } })),
    'ERR_CLIP_INPUT',
    /tensors.image.class.file/,
  )
  await rejects(loadNative(spec()), 'ERR_CLIP_CHECKPOINT', /./)
})

test('a cancelled load rejects with ERR_CLIP_ABORTED', async t => {
  const id = job
  const loading = loadNative(spec())
  binding().cancelLoad(id)
  await t.throwsAsync(loading, { code: 'ERR_CLIP_ABORTED' })
  binding().cancelLoad(id) // over: nothing to cancel
})
