/**
 * `node dist/bench/peers/check-export.js FOLDER [--threads N]`: times our ONNX files against those of
 * torch-export.py in FOLDER, in the same onnxruntime, alternately. The time of an ONNX graph does not depend
 * on the values of its weights.
 */

import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { model } from '../cases.js'
import { loadNow } from '../machine.js'
import { randomModel } from '../random-model.js'
import { columns, duration, median, spread } from '../stats.js'
import { type Entry, ratios, runArena } from './arena.js'
import type { Case } from './contestant.js'
import { onnxFile } from './onnx-clip.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '2' },
    sweeps: { type: 'string', default: '9' },
  },
})
const [exported] = positionals
if (!exported) throw new Error('Give the folder that torch-export.py wrote to')
const folder = await randomModel(model('ViT-B/32'))
const threads = Number(values.threads)

const ids = (length: number): Case => ({
  kind: 'text',
  texts: [],
  ids: [
    Array.from({ length }, (_, i) => (i === 0 ? 49406 : i === Math.min(9, length - 1) ? 49407 : 300 + i)),
  ],
  length,
})
const image: Case = { kind: 'image', batch: 1, size: 224 }
const cases: [name: string, tower: 'vision' | 'text', run: Case][] = [
  ['image', 'vision', image],
  ['text of 77', 'text', ids(77)],
  ['text of 10', 'text', ids(10)],
]
const entries: Entry[] = []
for (const dtype of ['float32', 'int8'] as const)
  for (const [name, tower, run] of cases)
    for (const [who, source] of [
      ['torch', join(exported, `${tower}${dtype === 'int8' ? '-int8' : ''}.onnx`)],
      ['ours', await onnxFile(folder, tower, dtype)],
    ] as const)
      entries.push({
        name: `${who} ${name} ${dtype}`,
        opening: { side: 'ort', source, tower: tower === 'vision' ? 'image' : 'text', dtype, threads },
        case: run,
      })
const before = loadNow()
const effort = { rounds: Number(values.rounds), sweeps: Number(values.sweeps), milliseconds: 300 }
const result = await runArena(entries, effort, text => process.stderr.write(`${text}\n`))
const rows: string[][] = [['file', 'torch.onnx.export', 'ours', 'ours / torch', 'middle half', 'in cpu time']]
for (const dtype of ['float32', 'int8'] as const)
  for (const [name] of cases) {
    const [a, b] = [`torch ${name} ${dtype}`, `ours ${name} ${dtype}`]
    const ratio = ratios(result.times, a, b)
    rows.push([
      `${name} ${dtype}`,
      duration(median(result.times.get(a)!)),
      duration(median(result.times.get(b)!)),
      median(ratio).toFixed(3),
      spread(ratio)
        .map(x => x.toFixed(3))
        .join(' to '),
      median(ratios(result.cpu, a, b)).toFixed(3),
    ])
  }
process.stdout.write(
  `${columns(rows)}\nthreads ${threads}, load average ${before} before, ${loadNow()} after\n`,
)
