/** What native code makes of a weight file: every stored form gives the same bits, every bad one a ClipError. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { ClipError, type ClipErrorCode } from '../../lib/base/errors.js'
import type { ModelSpec, PatchEmbed, TensorView, TransformerSpec } from '../../lib/native/spec.js'
import type { NativeModel } from '../../lib/native/surface.js'
import { encodeIds, loadNative, readEmbedded } from './native-model.js'

const folder = mkdtempSync(join(tmpdir(), 'clip-native-load-'))

const { model: whole, preprocess } = await readEmbedded()

/** The first two blocks of each tower and the first thousand tokens of the embedded model: quick to write again. */
function small(): { spec: ModelSpec; bytes: Buffer } {
  const source = readFileSync(whole.files[0]!)
  const tensors: Record<string, TensorView> = {}
  const parts: Buffer[] = []
  let offset = 0
  for (const [name, view] of Object.entries(whole.tensors)) {
    if (/blocks\.[2-9]/.test(name)) continue
    const shape = name === 'text.token' ? [1000, view.shape[1]!] : view.shape
    const bytes = 2 * shape.reduce((n, size) => n * size, 1)
    parts.push(source.subarray(view.offset, view.offset + bytes))
    tensors[name] = { ...view, shape, offset }
    offset += bytes
  }
  const bytes = Buffer.concat(parts)
  const file = join(folder, 'small.bin')
  writeFileSync(file, bytes)
  const image = whole.image as TransformerSpec<PatchEmbed>
  const text = whole.text!
  const spec: ModelSpec = {
    ...whole,
    image: { ...image, blocks: { ...image.blocks, layers: 2 } },
    text: {
      ...text,
      embed: { ...text.embed, vocabSize: 1000 },
      blocks: { ...text.blocks, layers: 2 },
    },
    tensors,
    files: [file],
    fileBytes: [bytes.length],
  }
  return { spec, bytes }
}
const { spec: embedded, bytes: original } = small()
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

let written = 0
/** A file of these bytes, and the embedded model's spec pointing at it. */
function stored(bytes: Uint8Array, change: (spec: ModelSpec) => void = () => {}): ModelSpec {
  const spec: ModelSpec = structuredClone(embedded)
  const file = join(folder, `weights-${written++}.bin`)
  writeFileSync(file, bytes)
  spec.files = [file]
  spec.fileBytes = [bytes.length]
  change(spec)
  return spec
}

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const mantissa = bits & 1023
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + mantissa / 1024) : 2 ** -14 * (mantissa / 1024))
}

const elements = (t: TensorView): number => t.shape.reduce((n, size) => n * size, 1)

/** The values of an F16 tensor of the embedded model, in row order. */
function values(t: TensorView): Float32Array {
  return Float32Array.from({ length: elements(t) }, (_, i) =>
    halfToFloat(original.readUInt16LE(t.offset + 2 * i)),
  )
}

/** All tensors again, stored by `write`, one after the other, `gap` bytes apart. */
function rewritten(
  dtype: TensorView['dtype'],
  gap: number,
  write: (bytes: Buffer, at: number, value: number) => void,
  order: (t: TensorView) => number[] = t => t.shape.map((_, i) => i),
): ModelSpec {
  const size = dtype === 'F32' ? 4 : 2
  const tensors: Record<string, TensorView> = {}
  const parts: Buffer[] = []
  let offset = 0
  for (const [name, t] of Object.entries(embedded.tensors)) {
    const n = elements(t)
    const bytes = Buffer.alloc(gap + n * size)
    const x = values(t)
    // order[0] is the dimension that is stored outermost.
    const strides = new Array<number>(t.shape.length)
    let step = 1
    for (const d of order(t).reverse()) {
      strides[d] = step
      step *= t.shape[d]!
    }
    for (let i = 0; i < n; i++) {
      let rest = i
      let at = 0
      for (let d = t.shape.length - 1; d >= 0; d--) {
        at += (rest % t.shape[d]!) * strides[d]!
        rest = Math.floor(rest / t.shape[d]!)
      }
      write(bytes, gap + at * size, x[i]!)
    }
    tensors[name] = { ...t, dtype, strides, offset: offset + gap }
    parts.push(bytes)
    offset += bytes.length
  }
  return stored(Buffer.concat(parts), spec => {
    spec.tensors = tensors
  })
}

