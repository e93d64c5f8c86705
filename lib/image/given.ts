/** The caller's pictures as they are when the call begins: what may change later is copied, what makes several rows is counted. */

import { argumentError, describeShape, got } from '../base/errors.js'
import { isArray, isFloat32Array, isUint8Array, isUint8ClampedArray } from '../base/values.js'
import type { ImageInput } from './input.js'
import { copyOf } from './pixels.js'

/** Raw pixels of a picture up to this size are copied at once; docs/calls.md says so. */
const COPIED_PICTURE = 1 << 20
/** So many bytes of the raw pixels of one call at most. */
const COPIED_CALL = 16 << 20

/** A property of a caller's object, whose getter may throw. */
function property(value: object, name: string): unknown {
  try {
    return (value as Record<string, unknown>)[name]
  } catch {
    return undefined // whoever reads the picture will say what is wrong with it
  }
}

/**
 * The pictures, with raw pixels copied, and the rows they make: of a preprocessed picture of a model of this `size` its
 * first dimension, which is believed only if there is as much data.
 */
export function takeGiven(
  given: readonly ImageInput[],
  single: boolean,
  size: number,
): { inputs: readonly ImageInput[]; total: number } {
  const inputs = [...given]
  let total = 0
  let copied = 0
  for (const [i, one] of inputs.entries()) {
    total++
    if (typeof one !== 'object' || one === null) continue
    const data = property(one, 'data')
    if (isFloat32Array(data)) {
      const shape = property(one, 'shape')
      if (!isArray(shape) || shape.length !== 4 || !shape.every(one => typeof one === 'number')) continue
      const [n, channels, height, width] = shape as number[]
      if (channels !== 3 || height !== width || n * 3 * height * width !== data.length) continue
      if (height !== size)
        throw argumentError(
          `${single ? 'image' : `images[${i}]`}.shape`,
          `be [n, 3, ${size}, ${size}], as this model's pictures are`,
          got(describeShape(shape)),
          'range',
        )
      if (!Number.isSafeInteger(n) || n < 0) continue
      inputs[i] = { data, shape: [n, 3, size, size] }
      total += n - 1
    } else if (isUint8Array(data) || isUint8ClampedArray(data)) {
      const [width, height, channels] = ['width', 'height', 'channels'].map(name => property(one, name))
      const bytes = data.byteLength
      if (typeof width !== 'number' || bytes === 0 || bytes > COPIED_PICTURE || copied + bytes > COPIED_CALL)
        continue
      copied += bytes
      inputs[i] = { data: copyOf(data), width, height: height as number, channels: channels as 3 }
    }
  }
  return { inputs, total }
}
