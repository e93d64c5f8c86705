/** Rows that are not bursts of an encoder: each probe runs in a fresh process, with the sides alternating. */

import { spawn } from 'node:child_process'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { model } from '../cases.js'
import { photograph } from '../images.js'
import { randomModel } from '../random-model.js'
import { median, spread } from '../stats.js'
import { type Effort, notInThisBuild } from './arena.js'
import { onnxFile } from './onnx-clip.js'
import { ortSettings } from './ort.js'
import type { Probe, StartProbe } from './probe.js'
import { type Bar, measured, type Row } from './row.js'
import type { TopKTimes } from './top-k.js'

interface Failure {
  error: { code?: string; message: string }
}

/** The result of a probe, and the ms from spawning it to its line "first". */
export function runProbe<T>(probe: Probe): Promise<{ result: T | Failure; first: number }> {
  const env = { ...process.env }
  delete env.OPENBLAS_CORETYPE
  return new Promise((resolve, reject) => {
    const from = performance.now()
    let first = Number.NaN
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('probe.js', import.meta.url)), JSON.stringify(probe)],
      { env, stdio: ['ignore', 'pipe', 'inherit'] },
    )
    let text = ''
    child.stdout.on('data', data => {
      text += data
      if (Number.isNaN(first) && text.startsWith('first')) first = performance.now() - from
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      try {
        resolve({ result: JSON.parse(text.trim().split('\n').at(-1)!) as T | Failure, first })
      } catch {
        reject(new Error(`probe ${probe.probe} ended with ${signal ?? code}: ${text.slice(0, 200)}`))
      }
    })
  })
}

export const failed = (x: unknown): x is Failure => typeof x === 'object' && x !== null && 'error' in x

/** The meaning of a failure of our side for a row: known gaps are named, everything else is an error. */
export function gap(f: Failure): string {
  if (notInThisBuild(f.error.code) || /packCache/.test(f.error.message)) return 'not in this build'
  throw new Error(f.error.message)
}

const lower = (required: number, goal: number): Bar => ({ required, goal })

/** Cold start and memory, with only the image tower on both sides. */
export async function startRows(
  threads: number,
  effort: Effort,
  log: (text: string) => void,
): Promise<Row[]> {
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
  const probes: { name: string; probe: StartProbe; start?: Bar; memory?: Bar }[] = [
    { name: 'ORT', probe: rival },
    {
      name: 'fp32 with weights of all 32 bits',
      probe: { ...ours('float32'), source: await randomModel(model('ViT-B/32'), 'float32') },
      start: lower(1 / 3, 1 / 4),
      memory: lower(0.75, 0.7),
    },
    { name: 'fp32', probe: ours('float32'), start: lower(1 / 3, 1 / 4), memory: lower(0.75, 0.7) },
    { name: 'bf16', probe: ours('bfloat16'), start: lower(1 / 4, 1 / 6), memory: lower(0.45, 0.4) },
    { name: 'int8', probe: ours('int8'), memory: lower(0.3, 0.25) },
    { name: 'fp32 with packed cache', probe: ours('float32', true), start: lower(1 / 5, 1 / 8) },
  ]
  log(`cold start and memory, ${threads} thread(s)`)
  const first = new Map<string, number[]>(probes.map(p => [p.name, []]))
  const rss = new Map<string, number[]>(probes.map(p => [p.name, []]))
  const missing = new Map<string, string>()
  // One round to warm the page cache (and to write the pack cache), then the measured ones.
  for (let round = -1; round < effort.rounds * 2; round++)
    for (const { name, probe } of round % 2 ? [...probes].reverse() : probes) {
      if (missing.has(name)) continue
      const run = await runProbe<{ ok: boolean; rss: number }>(probe)
      if (failed(run.result)) missing.set(name, gap(run.result))
      else if (!run.result.ok) throw new Error(`${name}: the first embedding is not finite`)
      else if (round >= 0) {
        first.get(name)!.push(run.first)
        rss.get(name)!.push(run.result.rss)
      }
    }
  const rows: Row[] = []
  for (const { name, probe, start, memory } of probes) {
    const make = (group: string, what: string, bar: Bar, mine: number[], theirs: number[]): Row => {
      const row: Row = {
        group,
        what,
        dtype: probe.dtype,
        threads,
        unit: 'lower',
        bar,
        rivalSettings: `${ortSettings(threads)}; image tower alone on both sides, page cache warm`,
      }
      const why = missing.get(name)
      return why
        ? { ...row, missing: why }
        : measured(
            row,
            mine.map((m, i) => m / theirs[i]!),
            mine,
            theirs,
          )
    }
    if (start)
      rows.push(
        make(
          'start',
          `cold start to first embedding, ${name}, of ORT fp32`,
          start,
          first.get(name)!,
          first.get('ORT')!,
        ),
      )
    // A target exists at 2 threads only.
    if (memory && threads === 2)
      rows.push(
        make('memory', `RSS after one image, ${name}, of ORT fp32`, memory, rss.get(name)!, rss.get('ORT')!),
      )
  }
  return rows
}

