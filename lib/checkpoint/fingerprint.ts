/** The fingerprint of a model in stores, classifiers and adapters: equal for equal weights, whatever files they come from. */

import { createHash } from 'node:crypto'
import { ClipError } from '../base/errors.js'
import { embedsFirstEnd, type ImageTowerSpec, type TextTowerSpec } from '../native/spec.js'
import type { WeightNames } from '../native/surface.js'
import type { Checkpoint } from './spec.js'

/**
 * 32 hexadecimal digits: a hash of the values of all weights (computed by native code) and of the configuration: sizes, heads,
 * activation, preprocessing and temperature. It does not depend on files, tensor names, dtypes, or the towers that were loaded.
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
    ...(scoring && scoring.kind !== 'softmax' ? [[scoring.kind, scoring.bias]] : []),
  ]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32)
}

/** The properties of the towers of OpenAI's CLIP. They are left out of fingerprints, as before other towers were supported. */
const usual = {
  patches: {
    preNorm: true,
    mask: 'full',
    pool: 'first',
    padId: undefined,
    classToken: true,
    classPosition: true,
    stem: undefined,
    normFirst: false,
    poolHeads: undefined,
    rope: undefined,
  },
  tokens: {
    preNorm: false,
    mask: 'causal',
    pool: undefined,
    padId: undefined,
    classToken: undefined,
    classPosition: undefined,
    stem: undefined,
    normFirst: undefined,
    poolHeads: undefined,
    rope: undefined,
  },
} as const

/** The description of a tower in fingerprints. It must never change, because stores on disk contain fingerprints. */
function factsOf(tower: ImageTowerSpec | TextTowerSpec | undefined): object {
  if (tower?.kind !== 'transformer') return tower ?? {}
  const { embed, blocks, preNorm, mask, pool, attentionPool, finalNorm, projectionMlp } = tower
  const sizes =
    embed.kind === 'patches'
      ? { kind: 'vit', imageSize: embed.imageSize, patchSize: embed.patchSize }
      : { contextLength: embed.contextLength, vocabSize: embed.vocabSize }
  const all = {
    preNorm,
    mask,
    // The end token of the pool is described separately.
    pool: pool === 'argmax' || pool === 'eos' ? undefined : pool,
    padId: embed.kind === 'tokens' ? embed.padId : undefined,
    classToken: embed.kind === 'patches' ? embed.classToken : undefined,
    classPosition: embed.kind === 'patches' ? (embed.classPosition ?? true) : undefined,
    stem: embed.kind === 'patches' ? embed.stem : undefined,
    normFirst: embed.kind === 'patches' ? (tower.normFirst ?? false) : undefined,
    poolHeads: attentionPool?.heads,
    rope: embed.kind === 'patches' && embed.rope ? sorted(embed.rope) : undefined,
    ...(finalNorm === false ? { finalNorm } : {}),
    ...(projectionMlp ? { projectionMlp: [projectionMlp.hidden, projectionMlp.activation] } : {}),
    ...(embed.kind === 'tokens' && embed.maskedId !== undefined
      ? { maskedId: embed.maskedId, tokenScale: embed.tokenScale ?? 1, sinusoid: embed.sinusoid ?? null }
      : {}),
  }
  const unusual = Object.entries(all).filter(
    ([key, value]) => value !== (usual[embed.kind] as Record<string, unknown>)[key],
  )
  return { ...blocks, ...sizes, ...Object.fromEntries(unusual) }
}

function sorted(value: object): [string, unknown][] {
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Refuses data that was made with other weights, because cosines between two models are meaningless. */
export function checkFingerprint(own: string, file: string, what: string, fingerprint: unknown): void {
  if (fingerprint === own) return
  throw new ClipError(
    'ERR_CLIP_MODEL_MISMATCH',
    `${file}: ${what} was made with the model ${String(fingerprint).slice(0, 64)}, but this one is ${own}: load that model, or create it again with this one`,
    { file, field: 'fingerprint', expected: own, actual: String(fingerprint).slice(0, 64) },
  )
}
