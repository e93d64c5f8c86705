/** A family of checkpoints: how its files are recognised and read. */

import type { Pace } from '../errors.js'
import type { Layout } from '../select.js'
import type { Checkpoint, CheckpointOptions } from '../spec.js'
import type { TensorTable } from '../tensors.js'

/** The tensors of a model, selected from all contents of its files. */
export interface Found {
  table: TensorTable
  /** How the tensors are named. */
  layout: Layout
  folder: string
  /** The configuration file by which a folder was recognised. One beside a single weight file may belong to other weights. */
  toldBy: string | undefined
  options: CheckpointOptions
  pace: Pace
}

export interface Family {
  recognise(found: Found): boolean | Promise<boolean>
  read(found: Found): Promise<Checkpoint>
}
