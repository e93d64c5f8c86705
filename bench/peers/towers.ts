/** Rows of the two encoders: ours against onnxruntime-node with the same weights, interleaved. */

import { type Clip, load } from '../../lib/index.js'
import { model } from '../cases.js'
import { randomModel, type WeightBits } from '../random-model.js'
import { median } from '../stats.js'
import { type ArenaResult, type Effort, type Entry, leastCosine, ratios, runArena } from './arena.js'
import type { Case } from './contestant.js'
import { onnxFile } from './onnx-clip.js'
import { ortSettings } from './ort.js'
import { type Bar, measured, type Row } from './row.js'

/** Captions of 10 tokens, start and end included, that share only the start token. */
export const captions = [
  'a small brown dog runs on green grass',
  'two cats sleep on the old red sofa',
  'the tall man walks along a quiet beach',
  'one white boat near an island at sunset',
  'people dance in the street at night time',
  'fresh bread and cheese on a wooden table',
  'an old car parked by the yellow house',
  'three birds sit on top of a wall',
  'children play soccer behind the big red school',
  'snow falls over mountains and the dark forest',
]

type OurDtype = 'float32' | 'bfloat16' | 'int8'

/**
 * The smallest cosine between both sides for which a figure is shown; it allows for the rounding of the
 * narrower type.
 */
const agreement: Record<OurDtype, number> = { float32: 0.99999, bfloat16: 0.999, int8: 0.98 }

interface Pair {
  group: string
  what: string
  ours: string
  rival: string
  bar: Bar
  rows: number
}

async function tokenIds(clip: Clip, texts: string[]): Promise<number[][]> {
  const { ids, shape, lengths } = await clip.tokenize(texts)
  return texts.map((_, i) => [...ids.subarray(i * shape[1], i * shape[1] + lengths[i]!)])
}

function rowsOf(pairs: Pair[], result: ArenaResult, threads: number, entries: Entry[]): Row[] {
  return pairs.map(p => {
    const dtype = entries.find(e => e.name === p.ours)!.opening.dtype as OurDtype
    const row: Row = {
      group: p.group,
      what: p.what,
      dtype,
      threads,
      unit: 'higher',
      bar: p.bar,
      rivalSettings: `${ortSettings(threads)}; ${p.rival}`,
    }
    if (result.missing.has(p.ours)) return { ...row, missing: 'not in this build' }
    const cosine = leastCosine(result.values.get(p.ours) ?? [], result.values.get(p.rival) ?? [], p.rows)
    if (!(cosine >= agreement[dtype]))
      return { ...row, cosine, missing: `the answers differ: least cosine ${cosine.toFixed(6)}` }
    const figures = measured(
      row,
      ratios(result.times, p.ours, p.rival),
      result.times.get(p.ours) ?? [],
      result.times.get(p.rival) ?? [],
    )
    return { ...figures, cosine, cpuRatio: median(ratios(result.cpu, p.ours, p.rival)) }
  })
}

/**
 * For weights that use all bits of float32, only the float32 rows are of interest, because other dtypes round
 * the weights anyway.
 */
function ofWeights(weights: WeightBits, entries: Entry[], pairs: Pair[]): [Entry[], Pair[]] {
  if (weights === 'float16') return [entries, pairs]
  const wanted = pairs.filter(p => p.what.includes('fp32, '))
  const names = new Set(wanted.flatMap(p => [p.ours, p.rival]))
  const what = (p: Pair) => ({ ...p, what: `${p.what}; weights of all 32 bits` })
  return [entries.filter(e => names.has(e.name)), wanted.map(what)]
}

export async function imageRows(
  threads: number,
  effort: Effort,
  log: (text: string) => void,
  weights: WeightBits = 'float16',
): Promise<Row[]> {
  const folder = await randomModel(model('ViT-B/32'), weights)
  const size = 224
  const one: Case = { kind: 'image', batch: 1, size }
  const eight: Case = { kind: 'image', batch: 8, size }
  const ours = (dtype: OurDtype) => ({
    side: 'ours' as const,
    source: folder,
    tower: 'image' as const,
    dtype,
    threads,
  })
  const ort = async (dtype: 'float32' | 'int8') => ({
    side: 'ort' as const,
    source: await onnxFile(folder, 'vision', dtype),
    tower: 'image' as const,
    dtype,
    threads,
  })
  const [f32, int8] = [await ort('float32'), await ort('int8')]
  const all: Entry[] = [
    { name: 'ours fp32, batch 1', opening: ours('float32'), case: one },
    { name: 'ORT fp32, batch 1', opening: f32, case: one },
    { name: 'ours bf16, batch 1', opening: ours('bfloat16'), case: one },
    { name: 'ORT int8, batch 1', opening: int8, case: one },
    { name: 'ours int8, batch 1', opening: ours('int8'), case: one },
    { name: 'ours fp32, batch 8', opening: ours('float32'), case: eight },
    { name: 'ORT fp32, batch 8', opening: f32, case: eight },
  ]
  const pair = (
    what: string,
    a: string,
    b: string,
    rows: number,
    required: number,
    goal: number,
    limit: number,
  ): Pair => ({
    group: 'image',
    what,
    ours: a,
    rival: b,
    bar: { required, goal, limit },
    rows,
  })
  const [entries, pairs] = ofWeights(weights, all, [
    pair(
      'image fp32, batch 1, times ORT fp32',
      'ours fp32, batch 1',
      'ORT fp32, batch 1',
      1,
      1.18,
      1.25,
      1.32,
    ),
    pair(
      'image fp32, batch 8, times ORT fp32',
      'ours fp32, batch 8',
      'ORT fp32, batch 8',
      8,
      1.1,
      1.17,
      1.26,
    ),
    pair('image bf16, times ORT fp32', 'ours bf16, batch 1', 'ORT fp32, batch 1', 1, 2.2, 2.4, 2.65),
    pair('image int8, times ORT int8', 'ours int8, batch 1', 'ORT int8, batch 1', 1, 1.45, 1.68, 2.0),
    pair('image int8, times ORT fp32', 'ours int8, batch 1', 'ORT fp32, batch 1', 1, 3.9, 4.3, 5.2),
  ])
  log(`image tower, ${weights} weights, ${threads} thread(s)`)
  return rowsOf(pairs, await runArena(entries, effort, log), threads, entries)
}

