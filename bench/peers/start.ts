/**
 * From starting `node` to the first embedding, and the memory it then has: each in a fresh process, sides by turns, with the
 * files in the page cache and without.
 */

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolders } from '../../lib/base/cache-folders.js'
import { model } from '../cases.js'
import { randomModel } from '../random-model.js'
import { median } from '../stats.js'
import type { Effort } from './arena.js'
import { onnxFile } from './onnx-clip.js'
import { ortSettings } from './ort.js'
import { failed, gap, runProbe } from './others.js'
import type { StartProbe } from './probe.js'
import { type Bar, measured, type Row } from './row.js'

const lower = (required: number, goal: number): Bar => ({ required, goal })
const unasked: Bar = { required: Number.NaN, goal: Number.NaN }

interface Side {
  name: string
  probe: StartProbe
  start: Bar
  memory: Bar
  /** ms, ms of processor time, and bytes, of each round. */
  first: number[]
  cpu: number[]
  rss: number[]
  missing?: string
}

/** Files of these folders, or files themselves. */
const filesOf = (path: string): string[] => {
  if (!existsSync(path)) return []
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .map(name => join(path, name))
    .filter(file => statSync(file).isFile())
}

/** Throws what the files hold out of the page cache. Linux: GNU dd asks for that, which needs no privilege. */
function dropPageCache(paths: readonly string[]): void {
  for (const file of paths.flatMap(filesOf))
    execFileSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' })
}

async function sides(threads: number): Promise<Side[]> {
  const folder = await randomModel(model('ViT-B/32'))
  const rival: StartProbe = {
    probe: 'start',
    side: 'ort',
    source: await onnxFile(folder, 'vision', 'float32'),
    dtype: 'float32',
    threads,
    size: 224,
  }
  const ours = (dtype: StartProbe['dtype'], packCache = false): StartProbe => ({
    ...rival,
    side: 'ours',
    source: folder,
    dtype,
    packCache,
  })
  const all: [name: string, probe: StartProbe, start: Bar, memory?: Bar][] = [
    ['ORT', rival, unasked],
    [
      'fp32 with weights of all 32 bits',
      { ...ours('float32'), source: await randomModel(model('ViT-B/32'), 'float32') },
      lower(0.33, 0.25),
      lower(0.75, 0.7),
    ],
    ['fp32', ours('float32'), lower(0.33, 0.25), lower(0.75, 0.7)],
    ['bf16', ours('bfloat16'), lower(0.25, 0.17), lower(0.45, 0.4)],
    ['int8', ours('int8'), unasked, lower(0.3, 0.25)],
    ['fp32 with packed cache', ours('float32', true), lower(0.15, 0.1)],
    ['bf16 with packed cache', ours('bfloat16', true), lower(0.15, 0.1)],
  ]
  return all.map(([name, probe, start, memory = unasked]) => ({
    name,
    probe,
    start,
    memory,
    first: [],
    cpu: [],
    rss: [],
  }))
}

/** `cold`: whatever the model is read from is not in the page cache; Node, the addon and the library are. */
export async function startRows(
  threads: number,
  effort: Effort,
  log: (text: string) => void,
  cold = false,
): Promise<Row[]> {
  const all = await sides(threads)
  const what = cold ? 'start, page cache cold' : 'cold start'
  log(`${what}, ${threads} thread(s)`)
  const packed = join(cacheFolders({ cacheDir: undefined, env: process.env }).own, 'packed')
  // One round to warm the page cache (and to write the pack cache), then the measured ones.
  for (let round = -1; round < effort.rounds * 2; round++)
    for (const side of round % 2 ? [...all].reverse() : all) {
      if (side.missing !== undefined) continue
      if (cold && round >= 0) dropPageCache([side.probe.source, packed])
      const run = await runProbe<{ ok: boolean; rss: number; cpu: number }>(side.probe)
      if (failed(run.result)) side.missing = gap(run.result)
      else if (!run.result.ok) throw new Error(`${side.name}: the first embedding is not finite`)
      else if (round >= 0) {
        side.first.push(run.first)
        side.cpu.push(run.result.cpu)
        side.rss.push(run.result.rss)
      }
    }
  const [rival, ...ours] = all as [Side, ...Side[]]
  const rows: Row[] = []
  for (const side of ours) {
    const make = (group: string, title: string, bar: Bar, of: 'first' | 'rss'): Row => {
      const row: Row = {
        group,
        what: title,
        dtype: side.probe.dtype,
        threads,
        unit: 'lower',
        bar,
        rivalSettings: `${ortSettings(threads)}; image tower alone on both sides, page cache ${cold ? 'cold' : 'warm'}`,
      }
      if (side.missing !== undefined) return { ...row, missing: side.missing }
      const ratios = side[of].map((m, i) => m / rival[of][i]!)
      return measured(row, ratios, side[of], rival[of])
    }
    rows.push({
      ...make('start', `${what} to first embedding, ${side.name}, of ORT fp32`, side.start, 'first'),
      cpuRatio: median(side.cpu.map((m, i) => m / rival.cpu[i]!)),
      note: `processor time: ${median(side.cpu).toFixed(0)} ms of ${median(rival.cpu).toFixed(0)} ms`,
    })
    // A target exists at 2 threads only.
    if (!Number.isNaN(side.memory.required) && threads === 2 && !cold)
      rows.push(make('memory', `RSS after one image, ${side.name}, of ORT fp32`, side.memory, 'rss'))
  }
  return rows
}
