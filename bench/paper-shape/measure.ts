/** The measurements of the page: right or wrong predictions for each image, from features that are computed once. */

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { drawShots, seededRandom } from '../../lib/eval/metrics.js'
import { type Clip, Embeddings, openDataset } from '../../lib/index.js'
import { testData } from '../../test/helpers/test-data.js'

export interface LabelledImage {
  file: string
  label: string
  split?: string
  /** The first folder below the folder of the data set. */
  set: string
}

export interface ImageSet {
  images: LabelledImage[]
  /** In the joint space, and before the projection. */
  embeddings: Embeddings
  pooled: Embeddings
  labels: string[]
  /** Number of PNG images that have a palette. */
  palettes: number
}

/** Whether a PNG file's colour type is 3: indices into a palette. */
async function hasPalette(file: string): Promise<boolean> {
  const handle = await open(file)
  try {
    const header = Buffer.alloc(26)
    await handle.read(header, 0, 26, 0)
    return header.readUInt32BE(0) === 0x89504e47 && header[25] === 3
  } finally {
    await handle.close()
  }
}

const take = (e: Embeddings, rows: readonly number[]): Embeddings => {
  const width = e.shape[1]
  const out = new Float32Array(rows.length * width)
  rows.forEach((r, i) => {
    out.set(e.row(r), i * width)
  })
  return new Embeddings(out, [rows.length, width] as const)
}

export async function readSet(clip: Clip, csv: string, only?: string): Promise<ImageSet> {
  const images: LabelledImage[] = []
  for await (const { image, label, name, split } of (await openDataset(join(testData, csv))).samples()) {
    const set = name!.split('/')[1]!
    if (only === undefined || set === only)
      images.push({ file: image as string, label, set, ...(split ? { split } : {}) })
  }
  const files = images.map(p => p.file)
  let palettes = 0
  for (const file of files) if (await hasPalette(file)) palettes++
  return {
    palettes,
    images,
    embeddings: await clip.encodeImage(files),
    pooled: await clip.encodeImage(files, { output: 'pooled' }),
    labels: [...new Set(images.map(p => p.label))],
  }
}

/** The zero-shot prediction for every image. */
export async function zeroShot(clip: Clip, set: ImageSet, templates: readonly string[]): Promise<string[]> {
  const classifier = await clip.classifier(set.labels, { templates })
  return (await classifier.classify(set.embeddings, { topK: 1 })).map(p => p[0]!.label)
}

export type Method = 'probe' | 'tip'

/** The predictions for `test` of a classifier learned from `train`. */
async function learned(
  clip: Clip,
  set: ImageSet,
  method: Method,
  train: readonly number[],
  test: readonly number[],
  templates: readonly string[],
): Promise<string[]> {
  const labels = train.map(i => set.images[i]!.label)
  const features = method === 'probe' ? set.pooled : set.embeddings
  const examples = { images: take(features, train), labels }
  const classifier =
    method === 'probe' ? await clip.linearProbe(examples) : await clip.tipAdapter(examples, { templates })
  return (await classifier.classify(take(features, test), { topK: 1 })).map(p => p[0]!.label)
}

export interface Interval {
  value: number
  low: number
  high: number
}

/**
 * The mean, and the 95 % interval of the means of 2000 samples drawn with replacement. `groups` are drawn as
 * a whole, each with all its values.
 */
export function bootstrap(groups: readonly (readonly number[])[], seed = 1): Interval {
  const sums = groups.map(g => g.reduce((a, b) => a + b, 0))
  const mean = (chosen: (i: number) => number) => {
    let [sum, count] = [0, 0]
    for (let i = 0; i < groups.length; i++) {
      const j = chosen(i)
      sum += sums[j]!
      count += groups[j]!.length
    }
    return sum / count
  }
  const random = seededRandom(seed)
  const means = Array.from({ length: 2000 }, () => mean(() => Math.floor(random() * groups.length)))
  means.sort((a, b) => a - b)
  return { value: mean(i => i), low: means[50]!, high: means[1949]! }
}

/** Right predictions (1 or 0) for each image, over all draws in which it was tested. */
export async function shotCurve(
  clip: Clip,
  set: ImageSet,
  method: Method,
  shots: number,
  seeds: readonly number[],
  templates: readonly string[],
): Promise<Interval & { tested: number; classes: number; seeds: { least: number; most: number } }> {
  const marked = set.images.some(p => p.split === 'train')
  const all = set.images.map((_, i) => i)
  const pool = marked ? all.filter(i => set.images[i]!.split === 'train') : all
  const count = (label: string) => pool.filter(i => set.images[i]!.label === label).length
  const classes = set.labels.filter(label => count(label) >= shots)
  const usable = pool.filter(i => classes.includes(set.images[i]!.label))
  const right = new Map<number, number[]>()
  const bySeed: number[] = []
  for (const seed of seeds) {
    const drawn = drawShots(
      usable.map(i => set.images[i]!.label),
      shots,
      seed,
      0,
    ).map(i => usable[i]!)
    const isDrawn = new Set(drawn)
    const test = all.filter(
      i =>
        classes.includes(set.images[i]!.label) &&
        !isDrawn.has(i) &&
        (!marked || set.images[i]!.split === 'test'),
    )
    const answers = await learned(clip, set, method, drawn, test, templates)
    test.forEach((i, k) => {
      const list = right.get(i) ?? []
      list.push(Number(answers[k] === set.images[i]!.label))
      right.set(i, list)
    })
    bySeed.push(test.filter((i, k) => answers[k] === set.images[i]!.label).length / test.length)
  }
  return {
    ...bootstrap([...right.values()]),
    tested: right.size,
    classes: classes.length,
    seeds: { least: Math.min(...bySeed), most: Math.max(...bySeed) },
  }
}
