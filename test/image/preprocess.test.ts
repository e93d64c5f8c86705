/** Preprocessing against Pillow 12 and torchvision, byte for byte, on every backend of this machine. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'
import { decodeImage } from '../../lib/image/decode.js'
import type { DecodedImage, NativeImage } from '../../lib/image/pixels.js'
import { binding } from '../../lib/native/addon.js'
import type { PreprocessSpec } from '../../lib/native/spec.js'
import { testEntries } from '../../lib/native/test-entries.js'
import { entriesTest as test } from '../helpers/entries-test.js'
import { rss } from '../hostile/memory.js'
import { bytesOf, CHANNELS, pattern, sha256 } from './bytes.js'

interface RawCase {
  mode: 'L' | 'LA' | 'RGB' | 'RGBA' | 'CMYK' | 'I;16' | 'I;16 dark'
  width: number
  height: number
  interpolation: PreprocessSpec['interpolation']
  fit: PreprocessSpec['mode']
  sha256: Record<string, string>
}
interface FileCase {
  file: string
  mode: string
  width: number
  height: number
  sha256: Record<string, string>
}
interface Golden {
  raw: RawCase[]
  encoded: FileCase[]
  oriented: FileCase
  normalised: { mean: [number, number, number]; std: [number, number, number]; table: string; planes: string }
}

const folder = join(packageRoot, 'test', 'golden', 'image')
const golden: Golden = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8'))
function rawImage({ mode, width, height }: RawCase): DecodedImage {
  if (mode !== 'I;16' && mode !== 'I;16 dark')
    return { data: pattern(width, height, CHANNELS[mode], 8), width, height, mode }
  const data = pattern(width, height, 1, 16)
  if (mode === 'I;16 dark') {
    const samples = new Uint16Array(data.buffer)
    for (let i = 0; i < samples.length; i++) samples[i] %= 300
  }
  return { data, width, height, mode: 'I;16' }
}

const backends = binding()
  .backends()
  .filter(backend => backend.available && backend.device !== 'cuda')
  .map(backend => backend.name)

test('there are at least 60 golden images, 40 sizes and modes of each kind', t => {
  t.true(golden.raw.length >= 60)
  t.true(golden.encoded.length >= 40)
})

for (const backend of backends) {
  test(`raw images of every mode, filter and size give Pillow's bytes on ${backend}`, async t => {
    for (const item of golden.raw)
      for (const [size, expected] of Object.entries(item.sha256)) {
        const spec = { size: Number(size), interpolation: item.interpolation, mode: item.fit }
        const name = `${item.mode} ${item.width} x ${item.height} -> ${size}, ${item.interpolation}, ${item.fit}`
        t.is(sha256(await bytesOf(rawImage(item), spec, backend)), expected, name)
      }
  })

  test(`files of every kind, decoded and resized, give Pillow's bytes on ${backend}`, async t => {
    for (const item of golden.encoded) {
      const image = await decodeImage(join(folder, 'files', item.file))
      for (const [size, expected] of Object.entries(item.sha256)) {
        const spec = { size: Number(size), interpolation: 'bicubic', mode: 'shortest' } as const
        t.is(sha256(await bytesOf(image, spec, backend)), expected, `${item.file} (${item.mode}) -> ${size}`)
      }
    }
  })

  test(`planes equal those of ToTensor and Normalize to the last bit on ${backend}`, async t => {
    const { mean, std, planes } = golden.normalised
    const image: NativeImage = { data: pattern(97, 145, 3, 8), width: 97, height: 145, mode: 'RGB' }
    const out = new Float32Array(3 * 72 * 72)
    const preprocess: PreprocessSpec = { size: 72, interpolation: 'bicubic', mode: 'shortest', mean, std }
    await testEntries().kernels.preprocess({ image, preprocess, out, threads: 1, backend })
    t.is(sha256(new Uint8Array(out.buffer)), planes)
  })

  test(`every byte is normalized as by torchvision on ${backend}`, async t => {
    const { mean, std, table } = golden.normalised
    const ramp = new Uint8Array(256 * 256 * 3).map((_, i) => Math.floor(i / 3) % 256)
    const image: NativeImage = { data: ramp, width: 256, height: 256, mode: 'RGB' }
    const out = new Float32Array(3 * 256 * 256)
    const preprocess: PreprocessSpec = { size: 256, interpolation: 'bicubic', mode: 'shortest', mean, std }
    await testEntries().kernels.preprocess({ image, preprocess, out, threads: 1, backend })
    const rows = new Float32Array(3 * 256)
    for (let c = 0; c < 3; c++) rows.set(out.subarray(c * 65536, c * 65536 + 256), c * 256)
    t.is(sha256(new Uint8Array(rows.buffer)), table)
  })
}

test('EXIF orientation is applied only with the option orient', async t => {
  const file = join(folder, 'files', golden.oriented.file)
  for (const [size, expected] of Object.entries(golden.oriented.sha256)) {
    const spec = { size: Number(size), interpolation: 'bicubic', mode: 'shortest' } as const
    const turned = await bytesOf(await decodeImage(file, { orient: true }), spec, 'reference')
    t.is(sha256(turned), expected)
    const plain = await bytesOf(await decodeImage(file), spec, 'reference')
    t.not(sha256(plain), expected)
  }
})

test('LA, L, RGB and RGBA pixels of the caller are processed like files', async t => {
  const spec = { size: 72, interpolation: 'bicubic', mode: 'shortest' } as const
  for (const item of golden.raw.filter(
    r => ['L', 'LA', 'RGB', 'RGBA'].includes(r.mode) && r.fit === 'shortest',
  )) {
    if (item.interpolation !== 'bicubic' || item.height > 1000) continue
    const channels = CHANNELS[item.mode] as 1 | 2 | 3 | 4
    const { width, height } = item
    const image = await decodeImage({ data: pattern(width, height, channels, 8), width, height, channels })
    t.is(
      sha256(await bytesOf(image, spec, 'reference')),
      item.sha256['72'],
      `${item.mode} ${width} x ${height}`,
    )
  }
})

test('images of extreme shapes need no more memory than their window', async t => {
  const spec = { size: 224, interpolation: 'bicubic', mode: 'shortest' } as const
  for (const mode of ['L', 'RGB', 'RGBA', 'CMYK', 'I;16'] as const)
    for (const [width, height] of [
      [1, 1_000_000],
      [1_000_000, 1],
    ]) {
      const bytes = width * height * (mode === 'I;16' ? 2 : CHANNELS[mode])
      const image: NativeImage = { data: new Uint8Array(bytes).fill(77), width, height, mode }
      const before = rss()
      const started = performance.now()
      const out = await bytesOf(image, spec, 'reference')
      t.is(out.length, 3 * 224 * 224)
      t.true(performance.now() - started < 5000, `${mode} ${width} x ${height}: time`)
      t.true(rss() - before < 100e6, `${mode} ${width} x ${height}: memory`)
      const grey = { L: 77, RGB: 77, RGBA: 76, CMYK: 124, 'I;16': 255 }[mode] // RGBA through 77 * 77 / 255
      t.true(
        out.every(value => value === grey),
        `${mode} ${width} x ${height}: ${out[0]}`,
      )
    }
})

test('an image whose resized side would pass 2^31 is refused by name', async t => {
  const image: NativeImage = { data: new Uint8Array(20_000_000), width: 20_000_000, height: 1, mode: 'L' }
  const spec = { size: 224, interpolation: 'bicubic', mode: 'shortest' } as const
  const error = await t.throwsAsync(bytesOf(image, spec, 'reference'))
  t.is((error as { code?: string }).code, 'ERR_CLIP_IMAGE')
  t.regex(error?.message ?? '', /20000000 x 1/)
})
