/**
 * Stores of the smallest images that the embedded model can tell apart; on an emulated processor, where its ten
 * thousand images would take hours, of a model of almost no width. What is tested here is the stores.
 */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestFn } from 'ava'
import { type Clip, load, type RawPixels } from '../../lib/index.js'
import { emulated } from '../helpers/patience.js'
import { randomBytes } from '../helpers/random.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

let made = 0
/** The folder of the model, where it is not the embedded one. */
export let model: string | undefined

/** A folder that goes with the tests. */
export async function scratch(test: TestFn): Promise<{ folder: string; fresh(): string }> {
  const folder = await mkdtemp(join(tmpdir(), 'clip-store-'))
  if (emulated) model = await writeTinyModel(join(folder, 'model'), { width: 64, imageSize: 32 })
  test.after.always(() => rm(folder, { recursive: true, force: true }))
  return { folder, fresh: () => join(folder, `store-${made++}`) }
}

export const noise = (seed: number, side = 8): RawPixels => ({
  data: randomBytes(seed, side * side * 3),
  width: side,
  height: side,
  channels: 3,
})

export const items = (n: number, from = 0) =>
  Array.from({ length: n }, (_, i) => ({ id: `image ${from + i}`, image: noise(from + i + 1) }))

/** An image file without a library: a BMP of two colours, a disc on a ground. */
function disc(seed: number): Buffer {
  const side = 32
  const [r, g, b] = randomBytes(seed + 1, 3)
  const file = Buffer.alloc(54 + 3 * side * side)
  file.write('BM')
  file.writeUInt32LE(54, 10)
  file.writeUInt32LE(40, 14)
  file.writeUInt32LE(side, 18)
  file.writeUInt32LE(side, 22)
  file.writeUInt16LE(1, 26)
  file.writeUInt16LE(24, 28)
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const inside = Math.hypot(x - 4 - (seed % 24), y - 16) < 3 + (seed % 11)
      file.set(inside ? [b!, r!, g!] : [g!, b!, r!], 54 + 3 * (side * y + x))
    }
  return file
}

export async function writeImages(folder: string, n: number): Promise<string[]> {
  await mkdir(join(folder, 'deep', 'deeper'), { recursive: true })
  const files: string[] = []
  for (let i = 0; i < n; i++) {
    const file = join(folder, ['', 'deep', 'deep/deeper'][i % 3]!, `${i}.bmp`)
    await writeFile(file, disc(i))
    files.push(file)
  }
  return files
}

let clip: Promise<Clip> | undefined
export const embedder = (): Promise<Clip> => {
  clip ??= load(model, { threads: 1 })
  return clip
}

export async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of source) list.push(item)
  return list
}