const f32 = (bytes: Buffer, at: number, value: number) => bytes.writeFloatLE(value, at)
const bitsOf = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]!
const bf16 = (bytes: Buffer, at: number, value: number) => bytes.writeUInt16LE(bitsOf(value) >>> 16, at)
/** As float32, cut to what bfloat16 holds. */
const cutF32 = (bytes: Buffer, at: number, value: number) =>
  bytes.writeUInt32LE((bitsOf(value) & 0xffff0000) >>> 0, at)

const texts = [
  [0, 707, 871, 749, 707, 75, 834, 999],
  [0, 689, 999],
]
const planes = Float32Array.from({ length: 3 * 72 * 72 }, (_, i) => Math.sin(i / 7) + Math.cos(i / 1000))

/** What a model of these weights answers: one image and two texts. */
async function answers(spec: ModelSpec): Promise<Float32Array[]> {
  const model: NativeModel = await loadNative(spec, preprocess, { threads: 2 })
  const result = [await model.encodeImage(1, [{ planes }], 'embedding', true), await encodeIds(model, texts)]
  await model.dispose()
  return result
}

test('F32 and F16 weights give the same bits, aligned or not, row-major or transposed', async t => {
  const expected = await answers(embedded)
  t.true(expected.every(x => x.every(Number.isFinite)))
  t.deepEqual(await answers(rewritten('F32', 0, f32)), expected, 'F32')
  t.deepEqual(await answers(rewritten('F32', 3, f32)), expected, 'F32 at odd offsets')
  t.deepEqual(
    await answers(rewritten('F32', 0, f32, view => view.shape.map((_, i) => i).reverse())),
    expected,
    'F32, every tensor transposed',
  )
  // A patch weight (width, 3, patch, patch) as TensorFlow stores it: (patch, patch, 3, width).
  t.deepEqual(
    await answers(
      rewritten('F32', 1, f32, view =>
        view.shape.length === 4 ? [2, 3, 1, 0] : view.shape.map((_, i) => i),
      ),
    ),
    expected,
    'F32, height-width-channel patches',
  )
})

test('BF16 weights give the same bits as the same values in F32', async t => {
  const expected = await answers(rewritten('F32', 0, cutF32))
  t.deepEqual(await answers(rewritten('BF16', 0, bf16)), expected)
  t.deepEqual(await answers(rewritten('BF16', 1, bf16)), expected, 'at odd offsets')
})

async function refused(
  t: import('ava').ExecutionContext,
  spec: ModelSpec,
  code: ClipErrorCode,
  expected: { field?: string; file?: string; message?: RegExp | string },
): Promise<void> {
  const error = await t.throwsAsync(loadNative(spec, preprocess), { instanceOf: ClipError })
  t.is(error?.code, code, error?.message)
  if ('field' in expected) t.is(error?.field, expected.field)
  if ('file' in expected) t.is(error?.file, expected.file)
  const { message = '' } = expected
  const said = error?.message ?? ''
  t.true(typeof message === 'string' ? said.includes(message) : message.test(said), said)
}

test('NaN and infinite weights are refused with the tensor and the position', async t => {
  for (const [bits, what] of [
    [0x7e00, 'NaN'],
    [0xfc00, 'infinity'],
  ] as const)
    for (const [name, at, place] of [
      ['image.blocks.0.key.weight', [5, 7], '[5, 7]'],
      ['text.blocks.1.fc2.bias', [191], '[191]'],
      ['text.token', [999, 100], '[999, 100]'],
      ['image.patch.weight', [190, 2, 11, 3], '[190, 2, 11, 3]'],
      ['image.class', [3], '[3]'],
    ] as const) {
      const view = embedded.tensors[name]!
      const bytes = Buffer.from(original)
      const index = at.reduce((sum, i, d) => sum + i * view.strides[d]!, 0)
      bytes.writeUInt16LE(bits, view.offset + 2 * index)
      const spec = stored(bytes)
      await refused(t, spec, 'ERR_CLIP_CHECKPOINT', {
        field: view.name,
        file: spec.files[0]!,
        message: `${what} at ${place}`,
      })
      await refused(t, spec, 'ERR_CLIP_CHECKPOINT', { message: new RegExp(what) })
    }
})

