/**
 * items.log: one line for each row of vectors.bin, in its order: a checksum of eight hexadecimal digits, a space, JSON.
 *
 * Both files are append-only: no writer overwrites or truncates anything. A batch is committed by its lines: its vectors
 * are appended and synced first, then its lines in one write, which is synced too. So a killed process leaves at worst
 * vectors without lines and one torn batch of lines, neither of which was reported as done.
 *
 * The order of the lines decides which batches are valid. `first`, the row at which a line's batch begins, says what its
 * writer knew: all rows before it. A batch is valid if these are all the rows that exist at that point. So if two writers
 * both believe that they hold the lock (because one was stopped during the takeover), one of them wins, and the other
 * notices. All readers ignore invalid lines. The same rule distinguishes them from damage: a batch that builds on rows
 * which do not exist means that lines have been lost.
 *
 * Orphaned rows are vectors without valid lines, of a writer that was killed or lost the race. If a batch follows orphaned
 * rows, its lines have `after`: its writer knew the rows before that one, and rows `after` to `first - 1` are skipped. A
 * line `{ "after": n, "skip": m }` is such a batch without items: it skips rows n to m - 1.
 */

import { crc32 } from 'node:zlib'
import { RegularFile } from '../base/regular-file.js'
import { Slices } from '../base/slices.js'
import { damaged, faultOf } from './errors.js'
import { Numbers, Rows } from './numbers.js'

export interface Item {
  id: string
  /** Its row in vectors.bin, from 0. */
  row: number
  /** First row of its batch. */
  first: number
  /** The first orphaned row before the batch, if there are any. */
  after?: number
  /** CRC-32 of its vector's bytes. */
  crc: number
  /** For a file: its size in bytes and its modification time. */
  size?: number
  mtimeMs?: number
  /** The row of an earlier embedding of the same id, which this one replaces. */
  replaces?: number
}

/** Rows [after, skip) are orphaned. */
export interface Skip {
  after: number
  skip: number
}

/** `add` refuses longer ids. */
export const longestId = 32768
/** Maximum number of orphaned rows before a batch. */
export const longestSkip = 65536
export const longestLine = 6 * longestId + 1024
const piece = 1 << 20
const newline = 10

