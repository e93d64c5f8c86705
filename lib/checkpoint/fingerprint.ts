/** What a model is called in stores, classifiers and adapters: the same wherever the same numbers come from. */

import { createHash } from 'node:crypto'
import { ClipError } from '../base/errors.js'
import type { WeightNames } from '../native/surface.js'
import { type Checkpoint, embedsFirstEnd } from './spec.js'

/**
 * 32 hexadecimal digits of every weight's value, as native code has hashed them, and of the configuration: sizes, heads,
 * activation, preprocessing, temperature. Files, names of tensors, dtypes and which towers were loaded leave no trace.
 */
export function fingerprintOf(checkpoint: Checkpoint, names: WeightNames): string {
  const { embedDim, logitScale, image, text } = checkpoint.model
  const { preprocess } = checkpoint
  const facts = [
    'clip-native weights 1',
    [embedDim, logitScale ?? null, sorted(image), sorted(text)],
    image ? sorted(preprocess) : null,
    text && embedsFirstEnd(checkpoint) ? checkpoint.endId : null,
    [names.image, names.text],
  ]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32)
}

function sorted(value: object | undefined): [string, unknown][] {
  return Object.entries(value ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Refuses what was made with other weights: cosines of two models mean nothing. */
export function checkFingerprint(own: string, file: string, what: string, fingerprint: unknown): void {
  if (fingerprint === own) return
  throw new ClipError(
    'ERR_CLIP_MODEL_MISMATCH',
    `${file}: ${what} was made with the model ${String(fingerprint).slice(0, 64)}, but this one is ${own}: load that model, or make it anew with this one`,
    { file, field: 'fingerprint', expected: own, actual: String(fingerprint).slice(0, 64) },
  )
}
