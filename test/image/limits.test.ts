/** What a decoder would need is told from the header, and refused there: shapes, codings and bombs of every format. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32, deflateSync } from 'node:zlib'
import test from 'ava'
import sharp from 'sharp'
import type { ClipError } from '../../lib/base/errors.js'
import { packageRoot } from '../../lib/base/package.js'
import { decodeImage } from '../../lib/image/decode.js'
import { readHeader } from '../../lib/image/header.js'
import { editedBytes } from '../../lib/image/limits.js'
import type { DecodedImage } from '../../lib/image/pixels.js'
import { growth } from '../hostile/memory.js'

const golden = (name: string) => readFileSync(join(packageRoot, 'test', 'golden', 'image', 'files', name))

async function refused(
  t: import('ava').ExecutionContext,
  bytes: Uint8Array,
  message: RegExp,
  maxPixels?: number,
) {
  const grown = await growth(async () => {
    const error = (await t.throwsAsync(decodeImage(bytes, maxPixels ? { maxPixels } : {}))) as ClipError
    t.is(error.code, 'ERR_CLIP_IMAGE')
    t.regex(error.message, message)
  })
  t.true(grown < 32e6, `${grown} bytes`)
}

function chunk(name: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data])
  const ends = Buffer.alloc(8)
  ends.writeUInt32BE(data.length, 0)
  ends.writeUInt32BE(crc32(body) >>> 0, 4)
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)])
}
interface PngShape {
  bits?: number
  colour?: number
  interlaced?: boolean
  before?: Buffer[]
  after?: Buffer[]
}
function png(width: number, height: number, shape: PngShape = {}, rows = Buffer.alloc(100)): Buffer {
  const { bits = 8, colour = 2, interlaced = false, before = [], after = [] } = shape
  const head = Buffer.alloc(13)
  head.writeUInt32BE(width, 0)
  head.writeUInt32BE(height, 4)
  head.set([bits, colour, 0, 0, interlaced ? 1 : 0], 8)
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', head),
    ...before,
    chunk('IDAT', deflateSync(rows)),
    ...after,
    chunk('IEND', Buffer.alloc(0)),
  ])
}

test.serial('a PNG with a side of more than a million pixels is refused', async t => {
  for (const [width, height] of [
    [1, 100_000_000],
    [100_000_000, 1],
    [7, 1_000_001],
    [1_000_001, 90],
  ] as const)
    await refused(t, png(width, height), /no side may have more than 1000000/)
})

test.serial('interlaced, wide and deep PNGs are limited by the memory of their decoder', async t => {
  await refused(
    t,
    png(10_000, 10_000, { bits: 16, colour: 6, interlaced: true }),
    /takes 1200 MB, more than the 800 MB/,
  )
  await refused(
    t,
    png(10_000, 9_999, { bits: 16, colour: 6, interlaced: true }),
    /PNG like this takes 1200 MB/,
  )
  await refused(t, png(1_000_000, 100, { bits: 16, colour: 6 }), /PNG like this takes/)
  await refused(t, png(4000, 4000, { bits: 16, colour: 6, interlaced: true }), /takes/, 16_000_000)
})

test.serial('compressed texts and profiles of a PNG are removed before decoding', async t => {
  const bomb = deflateSync(Buffer.alloc(8_000_000))
  const text = (i: number) => [
    chunk('zTXt', Buffer.concat([Buffer.from(`k${i}\0\0`), bomb])),
    chunk('iTXt', Buffer.concat([Buffer.from(`k${i}\0\x01\0\0\0`), bomb])),
    chunk('iCCP', Buffer.concat([Buffer.from(`k${i}\0\0`), bomb])),
    chunk('tEXt', Buffer.from(`k${i}\0${'x'.repeat(1000)}`)),
  ]
  const many = Array.from({ length: 50 }, (_, i) => text(i)).flat()
  const rows = Buffer.alloc(65 * 13, 0)
  rows.set(Buffer.from([9, 8, 7]), 1)
  const plain = png(20, 13, {}, rows)
  for (const bytes of [png(20, 13, { before: many }, rows), png(20, 13, { after: many }, rows)]) {
    const header = readHeader(bytes)!
    t.deepEqual(Buffer.from(await editedBytes(bytes, header, false)), plain)
    t.deepEqual(await decodeImage(bytes), await decodeImage(plain))
  }
  // A profile of ordinary size costs nothing to read: the file goes to its decoder as it is.
  t.is(readHeader(png(20, 13, { before: [chunk('iCCP', Buffer.alloc(3000))] }, rows))!.edit, undefined)
  t.regex(
    readHeader(png(20, 13, { before: new Array(200_000).fill(chunk('teXt', Buffer.alloc(0))) }))!.refused!,
    /chunks/,
  )
})

test.serial(
  'an AVIF is limited by the memory of AV1 and by its coded size, whatever the container states',
  async t => {
    const avif = await sharp({ create: { width: 1200, height: 1000, channels: 3, background: 'red' } })
      .avif({ effort: 0 })
      .toBuffer()
    const at = avif.indexOf('ispe') + 8
    t.deepEqual(readHeader(avif)!.size, { width: 1200, height: 1000 })
    const said = Buffer.from(avif)
    said.writeUInt32BE(10_000, at)
    said.writeUInt32BE(9_999, at + 4)
    await refused(t, said, /AVIF like this takes 2000 MB, more than the 800 MB/)
    const small = Buffer.from(avif)
    small.writeUInt32BE(10, at)
    small.writeUInt32BE(10, at + 4)
    await refused(t, small, /1200 x 1000 pixels, more than `maxPixels`/, 1_000_000)
  },
)

test.serial('a JPEG with very many scans is refused', async t => {
  const jpeg = await sharp({ create: { width: 4000, height: 3000, channels: 3, background: 'red' } })
    .jpeg({ progressive: true })
    .toBuffer()
  t.truthy(((await decodeImage(jpeg)) as DecodedImage).data)
  const last = jpeg.subarray(jpeg.lastIndexOf(Buffer.from([0xff, 0xda])), -2)
  const many = Buffer.concat([jpeg.subarray(0, -2), ...new Array(5000).fill(last), Buffer.from([0xff, 0xd9])])
  await refused(t, many, /more than 333 scans/)
  await refused(
    t,
    Buffer.concat([
      jpeg.subarray(0, 2),
      ...new Array(60_000).fill(Buffer.from([0xff, 0xfe, 0, 2])),
      jpeg.subarray(2),
    ]),
    /segments/,
  )
})

test.serial('the coefficients of a progressive JPEG count towards its memory', async t => {
  const jpeg = await sharp({ create: { width: 3000, height: 3000, channels: 3, background: 'red' } })
    .jpeg({ progressive: true, chromaSubsampling: '4:4:4' })
    .toBuffer()
  await refused(t, jpeg, /JPEG like this takes 86 MB/, 9_000_000)
  t.truthy(((await decodeImage(jpeg)) as DecodedImage).data)
})

test.serial('frames of a GIF after the first are not read', async t => {
  const gif = golden('gif-animated.gif')
  const header = readHeader(gif)!
  const first = await editedBytes(gif, header, false)
  const frame = gif.subarray(first.length - 1, -1)
  const many = Buffer.concat([gif.subarray(0, -1), ...new Array(20_000).fill(frame), Buffer.from([0x3b])])
  t.deepEqual(await editedBytes(many, readHeader(many)!, false), first)
  t.deepEqual(await decodeImage(many), await decodeImage(gif))
  const blocks = Buffer.concat([gif.subarray(0, 13), Buffer.from([0x21, 0xfe]), Buffer.alloc(600_000, 1)])
  t.regex(readHeader(blocks)!.refused!, /blocks/)
})

/** A classic TIFF of one byte a pixel, its tags as given. */
function tiff(tags: [tag: number, value: number][], next = 0): Buffer {
  const out = Buffer.alloc(8 + 2 + 12 * tags.length + 4 + 64)
  out.write('II*\0', 'latin1')
  out.writeUInt32LE(8, 4)
  out.writeUInt16LE(tags.length, 8)
  for (const [i, [tag, value]] of tags.entries()) {
    out.writeUInt16LE(tag, 10 + 12 * i)
    out.writeUInt16LE(4, 12 + 12 * i)
    out.writeUInt32LE(1, 14 + 12 * i)
    out.writeUInt32LE(value, 18 + 12 * i)
  }
  out.writeUInt32LE(next, 10 + 12 * tags.length)
  return out
}
const grey = (width: number, height: number, more: [number, number][] = []): [number, number][] =>
  ([[256, width], [257, height], [258, 8], [259, 1], [262, 1], [277, 1], ...more] as [number, number][]).sort(
    (a, b) => a[0] - b[0],
  )

