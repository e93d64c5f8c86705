/**
 * How much a process grows while `clip.classifier` builds from CLIP's 80 000 ImageNet prompts:
 *
 *   node --expose-gc dist/test/model/prompts-growth.js MODEL_FOLDER
 *
 * Prints a PromptsGrowth as JSON.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'
import { load, templates } from '../../lib/index.js'
import { growth, measurable } from '../hostile/memory.js'

export interface PromptsGrowth {
  measured: boolean
  grownBytes: number
  /** Texts that were reported as done. */
  done: number
  /** Of the classifier's embeddings. */
  shape: readonly number[]
}

const names: string[] = JSON.parse(readFileSync(join(packageRoot, 'test/data/imagenet-classes.json'), 'utf8'))
const clip = await load(process.argv[2])
;(globalThis as { gc?: () => void }).gc?.()
const result: PromptsGrowth = { measured: measurable, grownBytes: 0, done: 0, shape: [] }
result.grownBytes = await growth(async () => {
  const { embeddings } = await clip.classifier(names, {
    templates: templates.imagenet80,
    onProgress: ({ done }) => {
      result.done = done
    },
  })
  result.shape = embeddings.shape
})
await clip.dispose()
console.log(JSON.stringify(result))
