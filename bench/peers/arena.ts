/**
 * Contestants in fresh processes, which run in alternating bursts: A B C, then C B A. Each sweep gives one
 * ratio per pair, so that other activity on the machine affects both sides alike.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { median } from '../stats.js'
import type { Answer, Case, Opening, Request } from './contestant.js'

/** Whether an error code means that this build does not support the case (yet). */
export const notInThisBuild = (code: string | undefined) =>
  code === 'ERR_CLIP_DTYPE' || code === 'ERR_CLIP_BACKEND'

export class Contestant {
  private readonly child: ChildProcess
  private readonly waiting = new Map<number, { resolve(a: Answer): void; reject(e: Error): void }>()
  private next = 0

  constructor(readonly opening: Opening) {
    const env = { ...process.env }
    delete env.OPENBLAS_CORETYPE
    this.child = fork(fileURLToPath(new URL('contestant.js', import.meta.url)), {
      env,
      serialization: 'json',
    })
    this.child.on('message', (a: Answer) => {
      const waiting = this.waiting.get(a.id)
      this.waiting.delete(a.id)
      if (a.error) waiting?.reject(Object.assign(new Error(a.error.message), { code: a.error.code }))
      else waiting?.resolve(a)
    })
    this.child.on('exit', (code, signal) => {
      for (const { reject } of this.waiting.values())
        reject(new Error(`${opening.side} ${opening.dtype} ended with ${signal ?? code}`))
      this.waiting.clear()
    })
  }

  private ask(
    r: Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never,
  ): Promise<Answer> {
    const id = this.next++
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject })
      this.child.send({ ...r, id })
    })
  }

  /** ms. */
  async open(): Promise<number> {
    return (await this.ask({ do: 'open', opening: this.opening })).times![0]!
  }

  once(c: Case): Promise<Answer> {
    return this.ask({ do: 'once', case: c })
  }

  /** Runs at least once and at least that long: median ms per run, and processor ms per run. */
  async burst(c: Case, milliseconds: number): Promise<{ ms: number; cpu: number }> {
    const { times, cpu } = await this.ask({ do: 'burst', case: c, milliseconds })
    return { ms: median(times!), cpu: cpu! }
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const ended = new Promise(resolve => this.child.once('exit', resolve))
    this.ask({ do: 'close' }).catch(() => {})
    await ended
  }
}

/** Something to be timed: a contestant and one of its cases. */
export interface Entry {
  name: string
  opening: Opening
  case: Case
}

export interface ArenaResult {
  /** ms per sweep (median of its burst), by entry; entries that this build does not support are missing. */
  times: Map<string, number[]>
  /** Processor ms per sweep of all threads. */
  cpu: Map<string, number[]>
  /** Why an entry is missing. */
  missing: Map<string, string>
  /** Values of the first run, by entry. */
  values: Map<string, number[]>
}

export interface Effort {
  rounds: number
  sweeps: number
  /** Milliseconds per burst. */
  milliseconds: number
}

const keyOf = (o: Opening) => JSON.stringify(o)

export async function runArena(
  entries: readonly Entry[],
  effort: Effort,
  log: (text: string) => void,
): Promise<ArenaResult> {
  const result: ArenaResult = { times: new Map(), cpu: new Map(), missing: new Map(), values: new Map() }
  for (let round = 0; round < effort.rounds; round++) {
    const processes = new Map<string, Contestant>()
    try {
      const openings = [...new Map(entries.map(e => [keyOf(e.opening), e.opening])).entries()]
      for (const [key, opening] of round % 2 ? openings.reverse() : openings) {
        const contestant = new Contestant(opening)
        try {
          await contestant.open()
          processes.set(key, contestant)
        } catch (error) {
          await contestant.close()
          const { code, message } = error as Error & { code?: string }
          if (!notInThisBuild(code)) throw error
          for (const e of entries) if (keyOf(e.opening) === key) result.missing.set(e.name, message)
        }
      }
      const present = entries.filter(e => processes.has(keyOf(e.opening)))
      for (const e of present) {
        const { values } = await processes.get(keyOf(e.opening))!.once(e.case)
        if (!result.values.has(e.name)) result.values.set(e.name, values!)
      }
      for (let sweep = 0; sweep < effort.sweeps; sweep++)
        for (const e of (round + sweep) % 2 ? [...present].reverse() : present) {
          const { ms, cpu } = await processes.get(keyOf(e.opening))!.burst(e.case, effort.milliseconds)
          append(result.times, e.name, ms)
          append(result.cpu, e.name, cpu)
        }
    } finally {
      for (const contestant of processes.values()) await contestant.close()
    }
    log(`  round ${round + 1} of ${effort.rounds}`)
  }
  return result
}

function append(lists: Map<string, number[]>, key: string, value: number): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}

/** The ratio b / a of each sweep. */
export function ratios(of: Map<string, number[]>, a: string, b: string): number[] {
  const x = of.get(a)
  const y = of.get(b)
  if (!x || !y) return []
  return x.map((t, i) => y[i]! / t)
}

/** The smallest cosine between corresponding rows of two matrices. NaN if their sizes differ or they contain NaN. */
export function leastCosine(a: readonly number[], b: readonly number[], rows: number): number {
  if (a.length !== b.length || a.length === 0) return Number.NaN
  const width = a.length / rows
  let least = 1
  for (let row = 0; row < rows; row++) {
    let ab = 0
    let aa = 0
    let bb = 0
    for (let i = row * width; i < (row + 1) * width; i++) {
      ab += a[i]! * b[i]!
      aa += a[i]! ** 2
      bb += b[i]! ** 2
    }
    const c = ab / Math.sqrt(aa * bb)
    if (!(c >= least)) least = c
    if (Number.isNaN(least)) return least
  }
  return least
}