export function formatLine(entry: Item | Skip): string {
  const text = JSON.stringify(entry)
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`
}

const whole = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0
const maybe = (x: unknown) => x === undefined || (typeof x === 'number' && Number.isFinite(x) && x >= 0)

function isSkip(entry: Partial<Skip>): entry is Skip {
  const { after, skip } = entry
  return whole(after) && whole(skip) && skip > after && skip - after <= longestSkip
}

function isItem(item: Partial<Item>): item is Item {
  return (
    typeof item.id === 'string' &&
    whole(item.row) &&
    whole(item.first) &&
    item.first <= item.row &&
    (item.after === undefined ||
      (whole(item.after) && item.after < item.first && item.first - item.after <= longestSkip)) &&
    whole(item.crc) &&
    maybe(item.size) &&
    maybe(item.mtimeMs) &&
    (item.replaces === undefined || (whole(item.replaces) && item.replaces < item.row))
  )
}

/** Undefined for a damaged line. */
export function parseLine(line: Buffer): Item | Skip | undefined {
  if (line.length < 10 || line[8] !== 0x20) return undefined
  const text = line.subarray(9)
  if (line.toString('latin1', 0, 8) !== crc32(text).toString(16).padStart(8, '0')) return undefined
  try {
    const entry = JSON.parse(text.toString('utf8'))
    return isItem(entry) || isSkip(entry) ? entry : undefined
  } catch {
    return undefined
  }
}

/** Index of a store's lines: 12 bytes per row, and the set of rows that are no longer current. */
export class Log {
  /** Where the line of row i begins; -1 if row i is orphaned. */
  readonly #starts = new Numbers(Float64Array)
  readonly #crcs = new Numbers(Uint32Array)
  /** Replaced and orphaned rows. */
  readonly unused = new Rows()
  /** Number of orphaned rows. */
  nobodys = 0
  /** Where the last valid line ends, and how many lines end there. */
  bytes = 0
  #lines = 0
  /** First row of the last batch. */
  lastBatch = 0
  #identity: string | undefined

  constructor(
    readonly path: string,
    /** Number of complete rows in vectors.bin: skipped rows must exist. */
    private readonly rowsThere: () => Promise<number>,
  ) {}

  get rows(): number {
    return this.#starts.length
  }

  /** Whether row i was written by a valid batch, replaced or not. */
  isItem(row: number): boolean {
    return this.#starts.at(row) >= 0
  }

  crc(row: number): number {
    return this.#crcs.at(row)
  }

  #push(start: number, crc: number): void {
    this.#starts.push(start)
    this.#crcs.push(crc)
  }

  async #skip(from: number, to: number, line: number): Promise<void> {
    if (to > (await this.rowsThere()))
      throw damaged(this.path, `line ${line}`, `line ${line} skips rows up to ${to}, which do not exist`)
    for (let row = from; row < to; row++) {
      this.#push(-1, 0)
      this.unused.add(row)
    }
    this.nobodys += to - from
  }

  #item(item: Item, start: number, line: number): void {
    const { replaces } = item
    if (replaces !== undefined) {
      if (this.unused.has(replaces))
        throw damaged(
          this.path,
          `line ${line}`,
          `line ${line} replaces row ${replaces}, which was replaced before`,
        )
      this.unused.add(replaces)
    }
    this.#push(start, item.crc)
    this.lastBatch = item.first
  }

  /**
   * Reads the lines that were added since the last time, up to the end of the last complete batch or a torn line.
   * Rejects with ERR_CLIP_CHECKPOINT if there is damage before the end.
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
      let number = this.#lines
      // Whether the previous line is invalid; and the first unreadable line since the last valid one.
      let broken = false
      let torn: number | undefined
      for await (const { line, at } of lines(file, this.bytes)) {
        if (slices.due()) await slices.pause(signal)
        number++
        const entry = parseLine(line)
        const next = this.rows
        if (!entry) {
          broken = true
          torn ??= number
          continue
        }
        const isSkip = 'skip' in entry
        const base = isSkip ? entry.after : (entry.after ?? entry.first)
        const row = isSkip ? base : entry.row
        const begins = isSkip || row === entry.first
        if (base > next || (row > next && !begins && !broken && torn === undefined))
          throw torn !== undefined
            ? damaged(this.path, `line ${torn}`, `line ${torn} is damaged`, {
                expected: 'a checksum, a space and JSON',
              })
            : damaged(
                this.path,
                `line ${number}`,
                `line ${number} says that it is of row ${row}, not ${next}`,
                { expected: `row ${next}`, actual: `row ${row}` },
              )
        const counts = begins ? base === next : !broken && row === next && entry.first === this.lastBatch
        if (!counts) {
          broken = true
          continue
        }
        const end = isSkip ? entry.skip : entry.first
        if (begins && end > next) await this.#skip(next, end, number)
        if (isSkip) this.lastBatch = end
        else this.#item(entry, at, number)
        this.bytes = at + line.length + 1
        this.#lines = number
        broken = false
        torn = undefined
        if (!isSkip) each?.(entry)
      }
    } finally {
      await file.close()
    }
  }

  /** The caller must close it. It is always the same file: another file of that name is an error. */
  async open(signal: AbortSignal | undefined): Promise<RegularFile> {
    const file = await RegularFile.open(this.path, faultOf(this.path, 'items'), signal, 'refused')
    this.#identity ??= file.identity
    if (file.identity === this.#identity) return file
    await file.close()
    throw damaged(this.path, 'items', 'was replaced by another file while the store was open')
  }

  /** The items of rows [from, to), without replaced ones. */
  async *items(
    file: RegularFile,
    signal: AbortSignal | undefined,
    from = 0,
    to = this.rows,
  ): AsyncGenerator<Item, void, void> {
    for await (const item of this.every(file, signal, from, to)) if (!this.unused.has(item.row)) yield item
  }

  /** The items of rows [from, to), with replaced ones. */
  async *every(
    file: RegularFile,
    signal: AbortSignal | undefined,
    from = 0,
    to = this.rows,
  ): AsyncGenerator<Item, void, void> {
    const itemFrom = (row: number) => {
      while (row < to && !this.isItem(row)) row++
      return row
    }
    let row = itemFrom(from)
    if (row >= to) return
    const slices = new Slices()
    for await (const { line, at } of lines(file, this.#starts.at(row))) {
      if (slices.due()) await slices.pause(signal)
      if (at < this.#starts.at(row)) continue
      yield this.#parse(line, row)
      row = itemFrom(row + 1)
      if (row >= to) return
    }
    throw this.#changed(row)
  }

  #changed(row: number) {
    return damaged(this.path, `row ${row}`, `the line of row ${row} changed after it was read`)
  }

  #parse(line: Buffer, row: number): Item {
    const item = parseLine(line)
    if (!item || 'skip' in item || item.row !== row) throw this.#changed(row)
    return item
  }

  /** The item of a row. `room`, a buffer of longestLine bytes, saves allocating an array for each of many items. */
  async item(file: RegularFile, row: number, room?: Buffer): Promise<Item> {
    const from = this.#starts.at(row)
    let next = row + 1
    while (next < this.rows && !this.isItem(next)) next++
    const to = next < this.rows ? this.#starts.at(next) : this.bytes
    const line = await file.read(from, Math.min(to - from, longestLine), room)
    const end = line.indexOf(newline)
    return this.#parse(line.subarray(0, end < 0 ? 0 : end), row)
  }
}

/** Complete lines without their newlines, read a megabyte at a time. A line that is too long is yielded as an empty one. */
async function* lines(
  file: RegularFile,
  from: number,
): AsyncGenerator<{ line: Buffer; at: number }, void, void> {
  let rest: Buffer = Buffer.alloc(0)
  let skipping = false
  for (let at = from; at < file.bytes; at += piece) {
    const read = await file.read(at, Math.min(piece, file.bytes - at))
    const data: Buffer = rest.length > 0 ? Buffer.concat([rest, read]) : read
    const base = at - rest.length
    let start = 0
    for (let end = data.indexOf(newline, start); end >= 0; end = data.indexOf(newline, start)) {
      yield { line: skipping ? Buffer.alloc(0) : data.subarray(start, end), at: base + start }
      skipping = false
      start = end + 1
    }
    rest = data.subarray(start)
    if (rest.length > longestLine) {
      skipping = true
      rest = Buffer.alloc(0)
    }
  }
  // The text after the last newline is an incomplete line.
}
