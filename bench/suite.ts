/** Micro-benchmarks, run by the package `benchmark`: asynchronous functions (defer), one after the other. */

import Benchmark from 'benchmark'
import { median, spread } from './stats.js'

export interface Result {
  bench: string
  name: string
  /** ns per run: median, and the middle half. */
  ns: number
  middleHalf: [number, number]
  runs: number
  /** ns of the fastest sample, which a busy machine affects least. */
  fastest: number
  /** Floating-point (or integer) operations per second, in 10^9. */
  gflops?: number
  /** Fraction of the peak measured in this run, 0 to 1. */
  ofPeak?: number
  /** Bytes per second, in 10^9. */
  gbs?: number
  backend?: string
  threads?: number
  dtype?: string
  note?: string
}

export interface Task {
  name: string
  run: () => Promise<unknown>
  /** Multiplications and additions of one run. */
  operations?: number
  /** The minimal number of bytes that one run reads or writes. */
  bytes?: number
  /** Operations per second of the machine with all threads. */
  peak?: number
  /** Throws if the result is wrong; called before anything is timed. */
  check?: () => Promise<void>
  dtype?: string
  threads?: number
  backend?: string
  note?: string
}

/**
 * Times one asynchronous function for about `seconds`. `benchmark` runs it in samples, each the mean of
 * several calls.
 */
function timed(run: () => Promise<unknown>, seconds: number): Promise<{ ns: number[]; runs: number }> {
  return new Promise((resolve, reject) => {
    const bench = new Benchmark({
      defer: true,
      async: true,
      maxTime: seconds,
      minSamples: 5,
      fn: (deferred: { resolve(): void }) => {
        run().then(() => deferred.resolve(), reject)
      },
    })
    bench.on('complete', () => {
      resolve({ ns: bench.stats.sample.map(s => s * 1e9), runs: bench.stats.sample.length * bench.count })
    })
    bench.on('error', () => reject(bench.error))
    bench.run()
  })
}

export async function measure(bench: string, task: Task, seconds: number): Promise<Result> {
  await task.check?.()
  await task.run()
  const { ns, runs } = await timed(task.run, seconds)
  return figures(bench, task, ns, runs)
}

export function figures(bench: string, task: Omit<Task, 'run'>, ns: number[], runs: number): Result {
  const time = median(ns)
  const { operations, bytes, peak, name, dtype, threads, backend, note } = task
  const rate = operations === undefined ? undefined : operations / (time / 1e9)
  return {
    bench,
    name,
    ns: time,
    middleHalf: spread(ns),
    fastest: ns.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    runs,
    ...(rate === undefined ? {} : { gflops: rate / 1e9 }),
    ...(rate === undefined || !peak ? {} : { ofPeak: rate / peak }),
    ...(bytes === undefined ? {} : { gbs: bytes / time }),
    dtype,
    threads,
    backend,
    note,
  }
}

/** Throws unless two arrays agree within `bound` in every value; NaN never agrees. */
export function agree(what: string, a: ArrayLike<number>, b: ArrayLike<number>, bound: number): void {
  let worst = a.length === b.length ? 0 : Number.NaN
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!)
    if (!(d <= worst)) worst = d
  }
  if (!(worst <= bound)) throw new Error(`${what}: differs from reference by ${worst}, allowed ${bound}`)
}
