/**
 * Compares cosineTopK with the rate at which this machine reads memory, and with a plain loop in JavaScript.
 */

import { Worker } from 'node:worker_threads'
import { cosineTopK } from '../../lib/kernels.js'
import { topK } from '../cases.js'

const { classCount, dim, k } = topK

/** Rows of length 1. */
function unitRows(rows: number, seed: number): Float32Array {
  const x = new Float32Array(rows * dim)
  let state = seed
  for (let r = 0; r < rows; r++) {
    let norm = 0
    for (let i = r * dim; i < (r + 1) * dim; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0
      x[i] = state / 2 ** 31
      norm += x[i]! ** 2
    }
    norm = Math.sqrt(norm)
    for (let i = r * dim; i < (r + 1) * dim; i++) x[i]! /= norm
  }
  return x
}

/** What a careful developer would write: four sums, and the best k kept in order. */
function plain(query: Float32Array, classes: Float32Array): { index: number[]; value: number[] } {
  const index: number[] = []
  const value: number[] = []
  for (let c = 0; c < classCount; c++) {
    let s0 = 0
    let s1 = 0
    let s2 = 0
    let s3 = 0
    const at = c * dim
    for (let i = 0; i < dim; i += 4) {
      s0 += query[i]! * classes[at + i]!
      s1 += query[i + 1]! * classes[at + i + 1]!
      s2 += query[i + 2]! * classes[at + i + 2]!
      s3 += query[i + 3]! * classes[at + i + 3]!
    }
    const score = s0 + s1 + (s2 + s3)
    if (value.length === k && score <= value[k - 1]!) continue
    let place = value.length
    while (place > 0 && value[place - 1]! < score) place--
    value.splice(place, 0, score)
    index.splice(place, 0, c)
    if (value.length > k) {
      value.pop()
      index.pop()
    }
  }
  return { index, value }
}

/**
 * Reads `bytes` of memory with the given number of threads: memchr of the C library (Buffer.indexOf of a byte
 * that does not occur), which does nothing but load and compare. It is not our own loop, which could be tuned
 * to give a favourable result.
 */
class Reader {
  private readonly shared: SharedArrayBuffer
  private readonly flags = new Int32Array(new SharedArrayBuffer(8))
  private readonly workers: Worker[] = []
  private readonly part: number

  constructor(
    bytes: number,
    private readonly threads: number,
  ) {
    this.shared = new SharedArrayBuffer(bytes)
    new Uint8Array(this.shared).fill(1)
    this.part = bytes / threads
    for (let i = 1; i < threads; i++)
      this.workers.push(
        new Worker(
          `const { workerData: w } = require('node:worker_threads')
           const part = Buffer.from(w.shared, w.at, w.part)
           for (let turn = 0; ; turn++) {
             Atomics.wait(w.flags, 0, turn)
             if (Atomics.load(w.flags, 0) < 0) break
             if (part.indexOf(2) !== -1) throw new Error('found')
             Atomics.add(w.flags, 1, 1)
           }`,
          {
            eval: true,
            workerData: { shared: this.shared, flags: this.flags, at: i * this.part, part: this.part },
          },
        ),
      )
  }

  async ready(): Promise<void> {
    await Promise.all(this.workers.map(w => new Promise(resolve => w.once('online', resolve))))
    await new Promise(resolve => setTimeout(resolve, 50))
  }

  /** ms. */
  read(): number {
    const mine = Buffer.from(this.shared, 0, this.part)
    Atomics.store(this.flags, 1, 0)
    const from = performance.now()
    Atomics.add(this.flags, 0, 1)
    Atomics.notify(this.flags, 0)
    if (mine.indexOf(2) !== -1) throw new Error('found')
    while (Atomics.load(this.flags, 1) < this.threads - 1);
    return performance.now() - from
  }

  async close(): Promise<void> {
    for (const w of this.workers) await w.terminate()
  }
}

export interface TopKTimes {
  ours: number[]
  stream: number[]
  plain: number[]
  bytes: number
}

/** Sweeps of all three in turn, in ms. Throws if the kernel and the loop return different classes. */
export async function measureTopK(threads: number, sweeps: number): Promise<TopKTimes> {
  const classes = unitRows(classCount, 7)
  const queries = unitRows(1, 8)
  const ours = () => cosineTopK({ queries, classes, rows: 1, classCount, dim, k, threads })
  const reader = new Reader(classes.byteLength, threads)
  await reader.ready()
  const found = [...(await ours()).index]
  const expected = plain(queries, classes).index
  if (found.join() !== expected.join())
    throw new Error(`cosineTopK found ${found}, the plain loop ${expected}`)
  for (let i = 0; i < 3; i++) {
    plain(queries, classes)
    reader.read()
  }
  const times: TopKTimes = { ours: [], stream: [], plain: [], bytes: classes.byteLength }
  const sides = {
    stream: async () => reader.read(),
    ours: async () => {
      const from = performance.now()
      await ours()
      return performance.now() - from
    },
    plain: async () => {
      const from = performance.now()
      plain(queries, classes)
      return performance.now() - from
    },
  }
  const order = ['stream', 'ours', 'plain'] as const
  for (let sweep = 0; sweep < sweeps; sweep++)
    for (const side of sweep % 2 ? [...order].reverse() : order) times[side].push(await sides[side]())
  await reader.close()
  return times
}
