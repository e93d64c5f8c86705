/** Configured properties of the towers of OpenAI's layout. */

import type { Activation, TransformerSpec } from '../native/spec.js'
import type { ConvNextTower } from './conv-next.js'
import type { Size } from './tensors.js'
import type { OpenclipEncoder } from './text-encoders.js'
import type { TimmTower } from './timm.js'

/** The values of OpenCLIP's configuration, which a single weight file lacks. */
export interface OpenclipSizes {
  file: string
  embed: Size
  /** Scores are sigmoids, whether or not there is a `logit_bias`. */
  sigmoid: boolean
  image: {
    activation: Activation
    width: Size
    layers: Size | [Size, Size, Size, Size]
    heads: Size
    mlp?: Size
    patch?: Size
    imageSize: Size
    preNorm: boolean
    pool: TransformerSpec['pool']
  }
  /** An image tower of timm, which replaces `image`. */
  timm?: TimmTower
  /** A text encoder of transformers, which replaces `text`. */
  encoder?: OpenclipEncoder
  /** A ConvNeXt of timm, which replaces `image`. */
  convNext?: ConvNextTower
  text: {
    activation: Activation
    eps: number
    /** Whether the tower ends with a projection; without one its rows are embeddings. */
    project: boolean
    width: Size
    layers: Size
    heads: Size
    mlp: Size
    context: Size
    vocab: Size
    mask: TransformerSpec['mask']
    pool: TransformerSpec['pool']
    /** The id with which texts are padded under the full mask. */
    padId?: number
    /** The end token that pool 'eos' searches for. */
    endId?: number
  }
}