test('a tensor that is missing, has a wrong shape or lies outside its file is refused', async t => {
  const name = 'text.blocks.1.out.weight'
  const view = embedded.tensors[name]!
  const change = (part: Partial<TensorView>): ModelSpec => ({
    ...embedded,
    tensors: { ...embedded.tensors, [name]: { ...view, ...part } },
  })
  const missing = { ...embedded, tensors: { ...embedded.tensors } }
  delete missing.tensors[name]
  await refused(t, missing, 'ERR_CLIP_CHECKPOINT', { field: name, file: missing.files[0]! })
  for (const part of [
    { shape: [192, 191] },
    { shape: [192], strides: [1] },
    { shape: [192, 192, 1], strides: [192, 1, 1] },
    { offset: original.length },
    { offset: original.length - 2 * 192 * 192 + 2 },
    { offset: 2 ** 53 },
    { strides: [2 ** 53, 2 ** 53] },
    { strides: [2 ** 40, 1] },
  ])
    await refused(t, change(part), 'ERR_CLIP_CHECKPOINT', { field: view.name })
  await refused(t, change({ offset: 0, strides: [4000, 1] }), 'ERR_CLIP_CHECKPOINT', {
    field: view.name,
    message: 'scattered',
  })
  // Some columns of a wider matrix are no error, nor is the last place that fits.
  const columns = await loadNative(change({ offset: 0, strides: [600, 1] }), preprocess)
  await columns.dispose()
  const model = await loadNative(change({ offset: original.length - 2 * 192 * 192 }), preprocess)
  await model.dispose()
})

test('a missing file, a truncated file, a folder and a pipe are refused', async t => {
  const cut = stored(original)
  truncateSync(cut.files[0]!, original.length / 2)
  await refused(t, cut, 'ERR_CLIP_CHECKPOINT', { file: cut.files[0]!, message: /bytes/ })
  const empty = stored(new Uint8Array(0))
  await refused(t, empty, 'ERR_CLIP_CHECKPOINT', { file: empty.files[0]! })
  const gone = stored(original)
  rmSync(gone.files[0]!)
  await refused(t, gone, 'ERR_CLIP_CHECKPOINT', { file: gone.files[0]!, message: /No such file/ })
  const directory = { ...embedded, files: [folder] }
  await refused(t, directory, 'ERR_CLIP_CHECKPOINT', { file: folder, message: /folder/ })
  if (process.platform === 'win32') return
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  await refused(t, { ...embedded, files: [pipe] }, 'ERR_CLIP_CHECKPOINT', {
    file: pipe,
    message: /regular file/,
  })
})

test('impossible sizes are refused with ERR_CLIP_CONFIG and the field', async t => {
  const cases: [(spec: ModelSpec) => void, RegExp][] = [
    [({ text }) => Object.assign(text!.blocks, { heads: 5 }), /heads/],
    [({ text }) => Object.assign(text!.blocks, { layers: 0 }), /layers/],
    [({ image }) => Object.assign((image as TransformerSpec).embed, { patchSize: 73 }), /patchSize/],
    [({ image }) => Object.assign((image as TransformerSpec).embed, { imageSize: 36 }), /size/i],
    [({ text }) => Object.assign(text!.embed, { contextLength: 2 ** 20 }), /contextLength/],
    [({ image }) => Object.assign((image as TransformerSpec).blocks, { mlp: 2 ** 21 }), /mlp/],
    [({ image }) => Object.assign(image!, { mask: 'causal' }), /image.mask/],
    [({ image }) => Object.assign(image!, { pool: 'last' }), /image.pool/],
    [({ text }) => Object.assign(text!, { pool: 'mean' }), /text.pool/],
    [({ text }) => Object.assign(text!, { pool: 'attention' }), /text.pool/],
    [({ text }) => Object.assign(text!, { preNorm: true }), /text.preNorm/],
    [({ text }) => Object.assign(text!.embed, { padId: 1000 }), /padId/],
    [spec => Object.assign(spec, { embedDim: 0 }), /embedDim/],
  ]
  for (const [change, field] of cases) {
    const spec = structuredClone(embedded)
    change(spec)
    const error = await t.throwsAsync(loadNative(spec, preprocess))
    t.is((error as ClipError).code, 'ERR_CLIP_CONFIG', error?.message)
    t.regex((error as ClipError).field ?? '', field)
  }
})

test('the error for an unsupported dtype lists the supported ones', async t => {
  const error = await t.throwsAsync(loadNative(embedded, preprocess, { dtype: 'float16' }))
  t.is((error as ClipError).code, 'ERR_CLIP_DTYPE')
  t.is((error as ClipError).field, 'dtype')
  t.regex(error?.message ?? '', /float32/)
})
