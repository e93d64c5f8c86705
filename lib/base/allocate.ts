/** Allocates memory for results whose size depends on the caller's arguments. */

import { getHeapStatistics } from 'node:v8'
import { ClipError } from './errors.js'

interface ArrayKind<T> {
  new (length: number): T
  readonly BYTES_PER_ELEMENT: number
}

const units = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB']

/** 160 GB */
function sizeText(bytes: number): string {
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)))
  return `${Number((bytes / 1000 ** unit).toPrecision(3))} ${units[unit]}`
}

/** The error for a result whose number of values, of `bytesEach` bytes, is the product of `sizes`. */
function noMemory(what: string, sizes: readonly number[], bytesEach: number, cause?: unknown): ClipError {
  const size = sizeText(sizes.reduce((product, n) => product * n, bytesEach))
  return new ClipError(
    'ERR_CLIP_MEMORY',
    `There is not enough memory for ${what}, which would be ${sizes.join(' x ')} values, ${size}: ask for less in one call, or give the process more memory`,
    { actual: size, cause },
  )
}

/**
 * A zeroed array whose length is the product of `sizes`. Throws ERR_CLIP_MEMORY, naming `what` the array is for and its
 * size, if the system refuses the memory or arrays can't be that long.
 */
export function allocate<T>(kind: ArrayKind<T>, what: string, ...sizes: number[]): T {
  try {
    return new kind(sizes.reduce((product, n) => product * n, 1))
  } catch (cause) {
    throw noMemory(what, sizes, kind.BYTES_PER_ELEMENT, cause)
  }
}

/** The same for bytes, but not zeroed: the caller must write each byte before it reads it. */
export function allocateBytes(what: string, length: number): Buffer {
  try {
    return Buffer.allocUnsafeSlow(length)
  } catch (cause) {
    throw noMemory(what, [length], 1, cause)
  }
}

/**
 * Throws ERR_CLIP_MEMORY if the JavaScript heap has no room for as many objects as the product of `sizes`, each of
 * `bytesEach` bytes. Running out of heap would end the process.
 */
export function checkHeap(what: string, bytesEach: number, ...sizes: number[]): void {
  const { heap_size_limit, used_heap_size } = getHeapStatistics()
  if (sizes.reduce((product, n) => product * n, bytesEach) > heap_size_limit - used_heap_size)
    throw noMemory(what, sizes, bytesEach)
}
