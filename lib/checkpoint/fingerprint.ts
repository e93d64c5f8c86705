/** What a model is called in stores, classifiers and adapters: the same wherever the same numbers come from. */

import { createHash } from 'node:crypto'
import { ClipError } from '../base/errors.js'
import { embedsFirstEnd, type ImageTowerSpec, type TextTowerSpec } from '../native/spec.js'
import type { WeightNames } from '../native/surface.js'
import type { Checkpoint } from './spec.js'

/**
 * 32 hexadecimal digits of every weight's value, as native code has hashed them, and of the configuration: sizes, heads,
 * activation, preprocessing, temperature. Files, names of tensors, dtypes and which towers were loaded leave no trace.
 */
export function fingerprintOf(checkpoint: Checkpoint, names: WeightNames): string {
  const { embedDim, scoring, image, text } = checkpoint.model
  const { preprocess } = checkpoint
  const facts = [
    'clip-native weights 1',
    [embedDim, scoring?.scale ?? null, sorted(factsOf(image)), sorted(factsOf(text))],
    image ? sorted(preprocess) : null,
    text && embedsFirstEnd(text) ? text.embed.endId : null,
    [names.image, names.text],
  ]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32)
}

/** What the towers of OpenAI's CLIP are: it goes without saying, and has since before there were others. */
const usual = {
  patches: { preNorm: true, mask: 'full', pool: 'first', padId: undefined },
  tokens: { preNorm: false, mask: 'causal', pool: undefined, padId: undefined },
} as const

/** A tower as it is named in fingerprints. Stores on disk hold them: what is said of a tower here stays as it is. */
function factsOf(tower: ImageTowerSpec | TextTowerSpec | undefined): object {
  if (tower?.kind !== 'transformer') return tower ?? {}
  const { embed, blocks, preNorm, mask, pool } = tower
  const sizes =
    embed.kind === 'patches'
      ? { kind: 'vit', imageSize: embed.imageSize, patchSize: embed.patchSize }
      : { contextLength: embed.contextLength, vocabSize: embed.vocabSize }
  const all = {
    preNorm,
    mask,
    // The end token of a pool is named by itself.
    pool: pool === 'argmax' || pool === 'eos' ? undefined : pool,
    padId: embed.kind === 'tokens' ? embed.padId : undefined,
  }
  const unusual = Object.entries(all).filter(
    ([key, value]) => value !== usual[embed.kind][key as keyof typeof all],
  )
  return { ...blocks, ...sizes, ...Object.fromEntries(unusual) }
}

function sorted(value: object): [string, unknown][] {
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Refuses what was made with other weights: cosines of two models mean nothing. */
export function checkFingerprint(own: string, file: string, what: string, fingerprint: unknown): void {
  if (fingerprint === own) return
  throw new ClipError(
    'ERR_CLIP_MODEL_MISMATCH',
    `${file}: ${what} was made with the model ${String(fingerprint).slice(0, 64)}, but this one is ${own}: load that model, or create it again with this one`,
    { file, field: 'fingerprint', expected: own, actual: String(fingerprint).slice(0, 64) },
  )
}
