/**
 * `npm run bench -- profile [--threads N] [--models RN50]`: the cost of each operation for one image and for
 * one text of ten tokens, by default with ViT-B/32, next to what the machine allows: the operations at the
 * arithmetic peak, or the bytes of weights at the streaming rate, both measured in the same run. The figure
 * is the median call of each operation, so that a call disturbed by another process has no effect.
 */

import { load } from '../lib/index.js'
import type { OpTimes } from '../lib/native/surface.js'
import { testEntries } from '../lib/native/test-entries.js'
import { model } from './cases.js'
import { dtypesHere, type KernelOptions, peakOf } from './kernels.js'
import { randomModel } from './random-model.js'
import { randomResNet, rn50 } from './random-resnet.js'
import { columns, median } from './stats.js'

const caption = 'a small brown dog runs on green grass' // ten tokens

/** Multiplications and additions of one call. */
function operations({ op, rows, in: inner, out }: OpTimes): number {
  if (op === 'linear' || op === 'conv' || op === 'depthwiseConv') return 2 * rows * inner * out
  return op === 'attention' ? 4 * rows * inner * out : 0
}

const shape = ({ rows, in: inner, out }: OpTimes) => [rows, inner, out].filter(n => n > 0).join(' x ')

/** A table per dtype and tower. RN50's text tower is only a placeholder, so it has none. */
export async function profileTables(o: KernelOptions, name: string): Promise<string> {
  const { measure } = testEntries()
  const resNet = name === 'RN50'
  const folder = await (resNet ? randomResNet() : randomModel(model(name)))
  const size = resNet ? rn50.size : model(name).image.size
  const data = Float32Array.from({ length: 3 * size * size }, (_, i) => Math.sin(i * 12.9898) * 1.5)
  const stream = await measure.stream({ threads: o.threads })
  let text = ''
  for (const dtype of dtypesHere()) {
    const peak = await peakOf(dtype, o.threads)
    measure.profile({ on: true })
    const clip = await load(folder, { dtype, threads: o.threads })
    measure.profile({ on: false })
    for (const [what, run] of [
      ['image', () => clip.encodeImage({ data, shape: [1, 3, size, size] })],
      ['text of 10', () => clip.encodeText(caption)],
    ] as const) {
      if (resNet && what !== 'image') continue
      if (!o.wanted(`profile ${name} ${dtype} ${what}`)) continue
      for (let i = 0; i < 5; i++) await run()
      measure.profile({ on: false })
      const wall: number[] = []
      for (const from = performance.now(); performance.now() - from < o.seconds * 1000; ) {
        const before = performance.now()
        await run()
        wall.push(performance.now() - before)
      }
      text += `\n${table(`${name} ${dtype} ${what}, ${o.threads} thread(s)`, measure.profile({ on: false }), wall, peak, stream)}`
    }
    await clip.dispose()
  }
  return text
}

function table(title: string, times: OpTimes[], wall: number[], peak: number, stream: number): string {
  const whole = median(wall)
  let sum = 0
  let floor = 0
  const rows: [number, string[]][] = times.map(t => {
    const calls = t.seconds.length / wall.length
    const ms = median([...t.seconds]) * calls * 1000
    const count = operations(t) * calls
    const weights = t.in * t.out * t.weightBytes * calls
    // Attention of int8 models is computed in float32; it is compared with the model's own peak all the same.
    const limit = Math.max((count / peak) * 1000, (weights / stream) * 1000)
    sum += ms
    floor += limit
    return [
      ms,
      [
        `${t.op} ${shape(t)}`,
        calls.toFixed(0),
        ms.toFixed(3),
        `${((100 * ms) / whole).toFixed(1)} %`,
        count ? (count / ms / 1e6).toFixed(0) : '',
        count ? `${((100 * count) / (ms / 1000) / peak).toFixed(0)} %` : '',
        weights ? (weights / ms / 1e6).toFixed(1) : '',
        limit ? limit.toFixed(3) : '',
      ],
    ]
  })
  rows.sort((a, b) => b[0] - a[0])
  const head = `${title}: ${whole.toFixed(2)} ms, of which ${sum.toFixed(2)} in operations; limit ${floor.toFixed(2)} ms = ${((100 * floor) / whole).toFixed(0)} % (peak ${(peak / 1e9).toFixed(0)} G/s, memory ${(stream / 1e9).toFixed(1)} GB/s)`
  return `${head}\n${columns([['', 'calls', 'ms', 'share', 'G/s', 'of peak', 'weights GB/s', 'limit ms'], ...rows.map(r => r[1])])}\n`
}
