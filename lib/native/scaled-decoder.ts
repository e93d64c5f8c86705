/** Decodes JPEG at a fraction of its size, with the libvips that sharp has loaded. */

import type { ScaledDecoder } from '../image/decode-mode.js'
import { scaleFor } from '../image/scaled.js'
import { binding, fromNative } from './addon.js'
import type { PreprocessSpec } from './spec.js'

/** For the images of a model with this preprocessing. */
export const scaledDecoder = (preprocess: PreprocessSpec): ScaledDecoder => ({
  isAvailable: () => binding().canDecodeScaled(),
  scaleOf: (width, height) => scaleFor(preprocess, width, height),
  decode: job => fromNative(() => binding().decodeScaled(job)),
})
