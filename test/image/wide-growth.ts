/**
 * How much a process grows when it prepares a very wide or high image. In a process of its own, whose memory is the
 * image's:
 *
 *   node dist/test/image/wide-growth.js BACKEND MODE WIDTH HEIGHT FIT
 *
 * Prints a WideGrowth as JSON.
 */

import type { NativeImage } from '../../lib/image/pixels.js'
import type { PreprocessSpec } from '../../lib/native/spec.js'
import { testEntries } from '../../lib/native/test-entries.js'
import { growth, measurable } from '../hostile/memory.js'

export interface WideGrowth {
  measured: boolean
  /** Of the image, which is there before. */
  imageBytes: number
  grownBytes: number
  /** The largest value of the planes, as a byte: the image is grey, its margin black. */
  largest: number
}

const SIZE = 224
const BYTES: Record<string, number> = { L: 1, RGB: 3, RGBA: 4, 'I;16': 2 }

const [backend = '', mode = '', width = '', height = '', fit = ''] = process.argv.slice(2)
const imageBytes = Number(width) * Number(height) * BYTES[mode]!
const image = {
  data: new Uint8Array(imageBytes).fill(77),
  width: Number(width),
  height: Number(height),
  mode,
} as NativeImage
const out = new Float32Array(3 * SIZE * SIZE)
const preprocess: PreprocessSpec = {
  size: SIZE,
  interpolation: 'bicubic',
  mode: fit as PreprocessSpec['mode'],
  mean: [0, 0, 0],
  std: [1 / 255, 1 / 255, 1 / 255],
}
const grownBytes = await growth(async () => {
  await testEntries().kernels.preprocess({ image, preprocess, out, threads: 1, backend })
})
const result: WideGrowth = {
  measured: measurable,
  imageBytes,
  grownBytes,
  largest: out.reduce((a, b) => Math.max(a, b)),
}
console.log(JSON.stringify(result))
