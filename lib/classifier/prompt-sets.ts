/** The class names and prompt templates that the authors of CLIP published for the data sets of their zero-shot table. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClipError } from '../base/errors.js'
import { type Json, type JsonObject, parseJson } from '../base/json.js'
import { oneOf } from '../base/options.js'
import { inSlices } from '../base/slices.js'

/** The names of the data sets in the paper's prompts.md. */
export const promptSetNames = [
  'ImageNet',
  'Birdsnap',
  'CIFAR10',
  'CIFAR100',
  'CLEVRCounts',
  'Caltech101',
  'Country211',
  'DescribableTextures',
  'EuroSAT',
  'FGVCAircraft',
  'FacialEmotionRecognition2013',
  'Flowers102',
  'Food101',
  'GTSRB',
  'HatefulMemes',
  'KITTI',
  'Kinetics700',
  'MNIST',
  'OxfordPets',
  'PascalVOC2007',
  'PatchCamelyon',
  'RESISC45',
  'SST2',
  'STL10',
  'SUN397',
  'StanfordCars',
  'UCF101',
] as const

/** A data set of the paper: one of {@link promptSetNames}. */
export type PromptSetName = (typeof promptSetNames)[number]

/** Labels and templates as `clip.classifier` takes them: `clip.classifier(set.labels, { templates: set.templates })`. */
export interface PromptSet {
  /** A class with several names is an array of them. */
  labels: readonly (string | readonly string[])[]
  /** All templates of the set. ImageNet has 80; `templates.imagenet7` has the seven that were selected from them. */
  templates: readonly string[]
}

const file = join(__dirname, '../../../models/prompts/prompts.json')
const limits = { depth: 5, values: 20_000, objects: 100 }

let sets: Promise<JsonObject> | undefined

async function readSets(): Promise<JsonObject> {
  try {
    return (await inSlices(parseJson(await readFile(file, 'utf8'), limits))) as JsonObject
  } catch (cause) {
    throw new ClipError(
      'ERR_CLIP_CONFIG',
      `${file}: can't be read (${(cause as Error).message}); it ships with clip-native, so install the package again`,
      { file, cause },
    )
  }
}

/**
 * One of the 27 prompt sets of the CLIP paper (openai/CLIP, data/prompts.md), read from the package at its first use.
 * Rejects with a TypeError for a name that is none of `promptSetNames`.
 */
export async function promptSet(name: PromptSetName): Promise<PromptSet> {
  oneOf('name', name, promptSetNames)
  sets ??= readSets()
  sets.catch(() => {
    sets = undefined
  })
  const set = (await sets).get(name) as JsonObject
  const copy = (value: Json | undefined) =>
    (value as Json[]).map(item => (Array.isArray(item) ? [...item] : item)) as string[]
  return { labels: copy(set.get('classes')), templates: copy(set.get('templates')) }
}
