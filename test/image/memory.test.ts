/** The memory that decoders take, held against what is counted for them before they start. */

import sharp from 'sharp'
import { decodeImage } from '../../lib/image/decode.js'
import { readHeader } from '../../lib/image/header.js'
import { nightly } from '../helpers/nightly.js'
import { growth } from '../hostile/memory.js'

nightly('decoders need no more memory than is calculated from the header', async t => {
  t.timeout(300_000)
  const [width, height] = [4000, 2500]
  const noise = { type: 'gaussian', mean: 128, sigma: 60 } as const
  const source = await sharp({ create: { width, height, channels: 3, background: 'red', noise } })
    .blur(4)
    .png()
    .toBuffer()
  const make = {
    jpeg: sharp(source).jpeg(),
    'jpeg, progressive': sharp(source).jpeg({ progressive: true }),
    'jpeg, progressive 4:4:4': sharp(source).jpeg({ progressive: true, chromaSubsampling: '4:4:4' }),
    png: sharp(source).png(),
    'png, interlaced': sharp(source).png({ progressive: true }),
    'png, 16 bits, interlaced': sharp(source).toColourspace('rgb16').png({ progressive: true }),
    webp: sharp(source).webp({ effort: 0 }),
    'webp, lossless': sharp(source).webp({ lossless: true, effort: 0 }),
    'webp, alpha': sharp(source).ensureAlpha(0.5).webp({ effort: 0 }),
    gif: sharp(source).gif({ effort: 1 }),
    avif: sharp(source).avif({ effort: 0 }),
    'avif, 4:4:4 and alpha': sharp(source).ensureAlpha(0.5).avif({ effort: 0, chromaSubsampling: '4:4:4' }),
    tiff: sharp(source).tiff({ compression: 'lzw' }),
    'tiff, tiled': sharp(source).tiff({ compression: 'lzw', tile: true }),
  }
  for (const [name, pipeline] of Object.entries(make)) {
    const bytes = await pipeline.toBuffer()
    const said = readHeader(bytes)!.decoderBytes(width, height)
    const grown = await growth(async () => {
      await decodeImage(bytes)
    })
    t.true(grown < said + 16e6, `${name}: ${Math.round(grown / 1e6)} MB, said ${Math.round(said / 1e6)} MB`)
  }
})
