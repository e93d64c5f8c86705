/** What native code is told about a load beside the checkpoint. */

import type { Dtype } from './binding.js'
import type { ModelSpec } from './checkpoint/spec.js'

/** Hashes of the values of each tower's weights; empty for a tower that the checkpoint lacks. */
export interface WeightNames {
  image: string
  text: string
}

export interface NativeLoadOptions {
  device: 'auto' | 'cpu' | 'cuda' | 'reference'
  dtype: Dtype
  threads: number
  maxBatchRows: number
  /** The checkpoint's towers that are not wanted: read once, for their names. */
  unloaded?: ModelSpec
  /** Keeps packed weights in a file of this folder. */
  packCache?: {
    folder: string
    /** Of the file; backend and dtype are put behind it. */
    name: string
    /** What else the packed bytes depend on: compared with what the file says. */
    key: string
  }
}
