/**
 * JPEG files with the sizes of photographs, generated here: soft shapes under fine grain, so that they cost
 * as much to decode as a photograph.
 */

import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { cacheFolder } from './random-model.js'

function noise(width: number, height: number, seed: number): Buffer {
  const out = Buffer.alloc(width * height * 3)
  let state = seed | 1
  for (let i = 0; i < out.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    out[i] = state >>> 24
  }
  return out
}

/** The path of a JPEG (quality 88, 4:2:0) of that size; the file is written if it does not exist. */
export async function photograph(width: number, height: number): Promise<string> {
  const file = join(cacheFolder, `image-${width}x${height}-v1.jpg`)
  if (existsSync(file)) return file
  await mkdir(cacheFolder, { recursive: true })
  const soft = (w: number, h: number, seed: number) =>
    sharp(noise(w, h, seed), { raw: { width: w, height: h, channels: 3 } })
      .resize(width, height, { kernel: 'cubic', fit: 'fill' })
      .png({ compressionLevel: 0 })
      .toBuffer()
  const grain = await sharp(noise(width, height, 3), { raw: { width, height, channels: 3 } })
    .ensureAlpha(0.06)
    .png({ compressionLevel: 0 })
    .toBuffer()
  const detail = await sharp(await soft(width >> 3, height >> 3, 2))
    .ensureAlpha(0.25)
    .png({ compressionLevel: 0 })
    .toBuffer()
  await sharp(await soft(12, 8, 1))
    .composite([{ input: detail }, { input: grain }])
    .jpeg({ quality: 88 })
    .toFile(file)
  return file
}
