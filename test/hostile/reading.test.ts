/** What can lie at a path instead of a checkpoint or an image: a ClipError that names it, through the public API. */

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { ClipError, type ClipErrorCode, load } from '../../lib/index.js'
import { binding, fromNative } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'
import { readVocabulary } from '../../lib/tokenizer/index.js'
import { goldenPath } from '../checkpoint/goldens.js'

const scratch = mkdtempSync(join(tmpdir(), 'clip-native-reading-'))
test.after.always(() => rmSync(scratch, { recursive: true, force: true }))
const posix = process.platform !== 'win32'

interface Expected {
  code: ClipErrorCode
  file: string
  field?: string
  message: RegExp
}

async function refused(t: ExecutionContext, what: Promise<unknown>, expected: Expected): Promise<void> {
  const error = await t.throwsAsync(what)
  if (!(error instanceof ClipError)) return t.fail(String(error?.stack))
  t.is(error.code, expected.code, error.message)
  t.is(error.file, expected.file)
  if (expected.field) t.is(error.field, expected.field)
  t.regex(error.message, expected.message)
}

const file = (name: string, data: string | Uint8Array): string => {
  const path = join(scratch, name)
  writeFileSync(path, data)
  return path
}
const folder = join(scratch, 'folder')
mkdirSync(folder)
const fifo = join(scratch, 'fifo')
if (posix) execFileSync('mkfifo', [fifo])

/** A copy of hf-4 whose model.safetensors is changed. */
function damaged(name: string, change: (bytes: Buffer) => Buffer): { path: string; weights: string } {
  const path = join(scratch, name)
  cpSync(goldenPath('hf-4'), path, { recursive: true })
  const weights = join(path, 'model.safetensors')
  writeFileSync(weights, change(readFileSync(weights)))
  return { path, weights }
}
type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] }
const headerOf = (bytes: Buffer): Record<string, Entry> =>
  JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE(0))))
/** The same data behind a changed header. */
const withHeader =
  (change: (header: Record<string, Entry>) => unknown) =>
  (bytes: Buffer): Buffer => {
    const header = headerOf(bytes)
    change(header)
    const text = Buffer.from(JSON.stringify(header))
    const size = Buffer.alloc(8)
    size.writeBigUInt64LE(BigInt(text.length))
    return Buffer.concat([size, text, bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)))])
  }

const NORM = 'vision_model.pre_layrnorm.weight'

test('load refuses a missing path, a plain folder, an empty file, a text, a pipe and a device', async t => {
  const code = 'ERR_CLIP_CHECKPOINT'
  const empty = file('empty.pt', '')
  const words = file('words.pt', 'these are words, and they say nothing of weights')
  await refused(t, load(folder), { code, file: folder, message: /not a model folder/ })
  await refused(t, load(empty), { code, file: empty, field: 'header', message: /empty/ })
  await refused(t, load(words), { code, file: words, field: 'header', message: /neither/ })
  await t.throwsAsync(load(join(scratch, 'nothing')), { instanceOf: ClipError, message: /nothing/ })
  if (!posix) return
  await refused(t, load(fifo), { code, file: fifo, message: /FIFO/ })
  await refused(t, load('/dev/zero'), { code, file: '/dev/zero', message: /device/ })
})

const parts: [golden: string, name: string][] = [
  ...['config.json', 'preprocessor_config.json', 'vocab.json', 'merges.txt', 'model.safetensors'].map(
    (name): [string, string] => ['hf-4', name],
  ),
  ['hf-5', 'processor_config.json'],
  ['hf-5', 'tokenizer.json'],
  ['hf-4-sharded', 'model.safetensors.index.json'],
  ['hf-4-sharded', 'model-00002-of-00003.safetensors'],
  ['openclip-80', 'open_clip_config.json'],
  ['openclip-104-bin', 'open_clip_pytorch_model.bin'],
]
for (const [golden, name] of parts)
  test(`load refuses a pipe, a device or a folder in place of ${name} of ${golden}`, async t => {
    if (!posix) return t.pass()
    for (const [kind, message] of [
      ['pipe', /FIFO/],
      ['device', /device/],
      ['folder', /directory/],
    ] as const) {
      const path = join(scratch, `${kind}-${golden}-${name}`)
      cpSync(goldenPath(golden), path, { recursive: true })
      const victim = join(path, name)
      rmSync(victim)
      if (kind === 'pipe') execFileSync('mkfifo', [victim])
      else if (kind === 'device') execFileSync('ln', ['-s', '/dev/zero', victim])
      else mkdirSync(victim)
      await refused(t, load(path), { code: 'ERR_CLIP_CHECKPOINT', file: victim, message })
    }
  })

