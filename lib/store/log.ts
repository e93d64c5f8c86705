/**
 * items.log: one line for each row of vectors.bin, in its order: a checksum of eight hexadecimal digits, a space, JSON.
 *
 * Both files only ever grow at their ends: nothing is overwritten or cut, whoever writes. A batch is finished by its
 * lines: its vectors are appended and synced first, then its lines in one piece, synced too. So a kill leaves at worst
 * vectors without lines and one torn batch of lines, which nobody was told of.
 *
 * The order of the lines decides. `first`, the row at which a line's batch begins, says what its writer knew: all rows
 * before it. A batch counts when these are all the rows that there are, so of two writers who both believe that they
 * hold the lock (one was stopped, and slept through the takeover) one wins, and the other sees that it did not. Lines
 * that do not count are left out by all. The same rule tells them from damage: a batch that stands on rows which are not
 * there means that their lines were lost.
 *
 * Where rows of nobody lie before a batch, written by someone who was killed or lost the race, its lines have `after`:
 * what its writer knew is the rows before that, and rows `after` to `first - 1` are skipped. A line
 * `{ "after": n, "skip": m }` is such a batch without items: it skips rows n to m - 1.
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
  /** First row of the batch it was written in. */
  first: number
  /** Where rows of nobody lie before the batch: the first of them. */
  after?: number
  /** CRC-32 of its vector's bytes. */
  crc: number
  /** Of a file: bytes, and when it was modified. */
  size?: number
  mtimeMs?: number
  /** The row of an earlier embedding of the same id, which counts no more. */
  replaces?: number
}

/** Rows [after, skip) are nobody's. */
export interface Skip {
  after: number
  skip: number
}

/** A longer id is refused when it is added. */
export const longestId = 32768
/** Rows of nobody before a batch, at most. */
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

/** Undefined for a line that is damaged. */
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

/** What is known of a store's lines: 12 bytes a row, and the rows that count no more. */
export class Log {
  /** Where row i's line begins; -1 where row i is nobody's. */
  readonly #starts = new Numbers(Float64Array)
  readonly #crcs = new Numbers(Uint32Array)
  /** Rows that were replaced, and those that are nobody's. */
  readonly unused = new Rows()
  /** How many are nobody's. */
  nobodys = 0
  /** Where the last line that counts ends, and how many lines end there. */
  bytes = 0
  #lines = 0
  /** First row of the last batch. */
  lastBatch = 0
  #identity: string | undefined

  constructor(
    readonly path: string,
    /** How many whole rows vectors.bin has: as many must be there as are skipped. */
    private readonly rowsThere: () => Promise<number>,
  ) {}

  get rows(): number {
    return this.#starts.length
  }

  /** Whether row i was written by a batch that counts, replaced or not. */
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
      throw damaged(this.path, `line ${line}`, `line ${line} skips rows up to ${to}, which are not there`)
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
      let number = this.#lines
      // Whether the line before does not count; and the first one since the last that does which is none at all.
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

  /** Whoever opens it closes it. Always the same file: another of its name is an error. */
  async open(signal: AbortSignal | undefined): Promise<RegularFile> {
    const file = await RegularFile.open(this.path, faultOf(this.path, 'items'), signal, 'refused')
    this.#identity ??= file.identity
    if (file.identity === this.#identity) return file
    await file.close()
    throw damaged(this.path, 'items', 'was replaced by another file while the store was open')
  }

  /** The items of rows [from, to), those that were replaced left out. */
  async *items(
    file: RegularFile,
    signal: AbortSignal | undefined,
    from = 0,
    to = this.rows,
  ): AsyncGenerator<Item, void, void> {
    for await (const item of this.every(file, signal, from, to)) if (!this.unused.has(item.row)) yield item
  }

  /** The same with those that were replaced. */
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

  /** The item of a row. `room`, of longestLine bytes, spares whoever asks for many an array for each. */
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

/** Whole lines without their newlines, in pieces of a megabyte. A line that is too long comes as an empty one. */
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
  // What follows the last newline is a line that was not finished.
}
