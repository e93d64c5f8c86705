/** The parts of a loaded model, and the errors for what it lacks. */

import { ClipError } from '../base/errors.js'
import type { NamedCheckpoint } from '../checkpoint/spec.js'
import type { ImageSettings } from '../image/decode.js'
import type { DecodeGate } from '../image/gate.js'
import type { ModelSpec } from '../native/spec.js'
import type { KernelScoreKind, NativeModel, ScoreKind } from '../native/surface.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { Calls } from './admission.js'

/** Everything that a loaded model consists of. The functions behind the methods of `Clip` work on it. */
export interface Loaded {
  model: NativeModel
  spec: ModelSpec
  checkpoint: NamedCheckpoint
  tokenizer?: Tokenizer
  calls: Calls
  gate: DecodeGate
  imageSettings: ImageSettings
}

/** Why a tower can't be used, or undefined. */
export function towerMissing({ spec, checkpoint }: Loaded, tower: 'image' | 'text'): ClipError | undefined {
  if (spec[tower]) return undefined
  return new ClipError(
    'ERR_CLIP_CONFIG',
    checkpoint.model[tower]
      ? `This model was loaded without its ${tower} tower: pass towers: ['image', 'text']`
      : `This checkpoint has no ${tower} tower: its weights are those of the ${tower === 'image' ? 'text' : 'image'} tower alone. Load the whole model's checkpoint`,
    { field: 'towers' },
  )
}

/** Throws ERR_CLIP_CONFIG if the model has no projection into the joint space, because then it has no embeddings. */
export function needProjection({ model }: Loaded, tower: 'image' | 'text'): void {
  if (model.shapes[tower]?.joint === false)
    throw new ClipError(
      'ERR_CLIP_CONFIG',
      `The ${tower} tower of this checkpoint has no projection into a joint space, so it has no embeddings: pass \`output: 'pooled'\` or \`output: 'tokens'\`, or load the checkpoint of the whole model`,
      { field: 'output', expected: "'pooled' or 'tokens'", actual: "'embedding'" },
    )
}

/** The arguments with which kernels compute a kind of score for this model. Throws ERR_CLIP_CONFIG like needLogitScale. */
export function scoresOf(
  loaded: Loaded,
  as: ScoreKind,
): { logitScale: number; logitBias: number; as: KernelScoreKind } {
  if (as === 'cosine') return { logitScale: 1, logitBias: 0, as }
  const logitScale = needLogitScale(loaded)
  const { kind, bias } = loaded.spec.scoring!
  return { logitScale, logitBias: bias, as: as === 'probability' && kind === 'sigmoid' ? 'sigmoid' : as }
}

/** The factor of cosines before a softmax or a sigmoid. Throws ERR_CLIP_CONFIG if the checkpoint has none. */
export function needLogitScale({ spec }: Loaded): number {
  if (!spec.scoring)
    throw new ClipError(
      'ERR_CLIP_CONFIG',
      "This checkpoint has no logit_scale, which probabilities and logits need: ask for `as: 'cosine'`, or add `logit_scale` to the checkpoint (OpenAI's models have Math.log(100))",
      { field: 'logit_scale', expected: "as: 'cosine'" },
    )
  return spec.scoring.scale
}

/** The backend whose kernels compute scores: that of the model, or, for a model on a GPU, the default one of the CPU. */
export function kernelBackend(loaded: Loaded): string | undefined {
  return loaded.model.device === 'cuda' ? undefined : loaded.model.backend
}

/** Width of the image tower's pooled output. */
export const pooledWidth = (loaded: Loaded): number | undefined => loaded.model.shapes.image?.width
