/** What native code is told about a load beside the checkpoint. */

import type { Dtype } from './binding.js'

export interface NativeLoadOptions {
  device: 'auto' | 'cpu' | 'cuda' | 'reference'
  dtype: Dtype
  threads: number
  maxBatchRows: number
  /** Keeps packed weights in a file of this folder. */
  packCache?: {
    folder: string
    /** Of the file; backend and dtype are put behind it. */
    name: string
    /** What else the packed bytes depend on: compared with what the file says. */
    key: string
  }
}
