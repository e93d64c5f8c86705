import { spawnSync } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError, type ClipErrorCode } from '../../lib/base/errors.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { binding, fromNative } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'
import { goldenPath } from './goldens.js'

type Entry = { dtype: string; shape: number[]; data_offsets: number[] }
type Header = Record<string, Entry | Record<string, string>>

/** A copy of hf-4 to damage. */
async function folder(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  await cp(goldenPath('hf-4'), path, { recursive: true })
  return path
}

function split(file: Buffer): { header: Header; data: Buffer } {
  const length = Number(file.readBigUInt64LE(0))
  return { header: JSON.parse(file.toString('utf8', 8, 8 + length)), data: file.subarray(8 + length) }
}

function joined(header: string, data: Buffer, length = Buffer.byteLength(header)): Buffer {
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(length))
  return Buffer.concat([size, Buffer.from(header), data])
}

async function refused(
  t: ExecutionContext,
  path: string,
  code: ClipErrorCode,
  message: RegExp,
  field?: string,
): Promise<void> {
  const error = await t.throwsAsync(readCheckpoint(path), { instanceOf: ClipError })
  if (!(error instanceof ClipError)) return
  t.is(error.code, code, error.message)
  t.regex(error.message, message)
  t.truthy(error.file)
  if (field) t.is(error.field, field)
}

/** Writes model.safetensors with a changed header; `change` may return the header's text. */
async function withHeader(
  t: ExecutionContext,
  change: (header: Header, data: Buffer) => string | undefined,
): Promise<string> {
  const path = await folder(t)
  const file = join(path, 'model.safetensors')
  const { header, data } = split(await readFile(file))
  const text = change(header, data) ?? JSON.stringify(header)
  await writeFile(file, joined(text, data))
  return path
}

const CLASS = 'vision_model.embeddings.class_embedding'
const PRE = 'vision_model.pre_layrnorm.weight'

test('a file that is cut at any sixteenth of its length is refused', async t => {
  const path = await folder(t)
  const file = join(path, 'model.safetensors')
  const whole = await readFile(file)
  for (let i = 0; i < 16; ++i) {
    await writeFile(file, whole.subarray(0, Math.floor((whole.length * i) / 16)))
    await refused(t, path, 'ERR_CLIP_CHECKPOINT', /model\.safetensors: /)
  }
  await writeFile(file, whole.subarray(0, whole.length - 1))
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /ends at byte/)
})

test('a file with an extra byte is refused', async t => {
  const path = await folder(t)
  const file = join(path, 'model.safetensors')
  await writeFile(file, Buffer.concat([await readFile(file), Buffer.alloc(1)]))
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /tensors end at byte \d+ of the data, but the file has/)
})

function edit(h: Header, change: Partial<Entry>): undefined {
  Object.assign(h[CLASS], change)
}

const headers: [string, (h: Header, data: Buffer) => string | undefined, RegExp, string?][] = [
  [
    'missing tensor',
    h => JSON.stringify(h).replace(PRE, 'vision_model.other'),
    /"vision_model\.pre_layrnorm\.weight" is missing/,
    PRE,
  ],
  [
    'extra tensor',
    h => JSON.stringify({ ...h, logit_bias: { dtype: 'F32', shape: [0], data_offsets: [0, 0] } }),
    /tensor "logit_bias" to be one number, got \[0\]/,
    'logit_bias',
  ],
  ['integer weights', h => edit(h, { dtype: 'I16' }), /has dtype I16; weights are F32, F16 or BF16/, CLASS],
  [
    'dtype of another width',
    h => edit(h, { dtype: 'F32' }),
    /takes 256 bytes, but `data_offsets` give it 128/,
    CLASS,
  ],
  ['unknown dtype', h => edit(h, { dtype: 'toString' }), /unknown dtype "toString"/, CLASS],
  ['shape that does not fit', h => edit(h, { shape: [65] }), /takes 130 bytes/, CLASS],
  ['negative size', h => edit(h, { shape: [-64] }), /expected `shape`/, CLASS],
  ['huge sizes', h => edit(h, { shape: [2 ** 52, 2 ** 52, 2 ** 52] }), /takes .* bytes/, CLASS],
  [
    'overlap',
    h => {
      const entry = h[CLASS] as Entry
      entry.data_offsets = entry.data_offsets.map(o => o - 128)
      return undefined
    },
    /overlaps that of/,
  ],
  [
    'range past the end',
    (h, data) => edit(h, { data_offsets: [data.length, data.length + 128] }),
    /ends at byte/,
    CLASS,
  ],
  [
    'duplicate key',
    h => JSON.stringify(h).replace('{', `{"${CLASS}":${JSON.stringify(h[CLASS])},`),
    /Duplicate key/,
    'header',
  ],
  ['unknown key', h => void Object.assign(h[CLASS], { compressed: true }), /unknown key "compressed"/, CLASS],
  [
    'metadata of numbers',
    h => JSON.stringify({ ...h, __metadata__: { a: 1 } }),
    /map strings to strings/,
    '__metadata__',
  ],
  ['an array', () => '[]', /is neither a safetensors file/, 'header'],
  ['empty', () => '{}', /tensors end at byte 0/],
  ['not JSON', () => '{"a"', /not JSON: Unexpected end/, 'header'],
  ['nesting', () => `{"a":${'['.repeat(100_000)}`, /Nested more than 4 deep/, 'header'],
  ['text after', h => `${JSON.stringify(h)}  {}`, /Unexpected text after/, 'header'],
  [
    '100 000 objects',
    () => `{${Array.from({ length: 100_000 }, (_, i) => `"${i}":{}`).join(',')}}`,
    /More than 20001 objects|expected/,
  ],
  ['a number of 10 MB', () => `{"a":${'1'.repeat(1e7)}}`, /Expected , or }/, 'header'],
  ['a string of 10 MB', () => `{"${'a'.repeat(1e7)}":1}`, /String longer than/, 'header'],
  [
    '__proto__',
    h => `{"__proto__":${JSON.stringify({ a: h })},${JSON.stringify(h).slice(1)}`,
    /__proto__|Nested/,
  ],
]

