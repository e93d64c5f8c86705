/**
 * Loads one checkpoint and compares it: the child process of run.ts, one per checkpoint, so that time and memory are
 * those of one model. Reads a Task from standard input, prints a Measured.
 */

import { text as readAll } from 'node:stream/consumers'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { type Clip, load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'
import type { ModelSpec } from '../../lib/native/spec.js'
import { goldenPixels } from '../checkpoint/goldens.js'
import { repositoryFile } from '../helpers/test-data.js'
import { distance, floats, length, rowsOf } from '../model/golden.js'
import type { Entry } from './checkpoints.js'
import type { Published } from './published.js'

export interface Task {
  path: string
  entry?: Entry
  inputs?: { images: string[]; texts: string[]; ids: number[][] }
  published: (Published & { imagePath?: string })[]
  threads: number
}

/** How far the rows of one kind of input are from the stored ones. */
export interface Difference {
  what: string
  rows: number
  maxAbs: number
  cosine: number
  /** Largest relative difference of a row's length before normalization. */
  length: number
  /** How far apart the first two inputs are, as maxAbs: what a difference has to be compared with. */
  apart: number
}

export interface Measured {
  backend: string
  loadSeconds: number
  /** MB after loading, and the most during the run. */
  rss: number
  peak: number
  differences: Difference[]
  parameters: number
  published: { name: string; actual: number[]; difference: number }[]
}

const MB = 1 << 20

function compare(what: string, actual: Float32Array[], expected: string[]): Difference {
  const [first, second] = expected.map(floats)
  const apart = second ? distance(first, second).maxAbs : Number.NaN
  const all = { what, rows: expected.length, maxAbs: 0, cosine: 1, length: 0, apart }
  if (actual.length !== expected.length) return { ...all, maxAbs: Number.NaN }
  expected.forEach((row, i) => {
    const want = floats(row)
    const one = distance(actual[i], want)
    // Math.max and Math.min keep a NaN.
    all.maxAbs = Math.max(all.maxAbs, one.maxAbs)
    all.cosine = Math.min(all.cosine, one.cosine)
    all.length = Math.max(all.length, Math.abs(length(actual[i]) / length(want) - 1))
  })
  return all
}

/** Parameters as PyTorch counts them: running statistics are none, `logit_scale` is one. */
function parametersOf(model: ModelSpec): number {
  return Object.entries(model.tensors)
    .filter(([name]) => !/\.(mean|variance)$/.test(name))
    .reduce((sum, [, tensor]) => sum + tensor.shape.reduce((n, side) => n * side, 1), 1)
}

/** Ids have no door in the public API: the text tower alone, through the binding. */
async function encodeIds(path: string, ids: number[][], threads: number): Promise<Float32Array[]> {
  const { model, preprocess } = await readCheckpoint(path)
  const { image: _, ...spec } = model
  const tensors = Object.fromEntries(
    Object.entries(model.tensors).filter(([name]) => name.startsWith('text.')),
  )
  const options = { device: 'auto', dtype: 'float32', threads, maxBatchRows: 512 } as const
  const native = await binding().loadModel(nextJob(), { ...spec, tensors }, preprocess, options)
  try {
    const lengths = Int32Array.from(ids, text => text.length)
    const data = await native.encodeText(nextJob(), Int32Array.from(ids.flat()), lengths, 'embedding', false)
    return rowsOf(data, spec.embedDim)
  } finally {
    await native.dispose()
  }
}

async function checkPublished(clip: Clip, parameters: number, p: Task['published'][number]) {
  const actual =
    p.imagePath && p.texts
      ? Array.from((await clip.similarity(p.imagePath, p.texts, { as: p.as! })).data)
      : [parameters]
  const difference = Math.max(...actual.map((v, i) => Math.abs(v - p.values[i])))
  return { name: p.name, actual, difference }
}

async function measure({ path, entry, inputs, published, threads }: Task): Promise<Measured> {
  const parameters = parametersOf((await readCheckpoint(path)).model)
  const begin = performance.now()
  const clip = await load(path, { threads })
  const measured: Measured = {
    backend: clip.info.backend,
    loadSeconds: (performance.now() - begin) / 1000,
    rss: process.memoryUsage.rss() / MB,
    peak: 0,
    differences: [],
    parameters,
    published: [],
  }
  const raw = { normalize: false } as const
  if (entry && inputs) {
    const size = clip.info.imageSize!
    const planes = goldenPixels(size).map(data => ({ data, shape: [1, 3, size, size] }))
    const images = inputs.images.map(repositoryFile)
    measured.differences.push(
      compare('planes', [...(await clip.encodeImage(planes, raw))], entry.planes),
      compare('images', [...(await clip.encodeImage(images, raw))], entry.images),
      compare('texts', [...(await clip.encodeText(inputs.texts, raw))], entry.texts),
    )
  }
  for (const p of published) measured.published.push(await checkPublished(clip, parameters, p))
  await clip.dispose()
  if (entry && inputs)
    measured.differences.push(compare('ids', await encodeIds(path, inputs.ids, threads), entry.ids))
  measured.peak = process.resourceUsage().maxRSS / 1024
  return measured
}

const answer = await measure(JSON.parse(await readAll(process.stdin)) as Task)
// JSON makes null of NaN, and null is less than any tolerance.
process.stdout.write(JSON.stringify(answer, (_, v) => (Number.isNaN(v) ? 'NaN' : v)))
