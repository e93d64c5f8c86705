/** Pillow's resize as a public kernel. */

import { allocate } from '../base/allocate.js'
import type { NativeKernel } from '../native/surface.js'
import { apart, bytes, count, elements, object, room, type Shape } from './arguments.js'
import { type KernelOptions, options, run } from './run.js'

declare module '../native/surface.js' {
  interface NativeKernels {
    resize: NativeKernel<{
      src: Uint8Array
      width: number
      height: number
      channels: number
      out: Uint8Array
      outWidth: number
      outHeight: number
      crop: { x: number; y: number; width: number; height: number }
      filter: 'nearest' | 'bilinear' | 'bicubic'
    }>
  }
}

export interface ResizeArguments extends KernelOptions {
  /** `[height, width, channels]` bytes; rows have no padding. */
  data: Uint8Array | Uint8ClampedArray
  /** Width of the image in pixels. */
  width: number
  /** Height of the image in pixels. */
  height: number
  /** Number of channels, from 1 to 4. */
  channels: number
  /** Width of the result in pixels. */
  outWidth: number
  /** Height of the result in pixels. */
  outHeight: number
  /** `[outHeight, outWidth, channels]`: array to write the result to. Default: a new array. */
  out?: Uint8Array
}

/**
 * Pillow's `Image.resize(size, Resampling.BICUBIC)`, to the last bit: antialiased, a = -0.5, fixed-point coefficients
 * of 22 bits, rounded to bytes between the two passes (libImaging/Resample.c). Channels are resized separately;
 * Pillow premultiplies RGBA and LA by alpha first, which is left to the caller here.
 *
 * @returns out, [outHeight, outWidth, channels]
 */
export async function resizeBicubic(a: ResizeArguments): Promise<Uint8Array> {
  a = object(a)
  const side = 1 << 20
  const width = count('width', a.width, side)
  const height = count('height', a.height, side)
  const channels = count('channels', a.channels, 4)
  const outWidth = count('outWidth', a.outWidth, side)
  const outHeight = count('outHeight', a.outHeight, side)
  const src = bytes('data', a.data, [
    [height, 'high'],
    [width, 'wide'],
    [channels, 'channels'],
  ])
  const shape: Shape = [
    [outHeight, 'high'],
    [outWidth, 'wide'],
    [channels, 'channels'],
  ]
  if (a.out === undefined) room('out', elements(shape))
  const out =
    a.out === undefined
      ? allocate(Uint8Array, 'out', outHeight, outWidth, channels)
      : bytes('out', a.out, shape)
  if (a.out !== undefined) apart('out', out, { data: src })
  const crop = { x: 0, y: 0, width: outWidth, height: outHeight }
  const target = { out, outWidth, outHeight, crop, filter: 'bicubic' as const }
  await run('resize', { src, width, height, channels, ...target, ...options(a) })
  return out
}
