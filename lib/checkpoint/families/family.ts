/** What a family of checkpoints is: how its files are told, and how they are read. */

import type { Pace } from '../errors.js'
import type { Layout } from '../select.js'
import type { Checkpoint, CheckpointOptions } from '../spec.js'
import type { TensorTable } from '../tensors.js'

/** The tensors of a model, found among all that its files hold, and where these lie. */
export interface Found {
  table: TensorTable
  /** How the tensors are named. */
  layout: Layout
  folder: string
  /** The configuration file that a folder was told by. A weight file by itself may lie beside one that is not its own. */
  toldBy: string | undefined
  options: CheckpointOptions
  pace: Pace
}

export interface Family {
  recognise(found: Found): boolean | Promise<boolean>
  read(found: Found): Promise<Checkpoint>
}
