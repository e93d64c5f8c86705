/**
 * items.log: one line for each row of vectors.bin, in its order: a checksum of eight hexadecimal digits, a space, JSON.
 *
 * A batch is finished by its lines: its vectors are written and synced first, then its lines in one piece, synced too.
 * So a kill leaves at worst vectors without lines and one torn batch of lines at the end, which nobody was told of:
 * readers leave them out, the next writer cuts them off. `first` says where a line's batch begins, and so a torn last
 * batch is told from damage before it.
 */

import { crc32 } from 'node:zlib'
import { RegularFile } from '../regular-file.js'
import { Slices } from '../slices.js'
import { damaged, faultOf } from './errors.js'

export interface Item {
  id: string
  /** Its row in vectors.bin, from 0. */
  row: number
  /** First row of the batch it was written in. */
  first: number
  /** CRC-32 of its vector's bytes. */
  crc: number
  /** Of a file: bytes, and when it was modified. */
  size?: number
  mtimeMs?: number
  /** The row of an earlier embedding of the same id, which counts no more. */
  replaces?: number
}

/** A longer id is refused when it is added. */
export const longestId = 32768
const longestLine = 6 * longestId + 1024
const piece = 1 << 20
const newline = 10

export function formatLine(item: Item): string {
  const text = JSON.stringify(item)
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`
}

const whole = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0
const maybe = (x: unknown) => x === undefined || (typeof x === 'number' && Number.isFinite(x) && x >= 0)

/** Undefined for a line that is damaged. */
export function parseLine(line: Buffer): Item | undefined {
  if (line.length < 10 || line[8] !== 0x20) return undefined
  const text = line.subarray(9)
  if (line.toString('latin1', 0, 8) !== crc32(text).toString(16).padStart(8, '0')) return undefined
  try {
    const item = JSON.parse(text.toString('utf8'))
    const holds =
      typeof item?.id === 'string' &&
      whole(item.row) &&
      whole(item.first) &&
      item.first <= item.row &&
      whole(item.crc) &&
      maybe(item.size) &&
      maybe(item.mtimeMs) &&
      (item.replaces === undefined || (whole(item.replaces) && item.replaces < item.row))
    return holds ? item : undefined
  } catch {
    return undefined
  }
}

/** Numbers that grow by doubling: 8 or 4 bytes each, not an object. */
export class Numbers<A extends Float64Array | Uint32Array> {
  length = 0
  constructor(private data: A) {}
  at(i: number): number {
    return this.data[i]!
  }
  push(value: number): void {
    if (this.length === this.data.length) {
      const wider = new (this.data.constructor as new (n: number) => A)(2 * this.length)
      wider.set(this.data as never)
      this.data = wider
    }
    this.data[this.length++] = value
  }
}

/** What is known of a store's lines: 12 bytes a row, and the rows that count no more. */
export class Log {
  /** Where row i's line begins. */
  readonly starts: Numbers<Float64Array> = new Numbers(new Float64Array(1024))
  readonly crcs: Numbers<Uint32Array> = new Numbers(new Uint32Array(1024))
  readonly replaced = new Set<number>()
  /** Where the last whole line ends. */
  bytes = 0
  /** First row of the last batch. */
  lastBatch = 0

  constructor(readonly path: string) {}

  get rows(): number {
    return this.starts.length
  }

  /** Takes note of the next line, of `length` bytes. */
  push(item: Item, length: number): void {
    this.starts.push(this.bytes)
    this.crcs.push(item.crc)
    if (item.replaces !== undefined) this.replaced.add(item.replaces)
    this.lastBatch = item.first
    this.bytes += length
  }

  /**
   * Reads the lines that were added since the last time, up to the last whole batch's end or a torn line.
   * Rejects with ERR_CLIP_CHECKPOINT when what is damaged is not the end.
   */
  async refresh(signal: AbortSignal | undefined, each?: (item: Item) => void): Promise<void> {
    const file = await this.open(signal)
    try {
      if (file.bytes < this.bytes)
        throw damaged(this.path, 'items', `was cut: ${this.bytes} bytes of it were read before`, {
          expected: `at least ${this.bytes} bytes`,
          actual: `${file.bytes} bytes`,
        })
      const slices = new Slices()
      let torn = false
      for await (const line of lines(file, this.bytes)) {
        if (slices.due()) await slices.pause(signal)
        const item = parseLine(line)
        if (!item) {
          torn = true
          continue
        }
        const next = this.rows
        // A line behind damage: of the same torn batch, or of one that was begun when the damaged one was finished.
        if (torn && item.first > next)
          throw damaged(this.path, `line ${next + 1}`, `line ${next + 1} is damaged`, {
            expected: 'a checksum, a space and JSON',
          })
        if (torn) continue
        if (item.row !== next)
          throw damaged(
            this.path,
            `line ${next + 1}`,
            `line ${next + 1} says that it is of row ${item.row}, not ${next}`,
            { expected: `row ${next}`, actual: `row ${item.row}` },
          )
        if (item.replaces !== undefined && this.replaced.has(item.replaces))
          throw damaged(
            this.path,
            `line ${next + 1}`,
            `line ${next + 1} replaces row ${item.replaces}, which was replaced before`,
          )
        this.push(item, line.length + 1)
        each?.(item)
      }
    } finally {
      await file.close()
    }
  }

  /** Whoever opens it closes it. */
  open(signal: AbortSignal | undefined): Promise<RegularFile> {
    return RegularFile.open(this.path, faultOf(this.path, 'items'), signal)
  }

  /** The items of rows [from, to), those that were replaced left out. */
  async *items(
    file: RegularFile,
    signal: AbortSignal | undefined,
    from = 0,
    to = this.rows,
  ): AsyncGenerator<Item, void, void> {
    for await (const item of this.every(file, signal, from, to)) if (!this.replaced.has(item.row)) yield item
  }

  /** The same with those that were replaced. */
  async *every(
    file: RegularFile,
    signal: AbortSignal | undefined,
    from = 0,
    to = this.rows,
  ): AsyncGenerator<Item, void, void> {
    if (from >= to) return
    const slices = new Slices()
    let row = from
    for await (const line of lines(file, this.starts.at(from))) {
      if (slices.due()) await slices.pause(signal)
      const item = parseLine(line)
      if (!item || item.row !== row)
        throw damaged(this.path, `line ${row + 1}`, `line ${row + 1} changed after it was read`)
      yield item
      if (++row === to) return
    }
  }

  /** The items of these rows. */
  async itemsOf(file: RegularFile, rows: readonly number[]): Promise<Item[]> {
    const found: Item[] = []
    for (const row of rows) {
      const from = this.starts.at(row)
      const to = row + 1 < this.rows ? this.starts.at(row + 1) : this.bytes
      const item = parseLine(await file.read(from, to - from - 1))
      if (!item || item.row !== row)
        throw damaged(this.path, `line ${row + 1}`, `line ${row + 1} changed after it was read`)
      found.push(item)
    }
    return found
  }
}

/** Whole lines without their newlines, in pieces of a megabyte. A line that is too long comes as an empty one. */
async function* lines(file: RegularFile, from: number): AsyncGenerator<Buffer, void, void> {
  let rest: Buffer = Buffer.alloc(0)
  let skipping = false
  for (let at = from; at < file.bytes; at += piece) {
    const read = await file.read(at, Math.min(piece, file.bytes - at))
    const data: Buffer = rest.length > 0 ? Buffer.concat([rest, read]) : read
    let start = 0
    for (let end = data.indexOf(newline, start); end >= 0; end = data.indexOf(newline, start)) {
      yield skipping ? Buffer.alloc(0) : data.subarray(start, end)
      skipping = false
      start = end + 1
    }
    rest = data.subarray(start)
    if (rest.length > longestLine) {
      skipping = true
      rest = Buffer.alloc(0)
    }
  }
  // What follows the last newline is a line that was not finished.
}
