/** Image towers of other models against onnxruntime-node. No targets were set for them; the ratios are printed. */

import { model } from '../cases.js'
import { randomModel } from '../random-model.js'
import { randomResNet, rn50 } from '../random-resnet.js'
import { median } from '../stats.js'
import { type Effort, type Entry, leastCosine, ratios, runArena } from './arena.js'
import { onnxFile } from './onnx-clip.js'
import { ortSettings } from './ort.js'
import { measured, type Row } from './row.js'

const agreement = { float32: 0.99999, bfloat16: 0.999, int8: 0.97 }

export async function modelRows(
  threads: number,
  effort: Effort,
  log: (text: string) => void,
  names: readonly string[] = ['ViT-B/16', 'ViT-L/14', 'RN50'],
): Promise<Row[]> {
  const rows: Row[] = []
  for (const name of names) {
    const folder = await (name === 'RN50' ? randomResNet() : randomModel(model(name)))
    const size = name === 'RN50' ? rn50.size : model(name).image.size
    const one = { kind: 'image' as const, batch: 1, size }
    const entries: Entry[] = []
    for (const dtype of ['float32', 'int8'] as const)
      entries.push({
        name: `ORT ${dtype}`,
        opening: {
          side: 'ort',
          source: await onnxFile(folder, 'vision', dtype),
          tower: 'image',
          dtype,
          threads,
        },
        case: one,
      })
    for (const dtype of ['float32', 'bfloat16', 'int8'] as const)
      entries.push({
        name: `ours ${dtype}`,
        opening: { side: 'ours', source: folder, tower: 'image', dtype, threads },
        case: one,
      })
    log(`${name}, ${threads} thread(s)`)
    const result = await runArena(entries, effort, log)
    for (const [dtype, rival] of [
      ['float32', 'ORT float32'],
      ['bfloat16', 'ORT float32'],
      ['int8', 'ORT int8'],
      ['int8', 'ORT float32'],
    ] as const) {
      const ours = `ours ${dtype}`
      const row: Row = {
        group: 'models',
        what: `${name} image ${dtype}, times ${rival}`,
        dtype,
        threads,
        unit: 'higher',
        bar: { required: Number.NaN, goal: Number.NaN },
        rivalSettings: ortSettings(threads),
      }
      const cosine = leastCosine(result.values.get(ours) ?? [], result.values.get(rival) ?? [], 1)
      if (result.missing.has(ours)) rows.push({ ...row, missing: 'not in this build' })
      else if (!(cosine >= agreement[dtype]))
        rows.push({ ...row, cosine, missing: `the answers differ: cosine ${cosine.toFixed(6)}` })
      else
        rows.push({
          ...measured(
            row,
            ratios(result.times, ours, rival),
            result.times.get(ours)!,
            result.times.get(rival)!,
          ),
          cosine,
          cpuRatio: median(ratios(result.cpu, ours, rival)),
        })
    }
  }
  return rows
}