for (const [name, change, message, field] of headers)
  test(`a safetensors header is refused: ${name}`, async t => {
    await refused(t, await withHeader(t, change), 'ERR_CLIP_CHECKPOINT', message, field)
  })

test('a gap between two tensors is refused, and both are named', async t => {
  const path = await folder(t)
  const file = join(path, 'model.safetensors')
  const { header, data } = split(await readFile(file))
  for (const entry of Object.values(header) as Entry[])
    if (entry.data_offsets && entry.data_offsets[0] >= 2)
      entry.data_offsets = entry.data_offsets.map(o => o + 4)
  await writeFile(file, joined(JSON.stringify(header), Buffer.concat([data, Buffer.alloc(4)])))
  await refused(
    t,
    path,
    'ERR_CLIP_CHECKPOINT',
    /4 bytes between the data of ".+" and ".+" belong to no tensor/,
  )
})

test('impossible header lengths are refused', async t => {
  const path = await folder(t)
  const file = join(path, 'model.safetensors')
  await writeFile(file, joined('{}', Buffer.alloc(100), 100_000_001))
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /more than the 33554432/, 'header')
  await writeFile(file, joined('{}', Buffer.alloc(100), 33_000_000))
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /does not fit the file/, 'header')
})

test('NaN weights are refused when they are packed', async t => {
  const path = await folder(t)
  const file = join(path, 'model.safetensors')
  const bytes = await readFile(file)
  const { header, data } = split(bytes)
  bytes.writeUInt16LE(0x7e00, bytes.length - data.length + (header[PRE] as Entry).data_offsets[0] + 6)
  await writeFile(file, bytes)
  const { model, preprocess } = await readCheckpoint(path)
  const options = { device: 'auto', dtype: 'float32', threads: 1, maxBatchRows: 512 } as const
  const error = await t.throwsAsync(
    fromNative(() => binding().loadModel(nextJob(), model, preprocess, options)),
  )
  t.true(error instanceof ClipError)
  t.is((error as ClipError).code, 'ERR_CLIP_CHECKPOINT')
  t.regex((error as ClipError).message, /pre_layrnorm\.weight/)
})

test('a logit_scale that is not a logarithm is refused', async t => {
  const path = await folder(t)
  const file = join(path, 'model.safetensors')
  const bytes = await readFile(file)
  const { header, data } = split(bytes)
  bytes.writeUInt16LE(0x7c00, bytes.length - data.length + (header.logit_scale as Entry).data_offsets[0])
  await writeFile(file, bytes)
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /"logit_scale" is Infinity/, 'logit_scale')
})

test('shards must be in the folder and contain the tensors that the index lists', async t => {
  const path = await folder(t)
  await rm(path, { recursive: true })
  await cp(goldenPath('hf-4-sharded'), path, { recursive: true })
  const file = join(path, 'model.safetensors.index.json')
  const index = JSON.parse(await readFile(file, 'utf8'))
  const first = Object.keys(index.weight_map)[0]
  for (const target of [
    '../model.safetensors',
    '/etc/passwd',
    'a/b',
    'C:\\x',
    '',
    '..',
    'a\0b',
    3,
    'x'.repeat(256),
  ]) {
    await writeFile(file, JSON.stringify({ ...index, weight_map: { ...index.weight_map, [first]: target } }))
    await refused(
      t,
      path,
      'ERR_CLIP_CHECKPOINT',
      /not the name of a file in this folder/,
      `weight_map.${first}`,
    )
  }
  await writeFile(
    file,
    JSON.stringify({ ...index, weight_map: { ...index.weight_map, [first]: 'nothing.safetensors' } }),
  )
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /nothing\.safetensors: does not exist/)
  await writeFile(
    file,
    JSON.stringify({ ...index, weight_map: { ...index.weight_map, more: index.weight_map[first] } }),
  )
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /tensor "more" .* but is missing/)
  delete index.weight_map[first]
  await writeFile(file, JSON.stringify(index))
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /is not in `weight_map`/)
})

test('a folder or a dangling link in place of the weights is refused, and an aborted signal rejects', async t => {
  const path = await folder(t)
  const file = join(path, 'model.safetensors')
  await rm(file)
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /has config\.json, but no model\.safetensors/)
  await symlink(path, file)
  await refused(t, path, 'ERR_CLIP_CHECKPOINT', /model\.safetensors: is a directory/)
  const reason = new Error('enough')
  await t.throwsAsync(readCheckpoint(goldenPath('hf-4'), { signal: AbortSignal.abort(reason) }), {
    is: reason,
  })
})

for (const name of [
  'model.safetensors',
  'config.json',
  'preprocessor_config.json',
  'vocab.json',
  'merges.txt',
])
  test(`a FIFO in place of ${name} is refused without waiting`, async t => {
    const path = await folder(t)
    await rm(join(path, name))
    const made = spawnSync('mkfifo', [join(path, name)])
    if (made.status !== 0) {
      t.log('skipped: no mkfifo here')
      t.pass()
      return
    }
    await refused(t, path, 'ERR_CLIP_CHECKPOINT', /is a FIFO, not a file/)
    await refused(t, join(path, name), 'ERR_CLIP_CHECKPOINT', /is a FIFO, not a file or folder/)
  })
