/** The tiny checkpoints of test/golden/checkpoint, their inputs, and what the original libraries made of them. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'
import type { Activation } from '../../lib/native/spec.js'

export const goldenFolder = join(packageRoot, 'test/golden/checkpoint')

export interface Golden {
  imageSize: number
  texts: number[][]
  image: number[][]
  text: number[][]
  madeBy: string
  activation?: Activation
  /** Texts, the vocabulary of test/golden/tokenizer/files that makes ids of them, and their embeddings. */
  strings?: string[]
  vocabulary?: string
  stringText?: number[][]
}

export const goldens: Record<string, Golden> = JSON.parse(
  readFileSync(join(goldenFolder, 'expected.json'), 'utf8'),
)

/** Names in expected.json are folders, or .pt files without their ending. */
export function goldenPath(name: string): string {
  return join(goldenFolder, name.startsWith('openai-') || name === 'openclip-training' ? `${name}.pt` : name)
}

/** (2, 3, size, size): common.py's `pixels`, one plane stack per image. */
export function goldenPixels(size: number): Float32Array[] {
  const floats = 3 * size * size
  return [0, 1].map(image =>
    Float32Array.from({ length: floats }, (_, k) => {
      const i = image * floats + k
      const u = (Math.imul(i, 0x9e3779b1) + 12345) >>> 0
      return (((u ^ (u >>> 15)) >>> 0) / 4294967296) * 4 - 2
    }),
  )
}
