/** Configured properties of the towers of OpenAI's layout. */

import type { Activation, TransformerSpec } from '../native/spec.js'
import type { Size } from './tensors.js'

/** The values of OpenCLIP's configuration, which a single weight file lacks. */
export interface OpenclipSizes {
  file: string
  embed: Size
  activation: Activation
  image: {
    width: Size
    layers: Size | [Size, Size, Size, Size]
    heads: Size
    mlp?: Size
    patch?: Size
    imageSize: Size
    preNorm: boolean
    pool: TransformerSpec['pool']
  }
  text: {
    width: Size
    layers: Size
    heads: Size
    mlp: Size
    context: Size
    vocab: Size
    mask: TransformerSpec['mask']
    pool: TransformerSpec['pool']
    padId?: number
  }
}
