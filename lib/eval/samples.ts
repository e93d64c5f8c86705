/** Samples of data sets, and the errors of their readers. */

import { ClipError } from '../base/errors.js'
import type { LeftOut } from '../image/files.js'
import type { ImageInput } from '../image/input.js'

/** One sample of a data set: an image with its label or captions. */
export interface Sample {
  /** The image, or its path. */
  image: ImageInput
  /** Its class, or for retrieval its caption. */
  label: string
  /** Its captions, if there are several or if it has a class as well: retrieval uses them instead of the label. */
  captions?: readonly string[]
  /** True if `label` is the number of a class that has no name. See `classNames` of `openDataset`. */
  numbered?: true
  /** Its name in reports: a path, or its name in an archive. */
  name?: string
  /** The split that the data set assigns it to: 'train', 'validation' or 'test', in the spelling of the data set. */
  split?: string
}

/** A data set that `evaluate` can read, more than once and always in the same order. */
export interface Dataset {
  /** Its name in reports. */
  readonly name: string
  /**
   * Yields all samples, from the first; called each time they are read. Files that are no samples (not an image, or a link
   * that is not followed) are passed to `onLeftOut`.
   */
  samples(signal?: AbortSignal, onLeftOut?: (leftOut: LeftOut) => void): AsyncIterable<Sample>
}

/** How one kind of data set is read. */
export interface Reading {
  signal: AbortSignal | undefined
  followLinks: boolean
  onLeftOut: (leftOut: LeftOut) => void
}

export const datasetFault = (file: string, message: string, cause?: unknown) =>
  new ClipError('ERR_CLIP_INPUT', `${file}: ${message}`, { file, ...(cause === undefined ? {} : { cause }) })
