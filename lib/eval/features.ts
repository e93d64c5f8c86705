/** Computes features of a data set's images, with only a window of images in memory. */

import { abortable } from '../base/abort.js'
import { allocate } from '../base/allocate.js'
import { ClipError } from '../base/errors.js'
import { isArrayBuffer } from '../base/values.js'
import type { Clip } from '../clip.js'
import { Embeddings } from '../encode/embeddings.js'
import type { DecodeMode } from '../image/decode-mode.js'
import type { ImageInput, RawPixels } from '../image/input.js'
import { decodeOf } from './call.js'
import type { Sample } from './samples.js'

/** Images encoded at a time, and the bytes of those in memory (files of a folder are not). */
export const window = { images: 256, bytes: 64 * 2 ** 20 }

/** Bytes of an image in memory before it is decoded. */
export function heldBytes(image: ImageInput): number {
  if (isArrayBuffer(image) || ArrayBuffer.isView(image)) return image.byteLength
  const { data } = image as Partial<RawPixels>
  return ArrayBuffer.isView(data) ? data.byteLength : 0
}

/** Groups samples into windows; an image larger than a window gets its own. */
export async function* windows<S extends { image: ImageInput }>(
  samples: AsyncIterable<S>,
  most = window,
): AsyncGenerator<S[], void, void> {
  let part: S[] = []
  let bytes = 0
  for await (const sample of samples) {
    const more = heldBytes(sample.image)
    if (part.length === most.images || (part.length > 0 && bytes + more > most.bytes)) {
      yield part
      part = []
      bytes = 0
    }
    part.push(sample)
    bytes += more
  }
  if (part.length > 0) yield part
}

/** The name of a sample in reports and errors. */
export const nameOf = (sample: Sample, i: number) =>
  sample.name ?? (typeof sample.image === 'string' ? sample.image : `image ${i}`)

export interface FeatureOptions {
  output: 'embedding' | 'pooled'
  /** Maximum number of samples. */
  count: number
  decode?: DecodeMode | undefined
  signal: AbortSignal | undefined
  /** Called for an image that can't be read, which gets no row. Throw to stop. */
  failed(name: string, error: ClipError): void
  progress(done: number): void
}

/** (n, width) float32 features as from encodeImage, the labels of the rows, and the indices of their samples. */
export async function featuresOfSamples(
  clip: Clip,
  samples: AsyncIterable<Sample>,
  { output, count, decode, signal, failed, progress }: FeatureOptions,
): Promise<{ images: Embeddings; labels: string[]; numbers: number[] }> {
  let data: Float32Array | undefined
  let width = output === 'embedding' ? clip.info.embedDim : 0
  const labels: string[] = []
  const numbers: number[] = []
  let done = 0
  for await (const part of windows(abortable(samples, signal))) {
    const features = (await clip.encodeImage(
      part.map(sample => sample.image),
      { output, errors: 'collect', ...decodeOf({ decode }), ...(signal ? { signal } : {}) },
    )) as Embeddings
    width = features.shape[1]
    data ??= allocate(Float32Array, 'what is encoded', count, width)
    for (const [i, sample] of part.entries()) {
      const error = features.errors?.[i]
      if (error) failed(nameOf(sample, done + i), error)
      else {
        data.set(features.row(i), labels.length * width)
        labels.push(sample.label)
        numbers.push(done + i)
      }
    }
    done += part.length
    progress(done)
  }
  const rows = (data ?? new Float32Array(0)).subarray(0, labels.length * width)
  return { images: new Embeddings(rows, [labels.length, width] as const), labels, numbers }
}

/** For callers that need every image: the error of an image, with its name in the data set. */
export function refuse(name: string, error: ClipError): never {
  throw new ClipError(
    error.code,
    error.message.includes(name) ? error.message : `${name}: ${error.message}`,
    {
      file: error.file ?? name,
      cause: error,
    },
  )
}