test.serial(
  'a TIFF is limited by the size of its tiles and strips, and cyclic directories are harmless',
  async t => {
    await refused(
      t,
      tiff(
        grey(8, 8, [
          [322, 65_536],
          [323, 65_536],
          [324, 100],
          [325, 64],
        ]),
      ),
      /TIFF like this takes/,
    )
    await refused(t, tiff(grey(60_000, 60_000)), /more than `maxPixels`/)
    const strip: [number, number][] = [
      [273, 0],
      [278, 8],
      [279, 64],
    ]
    const circle = tiff(grey(8, 8, strip), 8)
    circle.writeUInt32LE(circle.length - 64, 10 + 12 * 5 + 8)
    circle.fill(77, circle.length - 64)
    const image = (await decodeImage(circle)) as DecodedImage
    t.deepEqual([image.mode, image.data[0]], ['L', 77])
    t.regex(
      readHeader(tiff(grey(8, 8).map(([tag, v]) => [tag, tag === 277 ? 60_000 : v])))!.refused!,
      /samples/,
    )
  },
)

test.serial('WebP and BMP are limited by their size', async t => {
  const webp = await sharp({ create: { width: 1200, height: 1000, channels: 3, background: 'red' } })
    .webp()
    .toBuffer()
  await refused(t, webp, /1200 x 1000 pixels, more than `maxPixels`/, 1_000_000)
  const bmp = Buffer.alloc(54)
  bmp.write('BM')
  bmp.writeUInt32LE(54, 10)
  bmp.writeUInt32LE(40, 14)
  bmp.writeUInt32LE(0xfffffffe, 18)
  bmp.writeUInt32LE(5, 22)
  bmp.writeUInt16LE(24, 28)
  await refused(t, bmp, /more than `maxPixels`/)
})

test.serial(
  'headers that are truncated anywhere, or have any byte inverted, are read without an error',
  t => {
    const folders = ['files', 'variants'].map(name => join(packageRoot, 'test', 'golden', 'image', name))
    const seen = new Set<string>()
    for (const folder of folders)
      for (const name of readdirSync(folder)) {
        const bytes = readFileSync(join(folder, name))
        const start = Math.min(bytes.length, 160)
        for (let length = 0; length <= start; length++) readHeader(bytes.subarray(0, length))
        for (let at = 0; at < start; at++)
          for (const change of [0xff, 1]) {
            bytes[at]! ^= change
            seen.add(String(readHeader(bytes)?.format))
            bytes[at]! ^= change
          }
      }
    t.true(seen.size >= 8, [...seen].join())
  },
)
