/** The classifier of ImageNet's 1000 labels x 80 templates: ours in full, the other side extrapolated from a sample. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'
import { load, templates } from '../../lib/index.js'
import { model } from '../cases.js'
import { randomModel } from '../random-model.js'
import { Contestant, type Effort, leastCosine } from './arena.js'
import type { Case } from './contestant.js'
import { onnxFile } from './onnx-clip.js'
import { ortSettings } from './ort.js'
import { failed, gap, runProbe } from './others.js'
import type { Row } from './row.js'

const batchSizes = [1, 4, 8, 16, 32, 64]

/** Cases with batches of one size over the prompts in the given order, each padded to 77 or to its longest prompt. */
function batches(prompts: string[], ids: number[][], size: number, padded: boolean): Case[] {
  const cases: Case[] = []
  for (let i = 0; i < prompts.length; i += size) {
    const part = ids.slice(i, i + size)
    cases.push({
      kind: 'text',
      texts: prompts.slice(i, i + size),
      ids: part,
      length: padded ? 77 : Math.max(...part.map(one => one.length)),
    })
  }
  return cases
}

async function time(ort: Contestant, cases: Case[]): Promise<number> {
  let total = 0
  for (const c of cases) total += (await ort.burst(c, 0)).ms
  return total
}

/** ms for the sample at the batch size that is fastest on an eighth of it. */
async function best(ort: Contestant, prompts: string[], ids: number[][], padded: boolean) {
  let chosen = { size: 0, ms: Number.POSITIVE_INFINITY }
  const eighth = (_: unknown, i: number) => i % 8 === 0
  const few = prompts.filter(eighth)
  const fewIds = ids.filter(eighth)
  for (const size of batchSizes) {
    const ms = await time(ort, batches(few, fewIds, size, padded))
    if (ms < chosen.ms) chosen = { size, ms }
  }
  const ms = await time(ort, batches(prompts, ids, chosen.size, padded))
  return { size: chosen.size, ms }
}

export async function classifierRows(
  threads: number,
  effort: Effort & { labels: number; prompts: number },
  log: (text: string) => void,
): Promise<Row[]> {
  const folder = await randomModel(model('ViT-B/32'))
  const labels = (
    JSON.parse(await readFile(join(packageRoot, 'test/data/imagenet-classes.json'), 'utf8')) as string[]
  ).slice(0, effort.labels)
  const all = labels.flatMap(label => templates.imagenet80.map(t => t.replace('{}', label)))
  // A fixed stride through all prompts gives a sample of every label and template.
  const stride = Math.max(1, Math.floor(all.length / effort.prompts)) | 1
  const sample = Array.from({ length: effort.prompts }, (_, i) => all[(i * stride) % all.length]!)
  const clip = await load(folder, { towers: ['text'] })
  const { ids, shape, lengths } = await clip.tokenize(sample)
  const tokens = sample.map((_, i) => [...ids.subarray(i * shape[1], i * shape[1] + lengths[i]!)])
  const check = [...(await clip.encodeText(sample.slice(0, 8), { normalize: false })).data]
  await clip.dispose()
  const order = sample.map((_, i) => i).sort((a, b) => tokens[a]!.length - tokens[b]!.length)
  const sorted = order.map(i => sample[i]!)
  const sortedIds = order.map(i => tokens[i]!)

  log(
    `classifier of ${labels.length} labels x ${templates.imagenet80.length} templates, ${threads} thread(s)`,
  )
  const ort = new Contestant({
    side: 'ort',
    source: await onnxFile(folder, 'text', 'float32'),
    tower: 'text',
    dtype: 'float32',
    threads,
  })
  try {
    await ort.open()
    const first = await ort.once(batches(sample.slice(0, 8), tokens.slice(0, 8), 8, false)[0]!)
    const cosine = leastCosine(check, first.values!, 8)
    const longest = await best(ort, sorted, sortedIds, false)
    log(
      `  ORT, to the longest: ${(longest.ms / sample.length).toFixed(2)} ms a prompt in batches of ${longest.size}`,
    )
    const ours = new Map<string, number | string>()
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const { result } = await runProbe<{ ms: number }>({
        probe: 'classifier',
        source: folder,
        dtype,
        threads,
        labels,
      })
      ours.set(dtype, failed(result) ? gap(result) : result.ms)
      log(`  ours, ${dtype}: ${failed(result) ? 'not in this build' : `${(result.ms / 1000).toFixed(1)} s`}`)
    }
    const padded = await best(ort, sorted, sortedIds, true)
    log(
      `  ORT, padded to 77: ${(padded.ms / sample.length).toFixed(2)} ms a prompt in batches of ${padded.size}`,
    )
    const rows: Row[] = []
    for (const [how, rival, bars] of [
      ['padded to 77', padded, { float32: [20, 24, 25], bfloat16: [40, 48, 51] }],
      ['to the longest, sorted', longest, { float32: [2.4, 2.75, 2.9], bfloat16: [4.7, 5.4, 5.8] }],
    ] as const)
      for (const dtype of ['float32', 'bfloat16'] as const) {
        const [required, goal, limit] = bars[dtype]
        const mine = ours.get(dtype)!
        const theirs = (rival.ms / sample.length) * all.length
        const row: Row = {
          group: 'classifier',
          what: `classifier ${labels.length} x 80, ${dtype === 'float32' ? 'fp32' : 'bf16'}, times ORT fp32 ${how}`,
          dtype,
          threads,
          unit: 'higher',
          bar: { required, goal, limit },
          cosine,
          rivalSettings: `${ortSettings(threads)}; ${sample.length} prompts in batches of ${rival.size} (the best of ${batchSizes.join(', ')}), scaled to ${all.length}`,
          ...(labels.length < 1000
            ? { note: `${labels.length} labels only: fewer share prefixes than of 1000` }
            : {}),
        }
        if (typeof mine === 'string') rows.push({ ...row, missing: mine })
        else if (!(cosine >= 0.99999))
          rows.push({ ...row, missing: `the answers differ: least cosine ${cosine}` })
        else rows.push({ ...row, measured: theirs / mine, ours: mine, rival: theirs, samples: 1 })
      }
    return rows
  } finally {
    await ort.close()
  }
}
