/** All supported families of checkpoints, each in its own file. */

import { badCheckpoint } from '../errors.js'
import type { Checkpoint } from '../spec.js'
import type { Family, Found } from './family.js'
import { huggingface } from './huggingface.js'
import { openai } from './openai.js'
import { openclip } from './openclip.js'

/** The first family that recognises the files reads them. */
const families: readonly Family[] = [huggingface, openclip, openai]

export async function readFamily(found: Found): Promise<Checkpoint> {
  for (const family of families) if (await family.recognise(found)) return family.read(found)
  throw badCheckpoint(found.table.where, undefined, 'does not belong to a supported family of checkpoints')
}
