/** The figures on the embedded model's own card, with which the page is compared. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'

export interface CardFigures {
  /** Top-1 accuracy in percent. */
  bare: number
  prompt: number
  ensemble: number
}

/** Reads the table of the model's README: its first column without a folder -> top-1 of the three kinds of prompts. */
export async function cardFigures(): Promise<Map<string, CardFigures>> {
  const text = await readFile(join(packageRoot, 'models/icon-clip/README.md'), 'utf8')
  const cell = String.raw` ([\d.]+) / [\d.]+ \|`
  const row = new RegExp(String.raw`^\| (?:[\w-]+/)?([\w-]+) \| \d+ \| \d+ \|${cell}${cell}${cell}`, 'gm')
  return new Map(
    [...text.matchAll(row)].map(([, name, ...top1]) => {
      const [bare, prompt, ensemble] = top1.map(Number)
      return [name!, { bare: bare!, prompt: prompt!, ensemble: ensemble! }]
    }),
  )
}
