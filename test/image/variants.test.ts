/** BMP, TIFF and transparent images of every kind against Pillow 12, byte for byte; what it refuses is refused. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { ClipError } from '../../lib/base/errors.js'
import { packageRoot } from '../../lib/base/package.js'
import { colourOf } from '../../lib/image/background.js'
import { type DecodeOptions, decodeImage } from '../../lib/image/decode.js'
import type { ImageInput } from '../../lib/image/input.js'
import type { DecodedImage } from '../../lib/image/pixels.js'
import { entriesTest as test } from '../helpers/entries-test.js'
import { bytesOf, pattern, sha256 } from './bytes.js'

type Hashes = Record<string, string>
interface Case {
  file: string
  mode?: string
  width: number
  height: number
  sha256?: Hashes
  background?: Hashes
  refused?: string
  other?: string
}
const folder = join(packageRoot, 'test', 'golden', 'image')
const golden = JSON.parse(readFileSync(join(folder, 'variants.json'), 'utf8')) as {
  made: { colour: string }
  files: Case[]
  turns: { file: string; plain: number[][]; turned: number[][] }[]
  pixels: { mode: 'LA' | 'RGBA'; width: number; height: number; background: Hashes }[]
}
const background = colourOf('colour', golden.made.colour)!

async function same(
  t: import('ava').ExecutionContext,
  input: ImageInput,
  expected: Hashes,
  name: string,
  options?: DecodeOptions,
) {
  const image = await decodeImage(input, options)
  for (const [size, hash] of Object.entries(expected)) {
    const spec = { size: Number(size), interpolation: 'bicubic', mode: 'shortest' } as const
    t.is(sha256(await bytesOf(image, spec, 'reference')), hash, `${name} -> ${size}`)
  }
}

for (const kind of ['bmp', 'tiff'])
  test(`every variant of ${kind} gives Pillow's bytes`, async t => {
    const files = golden.files.filter(item => item.file.startsWith(kind) && item.sha256)
    t.true(files.length >= 60)
    for (const { file, sha256: expected } of files) {
      const path = join(folder, 'variants', file)
      await t.notThrowsAsync(same(t, path, expected!, file), file)
      // TIFFs are turned whatever is asked for, BMPs have nothing to turn by.
      await t.notThrowsAsync(same(t, path, expected!, file, { orient: true }), file)
    }
  })

test('a BMP that Pillow refuses is refused with a typed error, a TIFF is refused or read', async t => {
  const files = golden.files.filter(item => item.refused || item.other)
  t.true(files.length >= 30)
  for (const { file } of files) {
    const error = await decodeImage(join(folder, 'variants', file)).then(
      () => undefined,
      cause => cause,
    )
    if (error === undefined) t.regex(file, /^tiff/)
    else t.true(error instanceof ClipError && error.code === 'ERR_CLIP_IMAGE', `${file}: ${error}`)
  }
})

test('the error for a TIFF of floating-point or large numbers says what to do', async t => {
  for (const [file, said] of [
    ['tiff-f32-le.tif', /floating-point numbers of 32 bits: scale them/],
    ['tiff-i32-be.tif', /numbers of 32 bits: scale them/],
    ['tiff-s16-le.tif', /signed numbers of 16 bits: scale them/],
  ] as const)
    t.regex((await t.throwsAsync(decodeImage(join(folder, 'variants', file))))!.message, said)
})

test('only images with transparency are composited on a background, as by alpha_composite', async t => {
  for (const { file, background: expected } of golden.files)
    if (expected) await same(t, join(folder, 'variants', file), expected, file, { background })
  for (const { mode, width, height, background: expected } of golden.pixels) {
    const channels = mode === 'LA' ? 2 : 4
    const raw = { data: pattern(width, height, channels, 8), width, height, channels } as const
    await same(t, raw, expected, `${mode} ${width} x ${height}`, { background })
  }
})

test('an AVIF is rotated only with `orient`, in each of the eight ways', async t => {
  t.is(golden.turns.length, 8)
  for (const { file, plain, turned } of golden.turns)
    for (const [orient, expected] of [
      [false, plain],
      [true, turned],
    ] as const) {
      const image = (await decodeImage(join(folder, 'variants', file), { orient })) as DecodedImage
      const { width, height, data } = image
      const corners = [
        [3, 3],
        [width - 4, 3],
        [3, height - 4],
        [width - 4, height - 4],
      ].map(([x, y]) => data.subarray(3 * (width * y! + x!), 3 * (width * y! + x!) + 3))
      const difference = Math.max(
        ...corners.flatMap((c, i) => [...c].map((v, k) => Math.abs(v - expected[i]![k]!))),
      )
      t.true(difference <= 4, `${file}, orient: ${orient}: ${difference}`)
    }
})

// Written by test/golden/image/heic.sh.
for (const name of ['heic-8.heic', 'heic-10.heic'])
  test(`a real HEIC file is refused with the reason and what to do, or decoded: ${name}`, async t => {
    const file = join(folder, 'variants', name)
    // A sharp that was built with an HEVC decoder reads it.
    const own = sharp(readFileSync(file)).raw().toBuffer()
    if (await own.catch(() => undefined)) {
      const { width, height, mode } = (await decodeImage(file)) as DecodedImage
      return t.deepEqual([width, height, mode], [64, 64, 'RGB'])
    }
    for (const input of [file, readFileSync(file)]) {
      const error = (await t.throwsAsync(decodeImage(input))) as ClipError
      t.is(error.code, 'ERR_CLIP_IMAGE')
      t.is(error.actual, 'HEIC')
      t.is(error.file, input === file ? file : undefined)
      t.regex(
        error.message,
        /HEIC.*no decoder.*HEVC.*convert it to JPEG or AVIF, or build sharp with a libvips/,
      )
    }
  })

test('the error for a HEIC file says that this build of sharp has no decoder for it, and what to do', async t => {
  // The boxes of an AVIF, called as those of a HEIC are.
  const text = readFileSync(join(folder, 'variants', 'avif-turn-1.avif')).toString('latin1')
  const heic = text
    .replaceAll('avif', 'heic')
    .replaceAll('MA1B', 'heix')
    .replaceAll('MA1A', 'heix')
    .replaceAll('av01', 'hvc1')
    .replaceAll('av1C', 'hvcC')
  const bytes = Buffer.from(heic, 'latin1')
  const error = (await t.throwsAsync(decodeImage(bytes))) as ClipError
  t.is(error.code, 'ERR_CLIP_IMAGE')
  t.regex(error.message, /HEIC.*no decoder.*HEVC.*convert it to JPEG or AVIF, or build sharp with a libvips/)
  for (let length = 16; length < bytes.length; length += 7)
    t.true((await t.throwsAsync(decodeImage(bytes.subarray(0, length)))) instanceof ClipError)
})