export async function textRows(
  threads: number,
  effort: Effort,
  log: (text: string) => void,
  weights: WeightBits = 'float16',
): Promise<Row[]> {
  const folder = await randomModel(model('ViT-B/32'), weights)
  const clip = await load(folder, { towers: ['text'], threads: 1 })
  const ids = await tokenIds(clip, captions)
  await clip.dispose()
  for (const [i, one] of ids.entries())
    if (one.length !== 10) throw new Error(`"${captions[i]}" has ${one.length} tokens, not 10`)
  const texts = (n: number, length: number): Case => ({
    kind: 'text',
    texts: captions.slice(0, n),
    ids: ids.slice(0, n),
    length,
  })
  const ours = (dtype: OurDtype) => ({
    side: 'ours' as const,
    source: folder,
    tower: 'text' as const,
    dtype,
    threads,
  })
  const ort = async (dtype: 'float32' | 'int8') => ({
    side: 'ort' as const,
    source: await onnxFile(folder, 'text', dtype),
    tower: 'text' as const,
    dtype,
    threads,
  })
  const [f32, int8] = [await ort('float32'), await ort('int8')]
  const short = { float32: 'fp32', bfloat16: 'bf16', int8: 'int8' }
  const dtypes: OurDtype[] = ['float32', 'bfloat16', 'int8']
  const all: Entry[] = [
    ...dtypes.map(d => ({ name: `ours ${short[d]}, one text`, opening: ours(d), case: texts(1, 10) })),
    ...(['float32', 'bfloat16'] as const).map(d => ({
      name: `ours ${short[d]}, ten texts`,
      opening: ours(d),
      case: texts(10, 10),
    })),
    { name: 'ORT fp32, one text padded to 77', opening: f32, case: texts(1, 77) },
    { name: 'ORT fp32, one text of 10', opening: f32, case: texts(1, 10) },
    { name: 'ORT int8, one text padded to 77', opening: int8, case: texts(1, 77) },
    { name: 'ORT int8, one text of 10', opening: int8, case: texts(1, 10) },
    { name: 'ORT fp32, ten texts padded to 77', opening: f32, case: texts(10, 77) },
    { name: 'ORT fp32, ten texts padded to the longest', opening: f32, case: texts(10, 10) },
  ]
  const pair = (
    what: string,
    a: string,
    b: string,
    rows: number,
    required: number,
    goal: number,
    limit?: number,
  ): Pair => ({
    group: 'text',
    what,
    ours: a,
    rival: b,
    bar: { required, goal, limit },
    rows,
  })
  const one = 'ORT fp32, one text'
  const [entries, pairs] = ofWeights(weights, all, [
    pair(
      'one text of 10, fp32, times ORT fp32 padded to 77',
      'ours fp32, one text',
      `${one} padded to 77`,
      1,
      8,
      9.2,
      10.7,
    ),
    pair(
      'one text of 10, bf16, times ORT fp32 padded to 77',
      'ours bf16, one text',
      `${one} padded to 77`,
      1,
      15,
      18,
      21,
    ),
    pair(
      'one text of 10, int8, times ORT int8 padded to 77',
      'ours int8, one text',
      'ORT int8, one text padded to 77',
      1,
      8,
      10,
    ),
    pair(
      'one text of 10, fp32, times ORT fp32 fed 10',
      'ours fp32, one text',
      `${one} of 10`,
      1,
      1.55,
      1.72,
      2.0,
    ),
    pair(
      'one text of 10, bf16, times ORT fp32 fed 10',
      'ours bf16, one text',
      `${one} of 10`,
      1,
      3.0,
      3.3,
      4.0,
    ),
    pair(
      'one text of 10, int8, times ORT int8 fed 10',
      'ours int8, one text',
      'ORT int8, one text of 10',
      1,
      1.75,
      2.0,
    ),
    pair(
      'ten texts, fp32, times ORT fp32 padded to 77',
      'ours fp32, ten texts',
      'ORT fp32, ten texts padded to 77',
      10,
      9,
      10.9,
      11.7,
    ),
    pair(
      'ten texts, bf16, times ORT fp32 padded to 77',
      'ours bf16, ten texts',
      'ORT fp32, ten texts padded to 77',
      10,
      17,
      20.7,
      23,
    ),
    pair(
      'ten texts, fp32, times ORT fp32 padded to the longest',
      'ours fp32, ten texts',
      'ORT fp32, ten texts padded to the longest',
      10,
      1.2,
      1.3,
      1.4,
    ),
    pair(
      'ten texts, bf16, times ORT fp32 padded to the longest',
      'ours bf16, ten texts',
      'ORT fp32, ten texts padded to the longest',
      10,
      2.2,
      2.5,
      2.8,
    ),
  ])
  log(`text tower, ${weights} weights, ${threads} thread(s)`)
  return rowsOf(pairs, await runArena(entries, effort, log), threads, entries)
}
