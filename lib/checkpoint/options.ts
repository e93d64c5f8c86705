/** What `load`'s options `heads` and `activation` may say, and when: only where the checkpoint itself is silent. */

import { argumentError } from '../errors.js'
import { badConfig } from './errors.js'
import type { Activation, CheckpointOptions } from './spec.js'

export type Tower = 'image' | 'text'

/** TypeError / RangeError for values that no checkpoint can have. */
export function checkOptions(options: CheckpointOptions): void {
  const { heads, activation } = options
  const check = (value: unknown, field: string) => {
    if (
      value !== undefined &&
      (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 1024)
    )
      throw argumentError(
        field,
        'be an integer from 1 to 1024',
        value,
        typeof value === 'number' ? 'range' : 'type',
      )
  }
  if (heads !== null && typeof heads === 'object') {
    check(heads.image, 'heads.image')
    check(heads.text, 'heads.text')
  } else check(heads, 'heads')
  if (activation !== undefined && activation !== 'gelu' && activation !== 'quickGelu')
    throw argumentError('activation', "be 'gelu' or 'quickGelu'", activation)
}

export function optionHeads(options: CheckpointOptions, tower: Tower): number | undefined {
  return typeof options.heads === 'object' ? options.heads[tower] : options.heads
}

/** Heads as the checkpoint says, `said`; an option that contradicts it is refused. */
export function agreedHeads(
  file: string,
  field: string,
  said: number,
  options: CheckpointOptions,
  tower: Tower,
): number {
  const option = optionHeads(options, tower)
  if (option !== undefined && option !== said)
    throw badConfig(
      file,
      field,
      `says ${said} heads (${field}), but the option \`heads\` says ${option} for the ${tower} tower`,
      {
        expected: String(said),
        actual: String(option),
      },
    )
  return said
}

export function agreedActivation(
  file: string,
  field: string,
  said: Activation,
  options: CheckpointOptions,
): Activation {
  if (options.activation !== undefined && options.activation !== said)
    throw badConfig(
      file,
      field,
      `says ${said} (${field}), but the option \`activation\` says ${options.activation}`,
      {
        expected: said,
        actual: options.activation,
      },
    )
  return said
}

/** Heads must divide the width. */
export function checkDivides(file: string, field: string, heads: number, width: number): void {
  if (width % heads !== 0)
    throw badConfig(file, field, `a width of ${width} can't be divided into ${heads} heads (${field})`, {
      actual: String(heads),
    })
}
