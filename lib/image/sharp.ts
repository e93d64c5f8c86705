/** Loads sharp, which decodes most formats, when the first image needs it. */

import type { Sharp, SharpOptions } from 'sharp'
import { exhausted } from './exhausted.js'
import { type ImageOrigin, imageError } from './source.js'

export type SharpModule = (input: Uint8Array, options: SharpOptions) => Sharp
let sharpModule: Promise<SharpModule> | undefined

/** Throws ERR_CLIP_IMAGE with instructions if sharp is not installed. */
export async function loadSharp(from: ImageOrigin): Promise<SharpModule> {
  try {
    sharpModule ??= Promise.resolve().then(() => require('sharp') as SharpModule)
    return await sharpModule
  } catch (cause) {
    sharpModule = undefined
    const lack = exhausted(cause, from)
    if (lack) throw lack
    throw imageError(
      'is an encoded image, and sharp, which decodes them, could not be loaded: run `npm install sharp`, or pass raw pixels { data, width, height, channels }',
      from,
      { cause, expected: 'sharp to be installed', actual: (cause as Error).message },
    )
  }
}
