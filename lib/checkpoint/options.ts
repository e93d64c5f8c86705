/** Checks the options `heads` and `activation` of `load`, which are needed only if the checkpoint does not determine them. */

import { argumentError } from '../base/errors.js'
import type { Activation } from '../native/spec.js'
import { badConfig } from './errors.js'
import type { CheckpointOptions } from './spec.js'

export type Tower = 'image' | 'text'

/** TypeError / RangeError for values that no checkpoint can have. */
export function checkCheckpointOptions(options: CheckpointOptions): void {
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
  const { stateDict } = options
  if (stateDict !== undefined && (typeof stateDict !== 'string' || stateDict === ''))
    throw argumentError('stateDict', 'be the path of a state dict in the file, such as "ema"', stateDict)
  if (
    activation !== undefined &&
    activation !== 'gelu' &&
    activation !== 'quickGelu' &&
    activation !== 'geluTanh'
  )
    throw argumentError('activation', "be 'gelu', 'quickGelu' or 'geluTanh'", activation)
}

export function optionHeads(options: CheckpointOptions, tower: Tower): number | undefined {
  return typeof options.heads === 'object' ? options.heads[tower] : options.heads
}

/** The heads that the checkpoint states (`said`); an option that contradicts it is refused. */
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

/** ViT-H, g and bigG have heads of 80, 88 and 104: above this width, 64 would be a guess. */
const WIDEST_OF_64 = 1024

/** width / 64 if that is certain; otherwise throws ERR_CLIP_CONFIG naming the option. */
export function headsWithoutConfig(
  where: string,
  tower: Tower,
  width: number,
  origin: boolean,
  options: CheckpointOptions,
): number {
  const option = optionHeads(options, tower)
  const known = width % 64 === 0 && (origin || tower === 'text' || width <= WIDEST_OF_64)
  if (option !== undefined && !(origin && known)) return option
  if (known) return agreedHeads(where, `${tower} width / 64`, width / 64, options, tower)
  throw badConfig(
    where,
    'heads',
    `the number of attention heads can't be determined from tensors of width ${width} (${tower} tower) without a configuration: pass \`heads: { ${tower}: n }\` (\`--heads\` on the command line)`,
  )
}

export function activationWithoutConfig(
  where: string,
  origin: boolean,
  options: CheckpointOptions,
): Activation {
  if (origin) return agreedActivation(where, "OpenAI's archives", 'quickGelu', options)
  if (options.activation) return options.activation
  throw badConfig(
    where,
    'activation',
    "The activation function can't be determined from the tensors, and there is no configuration: pass `activation: 'quickGelu'` (OpenAI's weights and OpenCLIP's \"-quickgelu\" models) or `activation: 'gelu'` (other OpenCLIP models); on the command line `--activation`",
  )
}
