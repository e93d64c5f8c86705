/** The ids of a store, and the state of their files when they were embedded. Built at the first `add`; about 150 bytes per item. */

import { damaged } from './errors.js'
import type { Item } from './log.js'
import { Numbers } from './numbers.js'

/**
 * Row numbers by id. V8's Map is limited to 2^24 entries and blocks the event loop while it grows, so ids are distributed
 * over many maps by their last characters.
 */
export class RowsById {
  readonly #maps = Array.from({ length: 4096 }, () => new Map<string, number>())

  #mapOf(id: string): Map<string, number> {
    let hash = id.length
    for (let i = Math.max(0, id.length - 12); i < id.length; i++)
      hash = (Math.imul(hash, 31) + id.charCodeAt(i)) | 0
    return this.#maps[(hash ^ (hash >>> 12) ^ (hash >>> 24)) & 4095]!
  }

  get(id: string): number | undefined {
    return this.#mapOf(id).get(id)
  }

  set(id: string, row: number): void {
    this.#mapOf(id).set(id, row)
  }
}

export class Known {
  readonly #rows = new RowsById()
  /** By row; NaN if the item is not a file. */
  readonly #sizes = new Numbers(Float64Array)
  readonly #times = new Numbers(Float64Array)

  constructor(readonly file: string) {}

  /** Must be called for every row, in order. Throws ERR_CLIP_CHECKPOINT for a duplicate id. */
  note(item: Item): void {
    const before = this.#rows.get(item.id)
    if (before !== item.replaces)
      throw damaged(
        this.file,
        `row ${item.row}`,
        before === undefined
          ? `row ${item.row} replaces row ${item.replaces}, which is another item's`
          : `row ${item.row} has the id of row ${before} and does not replace it`,
        {
          expected: before === undefined ? 'nothing to replace' : `replaces ${before}`,
          actual: `${item.replaces}`,
        },
      )
    this.#rows.set(item.id, item.row)
    for (; this.#sizes.length < item.row; this.#times.push(Number.NaN)) this.#sizes.push(Number.NaN)
    this.#sizes.push(item.size ?? Number.NaN)
    this.#times.push(item.mtimeMs ?? Number.NaN)
  }

  row(id: string): number | undefined {
    return this.#rows.get(id)
  }

  /** A file is current if its size and modification time have not changed; any other item if its id is in the store. */
  isCurrent(id: string, stamp: { size: number; mtimeMs: number } | undefined, isFile: boolean): boolean {
    const row = this.#rows.get(id)
    if (row === undefined) return false
    if (!isFile) return true
    return stamp !== undefined && this.#sizes.at(row) === stamp.size && this.#times.at(row) === stamp.mtimeMs
  }
}