export async function blockingRows(effort: Effort, log: (text: string) => void): Promise<Row[]> {
  const folder = await randomModel(model('ViT-B/32'))
  log('JavaScript thread during one encode')
  const source = { ours: folder, ort: await onnxFile(folder, 'vision', 'float32') }
  type Times = Record<'busy' | 'longest' | 'nothing', number[]>
  const empty = (): Times => ({ busy: [], longest: [], nothing: [] })
  const rows: Row[] = []
  // The loop that measures `longest` never waits, so it needs a processor in addition to that of the encoding
  // thread.
  for (const threads of [1, 2]) {
    const probe = {
      probe: 'blocking' as const,
      dtype: 'float32' as const,
      threads,
      size: 224,
      file: await photograph(1280, 853),
      runs: 10 * effort.sweeps,
    }
    const all = { ours: empty(), ort: empty() }
    for (let round = 0; round < effort.rounds; round++)
      for (const side of round % 2 ? (['ort', 'ours'] as const) : (['ours', 'ort'] as const)) {
        const { result } = await runProbe<Times>({ ...probe, side, source: source[side] })
        if (failed(result)) throw new Error(result.error.message)
        for (const key of ['busy', 'longest', 'nothing'] as const) all[side][key].push(...result[key])
      }
    const what = threads === 1 ? 'longest' : 'busy'
    rows.push({
      group: 'blocking',
      what:
        what === 'longest'
          ? 'JS thread blocked by one encode (file to embedding, fp32): longest turn of its loop'
          : 'the same: all that its loop did, added up',
      dtype: 'float32',
      threads,
      unit: 'ms',
      bar: what === 'longest' ? { required: 1, goal: 0.2 } : { required: Number.NaN, goal: Number.NaN },
      measured: median(all.ours[what]),
      spread: spread(all.ours[what]),
      ours: median(all.ours[what]),
      rival: median(all.ort[what]),
      samples: all.ours[what].length,
      rivalSettings: `${ortSettings(threads)}; run() of ready pixels`,
      ...(what === 'longest'
        ? { note: `an equally long wait for a timer: ${median(all.ours.nothing).toFixed(2)} ms` }
        : {}),
    })
  }
  return rows
}

export async function topKRows(threads: number, effort: Effort, log: (text: string) => void): Promise<Row[]> {
  log(`cosineTopK, ${threads} thread(s)`)
  const all: TopKTimes = { ours: [], stream: [], plain: [], bytes: 0 }
  for (let round = 0; round < effort.rounds; round++) {
    const { result } = await runProbe<TopKTimes>({ probe: 'topk', threads, sweeps: effort.sweeps * 3 })
    if (failed(result)) throw new Error(result.error.message)
    for (const key of ['ours', 'stream', 'plain'] as const) all[key].push(...result[key])
    all.bytes = result.bytes
  }
  const row = { group: 'topk', dtype: 'float32', threads }
  return [
    measured(
      {
        ...row,
        what: 'cosineTopK 1 x 100 000 x 512, of the streaming rate',
        unit: 'percent',
        bar: { required: 0.9, goal: 0.97, limit: 1 },
        rivalSettings: `memchr over as many bytes, ${threads} thread(s): ${(all.bytes / median(all.stream) / 1e6).toFixed(1)} GB/s`,
      },
      all.ours.map((t, i) => all.stream[i]! / t),
      all.ours,
      all.stream,
    ),
    measured(
      {
        ...row,
        what: 'cosineTopK 1 x 100 000 x 512, times plain typed-array JS',
        unit: 'higher',
        bar: { required: 3, goal: 5 },
        rivalSettings: 'a loop with four sums over a Float32Array of normalized rows, 1 thread',
      },
      all.ours.map((t, i) => all.plain[i]! / t),
      all.ours,
      all.plain,
    ),
  ]
}

export async function jpegRows(effort: Effort, log: (text: string) => void): Promise<Row[]> {
  log('JPEG to tensor, 1 thread')
  const folder = await randomModel(model('ViT-B/32'))
  const files = [await photograph(1280, 853), await photograph(4000, 3000)]
  const all = new Map<string, { ours: number[]; sharp: number[] }>(
    files.map(p => [p, { ours: [], sharp: [] }]),
  )
  for (let round = 0; round < effort.rounds; round++) {
    const { result } = await runProbe<{ file: string; ours: number[]; sharp: number[] }[]>({
      probe: 'jpeg',
      source: folder,
      files,
      sweeps: effort.sweeps * 2,
    })
    if (failed(result)) throw new Error(result.error.message)
    for (const { file, ours, sharp } of result) {
      all.get(file)!.ours.push(...ours)
      all.get(file)!.sharp.push(...sharp)
    }
  }
  return files.map(file => {
    const { ours, sharp } = all.get(file)!
    return measured(
      {
        group: 'jpeg',
        what: `JPEG ${basename(file).split('-')[1]} to tensor, exact, of sharp's decoding`,
        dtype: 'float32',
        threads: 1,
        unit: 'lower',
        bar: { required: 1.15, goal: 1.08, limit: 1 },
        rivalSettings: 'sharp(file).raw().toBuffer(), sharp.concurrency(1), no cache',
      },
      ours.map((t, i) => t / sharp[i]!),
      ours,
      sharp,
    )
  })
}
