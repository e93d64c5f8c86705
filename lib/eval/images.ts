/** Finds samples with the same image, so that an image with several captions counts once. */

import { createHash, subtle } from 'node:crypto'
import { resolve } from 'node:path'
import { checkPath, nameOfPath } from '../base/file-name.js'
import { isArrayBuffer, isUint8Array, isUrl } from '../base/values.js'
import type { ImageInput } from '../image/input.js'
import type { Sample } from './samples.js'

/** Up to this many bytes are hashed directly; more are hashed on another thread. */
const atOnce = 64 * 1024

async function hashOf(bytes: Uint8Array): Promise<string> {
  const digest =
    bytes.byteLength <= atOnce
      ? createHash('sha256').update(bytes).digest()
      : Buffer.from(await subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))
  return digest.toString('base64')
}

/** Files are identified by their path, bytes by their contents and name, other images by object identity. */
async function keyOf({ image, name = '' }: Sample): Promise<string | ImageInput> {
  if (typeof image === 'string' || isUrl(image)) {
    const text = String(image)
    if (/^(https?|data):/i.test(text)) return text
    try {
      const path = checkPath('image', image)
      return `file ${typeof path === 'string' ? resolve(path) : nameOfPath(path)}`
    } catch {
      return text // not a path of this machine; encoding it reports the error
    }
  }
  if (isArrayBuffer(image)) return `bytes ${await hashOf(new Uint8Array(image))} ${name}`
  if (isUint8Array(image)) return `bytes ${await hashOf(image)} ${name}`
  return image
}

/** The images of a data set, in the order of their first samples. */
export interface DistinctImages {
  /** Samples in all. */
  samples: number
  /** The first sample of each image, by its number from 0. */
  first: Set<number>
  /** Captions of each image, without repetitions. */
  captions: string[][]
}

export async function distinctImages(samples: AsyncIterable<Sample>): Promise<DistinctImages> {
  const known = new Map<string | ImageInput, Set<string>>()
  const first = new Set<number>()
  let count = 0
  for await (const sample of samples) {
    const key = await keyOf(sample)
    let captions = known.get(key)
    if (!captions) {
      captions = new Set()
      known.set(key, captions)
      first.add(count)
    }
    for (const caption of sample.captions ?? [sample.label]) captions.add(caption)
    count++
  }
  return { samples: count, first, captions: Array.from(known.values(), set => [...set]) }
}

/** The samples of these numbers. */
export async function* only(samples: AsyncIterable<Sample>, numbers: ReadonlySet<number>) {
  let i = 0
  for await (const sample of samples) if (numbers.has(i++)) yield sample
}
