/** The caller's images as they are when the call begins: what may change later is copied, what makes several rows is counted. */

import { argumentError, describeShape, got } from '../base/errors.js'
import type { Steps } from '../base/slices.js'
import { isArray, isFloat32Array, isUint8Array, isUint8ClampedArray } from '../base/values.js'
import type { ImageInput } from './input.js'
import { copyOf } from './pixels.js'

/** Raw pixels of an image up to this size are copied at once; docs/calls.md says so. */
const COPIED_PICTURE = 1 << 20
/** So many bytes of the raw pixels of one call at most. */
const COPIED_CALL = 16 << 20

/** A property of a caller's object, whose getter may throw. */
function property(value: object, name: string): unknown {
  try {
    return (value as Record<string, unknown>)[name]
  } catch {
    return undefined // whoever reads the image will say what is wrong with it
  }
}

/** So many images of a call are looked at before the call returns: more do not fit what is copied, unless they are tiny. */
const LOOKED_AT = 1 << 16

/** The images of a call, and the rows that those looked at so far make. */
export interface Given {
  inputs: readonly ImageInput[]
  total: number
  /** The images beyond the first LOOKED_AT, if there are any: the number of rows in all. */
  rest: Steps<number> | undefined
}

/**
 * Takes over `inputs`, a list of our own. Raw pixels are copied. A preprocessed image of a model of this `size` makes
 * as many rows as its first dimension says, which is believed only if there is as much data.
 */
export function takeGiven(inputs: ImageInput[], single: boolean, size: number): Given {
  let copied = 0
  /** Takes one image and returns how many rows it makes. */
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
      if (typeof width !== 'number' || bytes === 0 || bytes > COPIED_PICTURE || copied + bytes > COPIED_CALL)
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
