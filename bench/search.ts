/**
 * `npm run bench -- search [--rows N]`: exact search in a file of vectors, compared with the rate at which memory is
 * read. The file (a million rows of 512 float32 values: 2 GB) is made of random bytes in the benchmark's cache folder
 * and removed afterwards.
 */

import { randomFillSync } from 'node:crypto'
import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cosineTopK, openMatrix } from '../lib/kernels.js'
import { testEntries } from '../lib/native/test-entries.js'
import { cacheFolder } from './random-model.js'
import { columns, duration, median } from './stats.js'

const dim = 512
const k = 10

/**
 * Random signs, exponents of numbers from 2^-7 to 2, random mantissas: one block of them, repeated from other
 * offsets.
 */
async function writeRows(file: string, rows: number): Promise<void> {
  const chunk = new Uint32Array(16384 * dim)
  randomFillSync(chunk)
  for (let i = 0; i < chunk.length; i++) chunk[i] = (chunk[i]! & 0x83ffffff) | 0x3c000000
  const bytes = new Uint8Array(chunk.buffer)
  const handle = await open(file, 'w')
  try {
    const total = rows * dim * 4
    for (let at = 0, turn = 0; at < total; turn += 4) {
      // Starts one number later each time, so that no two rows are equal.
      const part = bytes.subarray(turn, Math.min(bytes.length, turn + total - at))
      at += (await handle.write(part, 0, part.length, at)).bytesWritten
    }
  } finally {
    await handle.close()
  }
}

/** A table: fastest and median run, the rate, and its percentage of the memory rate in the same run. */
export async function searchTable(rows: number, seconds: number, folder = cacheFolder): Promise<string> {
  await mkdir(folder, { recursive: true })
  const file = join(folder, `search-${process.pid}.bin`)
  try {
    await writeRows(file, rows)
    const queries = Float32Array.from({ length: dim }, (_, i) => Math.sin(i + 1))
    const lines: string[][] = [
      ['', 'fastest', 'median', 'rate', 'memory', 'of memory', 'median of memory', 'runs'],
    ]
    await using matrix = await openMatrix(file, { rows, dim })
    await cosineTopK({ queries, classes: matrix, k, as: 'cosine' }) // warms the page cache
    for (const threads of [1, 2]) {
      const times: number[] = []
      const memory: number[] = []
      const until = performance.now() + seconds * 1000
      while (times.length < 3 || performance.now() < until) {
        memory.push(await testEntries().measure.stream({ threads }))
        for (let i = 0; i < 3; i++) {
          const from = performance.now()
          await cosineTopK({ queries, classes: matrix, k, as: 'cosine', threads })
          times.push(performance.now() - from)
        }
      }
      const bytes = rows * dim * 4
      const rate = (ms: number) => bytes / (ms / 1000)
      const best = Math.min(...times)
      const stream = Math.max(...memory)
      lines.push([
        `${rows} x ${dim} float32 from a file, threads ${threads}`,
        duration(best),
        duration(median(times)),
        `${(rate(best) / 1e9).toFixed(1)} GB/s`,
        `${(stream / 1e9).toFixed(1)} GB/s`,
        `${((100 * rate(best)) / stream).toFixed(0)} %`,
        `${((100 * rate(median(times))) / median(memory)).toFixed(0)} %`,
        String(times.length),
      ])
    }
    return `${columns(lines)}\n`
  } finally {
    await rm(file, { force: true })
  }
}
