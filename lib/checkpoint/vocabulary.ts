/** The vocabulary of a model folder. */

import { basename, dirname, join } from 'node:path'
import { readVocabulary } from '../tokenizer/read-vocabulary.js'
import type { Pace } from './errors.js'
import type { Checkpoint } from './spec.js'

export async function vocabularyOf(folder: string, pace: Pace): Promise<Checkpoint['vocabulary']> {
  const vocabulary =
    (await readVocabulary(folder, pace.signal)) ??
    (await readVocabulary(siblingOf(folder, /^text_encoder/, 'tokenizer'), pace.signal))
  pace.restart()
  return vocabulary
}

/** In a diffusers pipeline, the tokenizer of a component is in a folder beside it. */
export function siblingOf(folder: string, part: RegExp, name: string): string {
  const own = basename(folder)
  return part.test(own) ? join(dirname(folder), own.replace(part, name)) : folder
}
