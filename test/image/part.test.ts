/** Only what reaches the crop is decoded: the same pixels as from the whole image, and never fewer than are needed. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { packageRoot } from '../../lib/base/package.js'
import { decodeImage } from '../../lib/image/decode.js'
import { readHeader } from '../../lib/image/header.js'
import type { DecodedImage, ImagePart, NativeImage } from '../../lib/image/pixels.js'
import { load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import type { PreprocessSpec } from '../../lib/native/spec.js'
import { testEntries } from '../../lib/native/test-entries.js'
import { entriesTest as test } from '../helpers/entries-test.js'

const folder = join(packageRoot, 'test', 'golden', 'image', 'files')
const files = readdirSync(folder)
const backends = binding()
  .backends()
  .filter(backend => backend.available && backend.device !== 'cuda')
  .map(backend => backend.name)

const mean: [number, number, number] = [0.48145466, 0.4578275, 0.40821073]
const std: [number, number, number] = [0.26862954, 0.26130258, 0.27577711]
type Shape = Pick<PreprocessSpec, 'size' | 'interpolation' | 'mode'>

async function planes(image: NativeImage, shape: Shape, backend: string): Promise<Float32Array> {
  const out = new Float32Array(3 * shape.size ** 2)
  await testEntries().kernels.preprocess({
    image,
    preprocess: { ...shape, mean, std },
    out,
    threads: 1,
    backend,
  })
  return out
}

const CHANNELS = { L: 1, RGB: 3, CMYK: 4 } as const
type Mode = keyof typeof CHANNELS

function decoded(width: number, height: number, mode: Mode): DecodedImage {
  const data = new Uint8Array(width * height * CHANNELS[mode])
  let state = width * 31 + height
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    data[i] = state >>> 24
  }
  return { data, width, height, mode }
}

/** The part of an image, in memory of exactly its size. */
function cut(whole: DecodedImage, part: ImagePart): DecodedImage {
  const n = CHANNELS[whole.mode as Mode]
  const data = new Uint8Array(part.width * part.height * n)
  for (let y = 0; y < part.height; y++) {
    const from = ((part.top + y) * whole.width + part.left) * n
    data.set(whole.data.subarray(from, from + part.width * n), y * part.width * n)
  }
  return { ...whole, data, part }
}

/** The most that `taken` may be in 0 .. most, of a property that holds up to some number. */
async function largest(most: number, holds: (taken: number) => Promise<boolean>): Promise<number> {
  let low = 0
  let high = most
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (await holds(middle)) low = middle
    else high = middle - 1
  }
  return low
}

const shapes: [width: number, height: number, mode: Mode, shape: Shape][] = [
  [320, 213, 'RGB', { size: 56, interpolation: 'bicubic', mode: 'shortest' }],
  [213, 320, 'RGB', { size: 56, interpolation: 'bicubic', mode: 'shortest' }],
  [301, 97, 'L', { size: 31, interpolation: 'bilinear', mode: 'shortest' }],
  [97, 301, 'CMYK', { size: 31, interpolation: 'bicubic', mode: 'shortest' }],
  [64, 48, 'RGB', { size: 48, interpolation: 'bicubic', mode: 'shortest' }], // no pass at all
  [40, 30, 'RGB', { size: 72, interpolation: 'bicubic', mode: 'shortest' }], // it grows
  [3, 400, 'RGB', { size: 5, interpolation: 'bicubic', mode: 'shortest' }], // vertical pass first
]

for (const backend of backends)
  test(`the smallest part that is decoded gives the bytes of the whole image on ${backend}`, async t => {
    for (const [width, height, mode, shape] of shapes) {
      const name = `${mode} ${width} x ${height} -> ${shape.size}`
      const whole = decoded(width, height, mode)
      const expected = await planes(whole, shape, backend)
      const taken = async (part: ImagePart) => {
        try {
          t.deepEqual(await planes(cut(whole, part), shape, backend), expected, name)
          return true
        } catch (error) {
          t.regex((error as Error).message, /lacks pixels that its crop needs/, name)
          return false
        }
      }
      const left = await largest(width - 1, n => taken({ left: n, top: 0, width: width - n, height }))
      const right = await largest(width - 1, n => taken({ left: 0, top: 0, width: width - n, height }))
      const top = await largest(height - 1, n => taken({ left: 0, top: n, width, height: height - n }))
      const bottom = await largest(height - 1, n => taken({ left: 0, top: 0, width, height: height - n }))
      t.true(width > height ? left > 0 && right > 0 : top > 0 && bottom > 0, name)
      t.true(await taken({ left, top, width: width - left - right, height: height - top - bottom }), name)
    }
  })

test('a part of an image in a mode with another resize is refused, and so is a part outside the image', async t => {
  const shape = { size: 8, interpolation: 'bicubic', mode: 'shortest' } as const
  const part = { left: 6, top: 0, width: 28, height: 20 } // columns 6 to 33 reach the crop
  const rgba: DecodedImage = { data: new Uint8Array(28 * 20 * 4), width: 40, height: 20, mode: 'RGBA', part }
  await t.throwsAsync(planes(rgba, shape, 'reference'), { message: /lacks pixels/ })
  const rgb: DecodedImage = { data: new Uint8Array(28 * 20 * 3), width: 40, height: 20, mode: 'RGB', part }
  await t.notThrowsAsync(planes(rgb, shape, 'reference'))
  await t.throwsAsync(planes({ ...rgb, nearest: true }, shape, 'reference'), { message: /lacks pixels/ })
  for (const [key, value] of [
    ['left', 17],
    ['left', -1],
    ['top', 1],
    ['width', 0],
  ] as const)
    await t.throwsAsync(planes({ ...rgb, part: { ...part, [key]: value } }, shape, 'reference'), {
      message: new RegExp(`part\\.(${key}|width|height)`),
    })
})

test('files decoded in part give the same result as when decoded as a whole', async t => {
  await using clip = await load()
  const shape = { size: 72, interpolation: 'bicubic', mode: 'shortest' } as const
  let parts = 0
  for (const file of files) {
    const path = join(folder, file)
    const expected = await planes(await decodeImage(path), shape, clip.info.backend.split('+')[0]!)
    t.deepEqual((await clip.preprocess(path)).data, expected, file)
    const asked = await decodeImage(path, {
      part: (width, height) => ({ left: 0, top: 0, width, height: Math.ceil(height / 2) }),
    })
    if ('part' in asked) parts++
  }
  t.true(parts >= 10, `${parts} files are decoded in part`)
})

test("the header of a JPEG or PNG is read as sharp's metadata reads it", async t => {
  let known = 0
  for (const file of files) {
    const bytes = readFileSync(join(folder, file))
    const facts = readHeader(bytes)?.facts
    if (!/\.(jpg|png)$/.test(file)) {
      t.is(facts, undefined, file)
      continue
    }
    const { width, height, space, depth, isPalette } = await sharp(bytes, { ignoreIcc: true }).metadata()
    t.deepEqual([facts?.width, facts?.height, facts?.depth], [width, height, depth], file)
    if (!isPalette) t.is(facts?.space, space, file)
    known++
    // Cut anywhere, it is unknown or the same, and nothing is read past the end.
    for (let length = 0; length < Math.min(bytes.length, 700); length++) {
      const some = readHeader(bytes.subarray(0, length))?.facts
      t.true(
        some === undefined || (some.width === width && some.height === height),
        `${file} cut to ${length}`,
      )
    }
  }
  t.true(known >= 30, `${known} files`)
})