test('readVocabulary refuses a pipe, a device, a folder, and a file that is too large', async t => {
  if (!posix) return t.pass()
  const large = file('large-vocab.json', '')
  truncateSync(large, 17 << 20)
  for (const [vocab, message] of [
    [fifo, /FIFO/],
    ['/dev/zero', /device/],
    [folder, /directory/],
    [large, /at most 16777216 bytes, got 17825792 bytes/],
    [join(scratch, 'nothing.json'), /does not exist/],
    [file('latin1.json', Buffer.from('{"caf\xe9": 1}', 'latin1')), /not UTF-8/],
  ] as const) {
    const source = { vocab, merges: join(goldenPath('hf-4'), 'merges.txt') }
    await refused(t, readVocabulary(source), { code: 'ERR_CLIP_CHECKPOINT', file: vocab, message })
  }
})

test('load refuses a socket', async t => {
  if (!posix) return t.pass()
  const socket = join(scratch, 'socket')
  const server = createServer().listen(socket)
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => server.close())
  await refused(t, load(socket), { code: 'ERR_CLIP_CHECKPOINT', file: socket, message: /socket/ })
})

test('load refuses a safetensors file that is cut at any sixteenth of its length', async t => {
  for (let i = 0; i < 16; i++) {
    const { path, weights } = damaged(`cut-${i}`, bytes => bytes.subarray(0, (bytes.length * i) >> 4))
    await refused(t, load(path), { code: 'ERR_CLIP_CHECKPOINT', file: weights, message: /./ })
  }
})

const faults: [string, (bytes: Buffer) => Buffer, RegExp][] = [
  ['wrong dtype', withHeader(h => Object.assign(h[NORM]!, { dtype: 'I16' })), /I16/],
  ['missing tensor', withHeader(h => Reflect.deleteProperty(h, NORM)), /pre_layrnorm|belong/],
  [
    'overlapping ranges',
    withHeader(h => {
      h[NORM]!.data_offsets = h[NORM]!.data_offsets.map(at => at + 2) as [number, number]
    }),
    /overlaps|belong to no tensor/,
  ],
  [
    'NaN weights',
    bytes => {
      const data = 8 + Number(bytes.readBigUInt64LE(0))
      bytes.writeUInt16LE(0x7e00, data + headerOf(bytes)[NORM]!.data_offsets[0])
      return bytes
    },
    /NaN at \[0\]/,
  ],
]
for (const [name, change, message] of faults)
  test(`load refuses a safetensors file with ${name}`, async t => {
    const { path, weights } = damaged(name.replaceAll(' ', '-'), change)
    const error = await t.throwsAsync(load(path), { instanceOf: ClipError, code: 'ERR_CLIP_CHECKPOINT' })
    t.is(error?.file, weights)
    t.truthy(error?.field)
    t.regex(error?.message ?? '', message)
  })

test('a file that changes after its header was read is refused', async t => {
  for (const [name, change] of [
    ['shorter', (path: string) => truncateSync(path, 100_000)],
    ['empty', (path: string) => truncateSync(path, 0)],
    ['longer', (path: string) => truncateSync(path, 10_000_000)],
    ['gone', (path: string) => rmSync(path)],
  ] as const) {
    const { path, weights } = damaged(`changed-${name}`, bytes => bytes)
    const { model, preprocess } = await readCheckpoint(path)
    change(weights)
    const options = { device: 'auto', dtype: 'float32', threads: 1, maxBatchRows: 512 } as const
    await refused(
      t,
      fromNative(() => binding().loadModel(nextJob(), model, preprocess, options)),
      {
        code: 'ERR_CLIP_CHECKPOINT',
        file: weights,
        message: name === 'gone' ? /can't be opened/ : /had \d+ when its header was read/,
      },
    )
  }
})

test('encodeImage refuses everything that is not an image, through the public API', async t => {
  const clip = await load()
  t.teardown(() => clip.dispose())
  const png = readFileSync(join(goldenPath('hf-4'), '../../image/files/png-rgb.png'))
  const images: [string, RegExp][] = [
    [file('words.png', 'no image'), /is not a readable image/],
    [file('empty.png', ''), /empty/],
    [file('half.png', png.subarray(0, png.length >> 1)), /./],
    [join(scratch, 'nowhere.png'), /does not exist/],
    [folder, /directory/],
    ...(posix
      ? ([
          [fifo, /FIFO/],
          ['/dev/zero', /device/],
        ] as [string, RegExp][])
      : []),
  ]
  for (const [path, message] of images) {
    await refused(t, clip.encodeImage(path), { code: 'ERR_CLIP_IMAGE', file: path, field: 'image', message })
    const error = await t.throwsAsync(clip.encodeImage([png, path]), { instanceOf: ClipError })
    t.is(error?.index, 1)
    t.is(error?.field, 'images[1]')
    t.is(error?.file, path)
  }
})
