/** What data sets consist of, and the errors of their readers. */

import { ClipError } from '../base/errors.js'
import type { LeftOut } from '../image/files.js'
import type { ImageInput } from '../image/input.js'

/** An image and what it shows. */
export interface Sample {
  /** The image, or where it lies. */
  image: ImageInput
  /** Its class, or for retrieval its caption. */
  label: string
  /** Its captions, where they are several or stand beside a class: retrieval takes them in place of the label. */
  captions?: readonly string[]
  /** The data set has no name for the class, only its number: `label` is that. See `classNames` of `openDataset`. */
  numbered?: true
  /** What reports call it: a path, or its name in an archive. */
  name?: string
  /** Where a data set says so: 'train', 'validation' or 'test', as it spells them. */
  split?: string
}

/** What `evaluate` reads: more than once, always in the same order. */
export interface Dataset {
  /** What reports call it. */
  readonly name: string
  /**
   * All samples, from the first; called once for each time that they are read. What is no sample (a file that is no
   * image, a link that is not followed) is told to `onLeftOut`.
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
