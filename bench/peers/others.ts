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
import type { Probe } from './probe.js'
import { measured, type Row } from './row.js'
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
