/** Captures the caller's images when the call begins: copies data that may change later, and counts the resulting rows. */

import { argumentError, describeShape, got } from '../base/errors.js'
import type { Steps } from '../base/slices.js'
import { isArray, isFloat32Array, isUint8Array, isUint8ClampedArray } from '../base/values.js'
import type { ImageInput } from './input.js'
import { copyOf } from './pixels.js'

/** Raw pixels of an image up to this size are copied at once, as documented in docs/calls.md. */
const COPIED_IMAGE = 1 << 20
/** Maximum bytes of raw pixels copied per call. */
const COPIED_CALL = 16 << 20

/** Reads a property of a caller's object, whose getter may throw. */
function property(value: object, name: string): unknown {
  try {
    return (value as Record<string, unknown>)[name]
  } catch {
    return undefined // reading the image later reports what is wrong with it
  }
}

/** Number of images inspected before the call returns: more would exceed the bytes that are copied, unless they are tiny. */
const LOOKED_AT = 1 << 16

/** The images of a call, and the number of rows of those inspected so far. */
export interface Given {
  inputs: readonly ImageInput[]
  total: number
  /** Inspects the images after the first LOOKED_AT, if there are any, and returns the total number of rows. */
  rest: Steps<number> | undefined
}

/**
 * Takes ownership of the list `inputs`. Raw pixels are copied. A preprocessed image for a model of this `size` makes as many
 * rows as its first dimension says, provided that its data is long enough.
 */
export function takeGiven(inputs: ImageInput[], single: boolean, size: number): Given {
  let copied = 0
  /** Captures one image and returns its number of rows. */
  const take = (i: number): number => {
    const one = inputs[i]
    if (typeof one !== 'object' || one === null) return 1
    const data = property(one, 'data')
    if (isFloat32Array(data)) {
      const shape = property(one, 'shape')
      if (!isArray(shape) || shape.length !== 4 || !shape.every(one => typeof one === 'number')) return 1
      const [n, channels, height, width] = shape as number[]
      if (channels !== 3 || height !== width || n * 3 * height * width !== data.length) return 1
      if (height !== size)
        throw argumentError(
          `${single ? 'image' : `images[${i}]`}.shape`,
          `be [n, 3, ${size}, ${size}], as this model's images are`,
          got(describeShape(shape)),
          'range',
        )
      if (!Number.isSafeInteger(n) || n < 0) return 1
      inputs[i] = { data, shape: [n, 3, size, size] }
      return n
    }
    if (isUint8Array(data) || isUint8ClampedArray(data)) {
      const [width, height, channels] = ['width', 'height', 'channels'].map(name => property(one, name))
      const bytes = data.byteLength
      if (typeof width !== 'number' || bytes === 0 || bytes > COPIED_IMAGE || copied + bytes > COPIED_CALL)
        return 1
      copied += bytes
      inputs[i] = { data: copyOf(data), width, height: height as number, channels: channels as 3 }
    }
    return 1
  }
  let total = 0
  const first = Math.min(inputs.length, LOOKED_AT)
  for (let i = 0; i < first; i++) total += take(i)
  if (first === inputs.length) return { inputs, total, rest: undefined }
  const rest = function* (): Steps<number> {
    for (let i = first; i < inputs.length; i++) {
      total += take(i)
      if (i % 256 === 255) yield
    }
    return total
  }
  return { inputs, total, rest: rest() }
}
