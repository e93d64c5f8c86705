/** Every kind of ImageInput, and every way in which one can be wrong: an error that names it, never a hang. */

import { execFileSync } from 'node:child_process'
import { createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { runInNewContext } from 'node:vm'
import { deflateSync } from 'node:zlib'
import test from 'ava'
import sharp from 'sharp'
import { ClipError } from '../../lib/base/errors.js'
import { packageRoot } from '../../lib/base/package.js'
import { type DecodeOptions, decodeImage } from '../../lib/image/decode.js'
import { type ImageInput, isOneImage } from '../../lib/image/input.js'
import type { DecodedImage, PlanesImage } from '../../lib/image/pixels.js'
import { growth } from '../hostile/memory.js'

const file = join(packageRoot, 'test', 'golden', 'image', 'files', 'png-rgb.png')
const bytes = new Uint8Array(readFileSync(file))
const scratch = mkdtempSync(join(tmpdir(), 'clip-native-image-'))
test.after.always(() => rmSync(scratch, { recursive: true, force: true }))

const decoded = async (input: ImageInput, options?: DecodeOptions) =>
  (await decodeImage(input, options)) as DecodedImage

const arrayBuffer = () => bytes.slice().buffer as ArrayBuffer
const inputs: Record<string, () => ImageInput> = {
  path: () => file,
  'file: URL': () => pathToFileURL(file),
  'file: URL as a string': () => pathToFileURL(file).href,
  'data: URL': () => new URL(`data:image/png;base64,${Buffer.from(bytes).toString('base64')}`),
  'data: URL as a string': () => `data:image/png;base64,${Buffer.from(bytes).toString('base64')}`,
  'data: URL in percents': () =>
    `data:image/png,${Array.from(bytes, b => `%${b.toString(16).padStart(2, '0')}`).join('')}`,
  Uint8Array: () => bytes,
  'a view into a larger buffer': () => {
    const larger = new Uint8Array(bytes.length + 20)
    larger.set(bytes, 7)
    return larger.subarray(7, 7 + bytes.length)
  },
  Buffer: () => Buffer.from(bytes),
  ArrayBuffer: arrayBuffer,
  'shared memory': () => {
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
    shared.set(bytes)
    return shared
  },
  Blob: () => new Blob([arrayBuffer()]),
  'node stream': () => createReadStream(file, { highWaterMark: 100 }),
  'node stream of one chunk': () => Readable.from([Buffer.from(bytes)]),
  'web stream': () => new Blob([arrayBuffer()]).stream() as ImageInput,
  sharp: () => sharp(bytes) as unknown as ImageInput,
}

for (const [name, make] of Object.entries(inputs))
  test(`an image may be ${name}`, async t => {
    const want = await sharp(bytes).raw().toBuffer()
    const input = make()
    t.true(isOneImage(input))
    const image = await decoded(input)
    t.deepEqual([image.width, image.height, image.mode], [101, 87, 'RGB'])
    t.true(Buffer.from(image.data).equals(want))
  })

test("the caller's sharp pipeline runs unchanged, and the instance stays usable", async t => {
  const mine = sharp(bytes).resize(20, 10, { fit: 'fill' }).greyscale()
  const image = await decoded(mine as unknown as ImageInput)
  t.deepEqual([image.width, image.height], [20, 10])
  t.is((await mine.png().metadata()).width, 101)
})

test('a file that was replaced under the same name is read again', async t => {
  const path = join(scratch, 'changing.png')
  writeFileSync(
    path,
    await sharp({ create: { width: 3, height: 3, channels: 3, background: 'red' } })
      .png()
      .toBuffer(),
  )
  t.is((await decoded(path)).data[0], 255)
  writeFileSync(
    path,
    await sharp({ create: { width: 3, height: 3, channels: 3, background: 'blue' } })
      .png()
      .toBuffer(),
  )
  t.is((await decoded(path)).data[0], 0)
})

test('raw pixels and preprocessed planes are passed on without a copy', async t => {
  for (const channels of [1, 2, 3, 4] as const) {
    const data = new Uint8ClampedArray(6 * channels).map((_, i) => i)
    const image = await decoded({ data, width: 2, height: 3, channels })
    t.is(image.data.buffer, data.buffer)
    t.is(image.mode, (['L', 'LA', 'RGB', 'RGBA'] as const)[channels - 1])
  }
  const data = new Float32Array(3 * 4 * 4)
  const planes = (await decodeImage({ data, shape: [1, 3, 4, 4] })) as PlanesImage
  t.is(planes.planes.buffer, data.buffer)
})

function pngHeader(width: number, height: number): Uint8Array {
  const head = Buffer.alloc(33)
  head.set([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13])
  head.write('IHDR', 12, 'latin1')
  head.writeUInt32BE(width, 16)
  head.writeUInt32BE(height, 20)
  head.set([8, 2, 0, 0, 0], 24)
  const crc = (part: Uint8Array) => {
    let c = ~0
    for (const byte of part) {
      c ^= byte
      for (let k = 0; k < 8; k++) c = (c >>> 1) ^ (c & 1 ? 0xedb88320 : 0)
    }
    return ~c >>> 0
  }
  head.writeUInt32BE(crc(head.subarray(12, 29)), 29)
  const body = deflateSync(Buffer.alloc(1000))
  const data = Buffer.alloc(body.length + 12)
  data.writeUInt32BE(body.length, 0)
  data.write('IDAT', 4, 'latin1')
  data.set(body, 8)
  data.writeUInt32BE(crc(data.subarray(4, 8 + body.length)), 8 + body.length)
  return Buffer.concat([head, data])
}

const folder = join(scratch, 'folder')
mkdirSync(folder)
const empty = join(scratch, 'empty.jpg')
writeFileSync(empty, '')
const noImage = join(scratch, 'words.jpg')
writeFileSync(noImage, 'this is no image at all, though it is called one')
const huge = join(scratch, 'huge.png')
writeFileSync(huge, pngHeader(60000, 60000))

const unreadable: Record<string, [string, RegExp]> = {
  'a missing path': [join(scratch, 'nowhere.png'), /does not exist/],
  'a path through a file': [join(empty, 'x.png'), /does not exist/],
  'a directory': [folder, /directory/],
  'an empty file': [empty, /empty/],
  'no image': [noImage, /is not a readable image/],
  'a header of 60000 x 60000': [huge, /60000 x 60000 pixels.*maxPixels/],
  ...(process.platform === 'linux' ? { 'a device': ['/dev/zero', /device/] as [string, RegExp] } : {}),
}
for (const [name, [path, message]] of Object.entries(unreadable))
  test(`an image that cannot be read is refused: ${name}`, async t => {
    const error = (await t.throwsAsync(decodeImage(path, { index: 3 }))) as ClipError
    t.true(error instanceof ClipError)
    t.is(error.code, 'ERR_CLIP_IMAGE')
    t.is(error.file, path)
    t.is(error.field, 'images[3]')
    t.is(error.index, 3)
    t.regex(error.message, message)
    t.truthy(error.expected)
    t.truthy(error.actual)
  })

test('a FIFO is refused without waiting for a writer', async t => {
  if (process.platform === 'win32') return t.pass()
  const fifo = join(scratch, 'fifo')
  execFileSync('mkfifo', [fifo])
  const error = (await t.throwsAsync(decodeImage(fifo))) as ClipError
  t.is(error.code, 'ERR_CLIP_IMAGE')
  t.regex(error.message, /FIFO/)
  t.is(error.index, undefined)
})

for (const name of [
  'jpeg-420.jpg',
  'jpeg-420-progressive.jpg',
  'png-rgb.png',
  'webp-lossy.webp',
  'gif-p.gif',
  'tiff-rgb.tif',
])
  test(`a truncated ${name} is refused, as by Pillow`, async t => {
    const whole = readFileSync(join(packageRoot, 'test', 'golden', 'image', 'files', name))
    for (const part of [0.02, 0.3, 0.6, 0.9]) {
      const cut = new Uint8Array(whole.subarray(0, Math.max(3, Math.floor(whole.length * part))))
      const error = (await t.throwsAsync(decodeImage(cut), undefined, `${name} at ${part}`)) as ClipError
      t.is(error.code, 'ERR_CLIP_IMAGE')
      t.is(error.field, 'image')
      t.truthy(error.cause)
    }
  })

test('maxPixels counts every kind of input', async t => {
  const options = { maxPixels: 100 }
  const raw = { data: new Uint8Array(303), width: 101, height: 1, channels: 3 } as const
  for (const input of [file, bytes, sharp(bytes) as unknown as ImageInput, raw])
    t.is(((await t.throwsAsync(decodeImage(input, options))) as ClipError).code, 'ERR_CLIP_IMAGE')
  t.is((await decoded(file, { maxPixels: 101 * 87 })).width, 101)
})

const detached = () => {
  const buffer = arrayBuffer()
  structuredClone(buffer, { transfer: [buffer] })
  return buffer
}
const detachedView = () => {
  const view = new Uint8Array(8)
  structuredClone(view.buffer, { transfer: [view.buffer] })
  return view
}
const mistakes: Record<string, [() => unknown, RegExp]> = {
  number: [() => 5, /`image` to be a path/],
  null: [() => null, /`image` to be/],
  'empty object': [() => ({}), /`image` to be/],
  'empty path': [() => '', /`image` to be a path/],
  'null character': [() => 'a\0b', /path/],
  'http URL': [() => 'https://example.com/cat.jpg', /fetch it first/],
  'http URL object': [() => new URL('http://example.com/cat.jpg'), /fetch it first/],
  'ftp URL': [() => new URL('ftp://example.com/cat.jpg'), /file: or data:/],
  'detached ArrayBuffer': [detached, /detached/],
  'detached view': [detachedView, /detached/],
  'detached pixels': [() => ({ data: detachedView(), width: 2, height: 1, channels: 4 }), /detached/],
  'short pixels': [
    () => ({ data: new Uint8Array(1000), width: 224, height: 224, channels: 3 }),
    /`image\.data` to have 150528 bytes \(224 x 224 x 3\), got 1000/,
  ],
  'pixels of no kind': [() => ({ data: [1, 2, 3], width: 1, height: 1, channels: 3 }), /`image\.data`/],
  'width 0': [() => ({ data: new Uint8Array(0), width: 0, height: 1, channels: 3 }), /`image\.width`/],
  'width 1.5': [() => ({ data: new Uint8Array(3), width: 1.5, height: 1, channels: 2 }), /`image\.width`/],
  'height a word': [
    () => ({ data: new Uint8Array(3), width: 1, height: 'x', channels: 3 }),
    /`image\.height`/,
  ],
  'channels 5': [() => ({ data: new Uint8Array(5), width: 1, height: 1, channels: 5 }), /`image\.channels`/],
  'no channels': [() => ({ data: new Uint8Array(3), width: 1, height: 1 }), /`image\.channels`/],
  'planes without a shape': [() => ({ data: new Float32Array(3) }), /`image\.shape`/],
  'planes of another shape': [() => ({ data: new Float32Array(48), shape: [1, 3, 4, 5] }), /`image\.shape`/],
  'too few planes': [() => ({ data: new Float32Array(47), shape: [1, 3, 4, 4] }), /48 values/],
  'stream of words': [() => Readable.from(['a', 'b']), /stream of bytes/],
}
for (const [name, [make, message]] of Object.entries(mistakes))
  test(`an invalid argument is a TypeError or RangeError: ${name}`, async t => {
    const error = await t.throwsAsync(decodeImage(make() as ImageInput))
    t.true(error instanceof TypeError || error instanceof RangeError, String(error))
    t.is((error as { code?: string }).code, 'ERR_CLIP_INPUT')
    t.regex(error?.message ?? '', message)
  })

test('empty bytes, an empty Blob and an empty stream are refused', async t => {
  for (const input of [new Uint8Array(0), new ArrayBuffer(0), new Blob([]), Readable.from([])]) {
    const error = (await t.throwsAsync(decodeImage(input))) as ClipError
    t.is(error.code, 'ERR_CLIP_IMAGE')
    t.regex(error.message, /empty/)
  }
})

test('streams that fail, never end or stay silent are refused', async t => {
  const failing = new Readable({ read: () => failing.destroy(new Error('the disk is on fire')) })
  const error = (await t.throwsAsync(decodeImage(failing))) as ClipError
  t.is(error.code, 'ERR_CLIP_IMAGE')
  t.is((error.cause as Error).message, 'the disk is on fire')

  const chunk = Buffer.alloc(64 * 1024 * 1024)
  const endless = new Readable({ read: () => endless.push(chunk), highWaterMark: 1 })
  const tooLong = (await t.throwsAsync(decodeImage(endless))) as ClipError
  t.regex(tooLong.message, /268435456 bytes/)
  t.true(endless.destroyed)

  const silent = new Readable({ read() {} })
  const stop = new AbortController()
  setTimeout(() => stop.abort(new Error('enough')), 20)
  await t.throwsAsync(decodeImage(silent, { signal: stop.signal }), { message: 'enough' })
  t.true(silent.destroyed)
})

test('an aborted signal rejects with its reason', async t => {
  const reason = new Error('not today')
  for (const make of Object.values(inputs)) {
    const error = await t.throwsAsync(decodeImage(make(), { signal: AbortSignal.abort(reason) }))
    t.is(error, reason)
  }
})

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
const base64: Record<string, [text: () => string, format: string]> = {
  PNG: [() => text(bytes), 'PNG'],
  'JPEG, which begins as a path does': [
    () => text(readFileSync(join(packageRoot, 'test/golden/image/files/jpeg-420.jpg'))),
    'JPEG',
  ],
  WebP: [() => text(readFileSync(join(packageRoot, 'test/golden/image/files/webp-lossy.webp'))), 'WebP'],
  GIF: [() => text(readFileSync(join(packageRoot, 'test/golden/image/files/gif-p.gif'))), 'GIF'],
  BMP: [() => text(readFileSync(join(packageRoot, 'test/golden/image/variants/bmp-24.bmp'))), 'BMP'],
  AVIF: [() => text(readFileSync(join(packageRoot, 'test/golden/image/variants/avif-turn-1.avif'))), 'AVIF'],
  TIFF: [() => text(readFileSync(join(packageRoot, 'test/golden/image/files/tiff-l.tif'))), 'TIFF'],
  SVG: [() => text(Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg">${' '.repeat(50)}</svg>`)), 'SVG'],
  'in the letters of URLs': [() => Buffer.from(bytes).toString('base64url'), 'PNG'],
  'in lines of 76': [() => text(bytes).replace(/.{76}/g, '$&\n'), 'PNG'],
  'with half of a data: URL before it': [() => `image/png;base64,${text(bytes)}`, 'PNG'],
  'of five million characters': [() => text(bytes) + 'A'.repeat(5_000_000), 'PNG'],
}
for (const [name, [make, format]] of Object.entries(base64))
  test(`base64 without "data:" is recognised: ${name}`, async t => {
    for (const index of [undefined, 2]) {
      const error = (await t.throwsAsync(decodeImage(make(), { index }))) as ClipError
      t.is(error.code, 'ERR_CLIP_IMAGE')
      t.regex(
        error.message,
        new RegExp(`looks like ${format} in base64: pass Buffer\\.from\\(text, 'base64'\\)`),
      )
      t.is(error.file, undefined)
      for (const value of [error.message, error.expected, error.actual]) t.true((value ?? '').length < 300)
    }
  })

test('a string that can not be a path is not the path of the error', async t => {
  for (const long of [
    'x'.repeat(5_000_000),
    `${'folder/'.repeat(100_000)}cat.jpg`,
    `data:${'y'.repeat(100_000)}`,
  ]) {
    const error = (await t.throwsAsync(decodeImage(long))) as ClipError
    t.true(error.message.length < 400, `${error.message.length}`)
    t.true((error.file ?? '').length <= 120)
  }
})

const pieces = (size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.slice(i * size, (i + 1) * size))
const streams: Record<string, () => ImageInput> = {
  'pieces of one byte': () => Readable.from(pieces(1)),
  'an async generator of Uint8Arrays': async function* () {
    yield* pieces(100)
  } as () => ImageInput,
  'an async iterable that is no generator': () => ({
    [Symbol.asyncIterator]: () => pieces(300)[Symbol.iterator]() as unknown as AsyncIterator<Uint8Array>,
  }),
  'a web stream without an async iterator': () => {
    const stream = new Blob([arrayBuffer()]).stream()
    return { getReader: () => stream.getReader() }
  },
  "a Response's body": () => new Response(arrayBuffer()).body!,
  'pieces of another realm': () =>
    Readable.from(pieces(200).map(piece => runInNewContext('Uint8Array.from(list)', { list: [...piece] }))),
  'pieces that are ArrayBuffers': () => Readable.from(pieces(200).map(piece => piece.buffer)) as ImageInput,
}
for (const [name, make] of Object.entries(streams))
  test(`a stream may be ${name}`, async t => {
    t.true(isOneImage(make()))
    t.deepEqual(await decoded(make()), await decoded(bytes))
  })

test('bytes, Blobs, URLs and pixels of another realm are accepted', async t => {
  const list = [...bytes]
  t.deepEqual(await decoded(runInNewContext('Uint8Array.from(list)', { list })), await decoded(bytes))
  t.deepEqual(await decoded(runInNewContext('Uint8Array.from(list).buffer', { list })), await decoded(bytes))
  const data = runInNewContext('Uint8Array.from([1, 2, 3])')
  t.deepEqual([...(await decoded({ data, width: 1, height: 1, channels: 3 })).data], [1, 2, 3])
  const planes = runInNewContext('new Float32Array(48)')
  t.is(((await decodeImage({ data: planes, shape: [1, 3, 4, 4] })) as PlanesImage).planes.length, 48)
})

test.serial('a stream of one-byte chunks takes no more memory than its bytes', async t => {
  async function* many() {
    const piece = new Uint8Array(1)
    for (let i = 0; i < 1_000_000; i++) yield piece
  }
  const grown = await growth(async () => {
    t.is(((await t.throwsAsync(decodeImage(many()))) as ClipError).code, 'ERR_CLIP_IMAGE')
  })
  t.true(grown < 64e6, `${grown} bytes`) // 257 bytes for each were 257 MB
})
