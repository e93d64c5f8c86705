/** The embedded model through the native surface, for tests that need token ids and counters. */

import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import type { Checkpoint } from '../../lib/checkpoint/spec.js'
import { binding, fromNative } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'
import type { ModelSpec, PreprocessSpec } from '../../lib/native/spec.js'
import type { NativeLoadOptions, NativeModel } from '../../lib/native/surface.js'

export const embeddedFolder = join(packageRoot, 'models', 'icon-clip')

export const readEmbedded = (): Promise<Checkpoint> => readCheckpoint(embeddedFolder)

export function loadNative(
  spec: ModelSpec,
  preprocess: PreprocessSpec,
  options: Partial<NativeLoadOptions> = {},
): Promise<NativeModel> {
  const all: NativeLoadOptions = {
    device: 'auto',
    dtype: 'float32',
    threads: 1,
    maxBatchRows: 512,
    ...options,
  }
  return fromNative(() => binding().loadModel(nextJob(), spec, preprocess, all))
}

export type TextOutput = 'embedding' | 'pooled' | 'tokens'

/** Token ids of several texts as one call. */
export function encodeIds(
  model: NativeModel,
  texts: readonly (readonly number[])[],
  output: TextOutput = 'embedding',
): Promise<Float32Array> {
  return fromNative(() =>
    model.encodeText(
      nextJob(),
      Int32Array.from(texts.flat()),
      Int32Array.from(texts, ids => ids.length),
      output,
      true,
    ),
  )
}

/** mulberry32: the same numbers in every run. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}
