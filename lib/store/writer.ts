/**
 * Batches at the end of a store, in the order that survives a kill (see log.ts). Whoever makes one holds the store's
 * lock; and because a process that is stopped loses it and may go on in the middle of a write, nothing here depends on
 * it: files are opened to append, so nothing of another is overwritten, and where each write came to lie is read back.
 */

import type { FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { allocateBytes } from '../base/allocate.js'
import { ClipError } from '../base/errors.js'
import { readSome } from '../base/regular-file.js'
import { damaged, writeError } from './errors.js'
import type { Generation } from './generation.js'
import { headerOfSame, syncFolder, takenOver } from './header.js'
import type { Known } from './known.js'
import { formatLine, type Item, longestSkip } from './log.js'
import { isStillThere, openToAppend } from './own-file.js'
import { narrow } from './vectors.js'

/** What a row is called, and which file it was made from. */
export type NewItem = Pick<Item, 'id' | 'size' | 'mtimeMs'>

/** All of `data`, at `position` or behind what was written last. */
export async function writeAll(handle: FileHandle, data: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < data.byteLength; ) {
    const at = position === undefined ? null : position + done
    done += (await handle.write(data, done, data.byteLength - done, at)).bytesWritten
  }
}

async function readAll(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = allocateBytes('a part of the store', length)
  let done = 0
  while (done < length) {
    const got = await readSome(handle, buffer, done, length - done, position + done)
    if (got === 0) break
    done += got
  }
  return buffer.subarray(0, done)
}

/** Each further attempt means that yet another process lost its lock and went on at just this moment. */
const attempts = 8

export class Writer {
  private constructor(
    private readonly now: Generation,
    private readonly known: Known | undefined,
    /** The lock's: throws when it is another's. */
    private readonly check: () => Promise<void>,
    private readonly vectors: FileHandle,
    private readonly items: FileHandle,
  ) {}

  static async open(now: Generation, known: Known | undefined, check: () => Promise<void>): Promise<Writer> {
    let path = now.files.vectors
    const handles: FileHandle[] = []
    try {
      handles.push(await openToAppend(path))
      path = now.files.items
      handles.push(await openToAppend(path))
      // What a killed writer left counts by now, and is told to be there: it has to be on the disk.
      await handles[1]!.datasync()
      if (!now.isLasting) await syncFolder(now.folder)
      now.isLasting = true
      return new Writer(now, known, check, handles[0]!, handles[1]!)
    } catch (error) {
      for (const handle of handles) await handle.close()
      throw writeError(error, path)
    }
  }

  /** Appends rows: (items.length, embedDim) of length 1. When it resolves they are on the disk. */
  append(items: readonly NewItem[], rows: Float32Array): Promise<void> {
    return this.appendBytes(items, narrow(rows, this.now.header.embedDim, this.now.header.dtype))
  }

  /** The same for rows as they are kept. */
  async appendBytes(items: readonly NewItem[], data: Uint8Array): Promise<void> {
    const { log, rowBytes } = this.now
    for (let i = 0; i < attempts; i++) {
      await this.check()
      const next = log.rows
      const first = await this.appendVectors(data, next)
      const written = items.map((item, i): Item => {
        const crc = crc32(data.subarray(i * rowBytes, (i + 1) * rowBytes))
        const replaces = this.known?.row(item.id)
        const after = first > next ? { after: next } : {}
        return {
          ...item,
          ...(replaces === undefined ? {} : { replaces }),
          row: first + i,
          first,
          ...after,
          crc,
        }
      })
      await this.appendLines(written.map(formatLine).join(''))
      const counted = await this.refresh()
      if (
        written.every((item, i) => counted[i] && sameItem(counted[i], item)) &&
        counted.length === written.length
      ) {
        await this.checkFiles()
        return
      }
    }
    throw takenOver(this.now.files.items)
  }

  /**
   * Makes it impossible to append what stands on the rows that there are now: whoever was stopped while appending and
   * goes on later appends lines that do not count.
   */
  async fence(): Promise<void> {
    const { log, rowBytes, files } = this.now
    const next = log.rows
    await this.checkFiles()
    const { size } = await this.vectors.stat()
    try {
      await writeAll(this.vectors, Buffer.alloc(Math.max(0, (next + 1) * rowBytes - size)))
      await this.vectors.datasync()
    } catch (error) {
      throw writeError(error, files.vectors)
    }
    await this.appendLines(formatLine({ after: next, skip: next + 1 }))
    await this.refresh()
    if (log.rows !== next + 1 || log.isItem(next)) throw takenOver(this.now.files.items)
  }

  /** Returns the row at which `data` lies: `next` unless somebody else's rows are there. */
  private async appendVectors(data: Uint8Array, next: number): Promise<number> {
    const { rowBytes, files } = this.now
    const want = next * rowBytes
    try {
      for (let i = 0; i < attempts; i++) {
        const { size } = await this.vectors.stat()
        if (size < want)
          throw damaged(
            files.vectors,
            'rows',
            `has ${size} bytes, but ${next} rows of ${rowBytes} bytes have ids`,
          )
        // What a killed writer left may be the beginning of this very batch: then the rest goes behind it.
        const there = await readAll(this.vectors, want, Math.min(size - want, data.byteLength))
        let at = want
        if (there.equals(data.subarray(0, there.length)))
          await writeAll(this.vectors, data.subarray(there.length))
        else {
          const rest = size % rowBytes
          at = rest === 0 ? size : size + rowBytes - rest
          if (at - want > longestSkip * rowBytes) throw this.tooLong(size, want)
          await writeAll(
            this.vectors,
            rest === 0 ? data : Buffer.concat([Buffer.alloc(rowBytes - rest), data]),
          )
        }
        await this.vectors.datasync()
        if ((await readAll(this.vectors, at, data.byteLength)).equals(data)) return at / rowBytes
      }
    } catch (error) {
      throw writeError(error, files.vectors)
    }
    throw takenOver(this.now.files.items)
  }

  private async appendLines(text: string): Promise<void> {
    try {
      const { size } = await this.items.stat()
      const end = size > 0 ? (await readAll(this.items, size - 1, 1)).toString('latin1') : '\n'
      // Behind a line that was cut off, the next one begins on its own.
      await writeAll(this.items, Buffer.from(end === '\n' ? text : `\n${text}`))
      await this.items.datasync()
    } catch (error) {
      throw writeError(error, this.now.files.items)
    }
  }

  /** Reads the log on from where it was known, and returns the items that count and are new. */
  private async refresh(): Promise<Item[]> {
    const items: Item[] = []
    await this.now.log.refresh(undefined, item => {
      this.known?.note(item)
      items.push(item)
    })
    return items
  }

  /** Throws when what is appended would be in no store: its files or its header are gone or others by now. */
  private async checkFiles(): Promise<void> {
    const { folder, header, files } = this.now
    const { generation } = await headerOfSame(folder, header)
    if (generation !== header.generation) throw takenOver(this.now.files.items)
    for (const [path, handle] of [
      [files.vectors, this.vectors],
      [files.items, this.items],
    ] as const)
      if (!(await isStillThere(path, handle)))
        throw damaged(
          path,
          'file',
          'was removed or replaced while the store was open: what is added now would be lost',
        )
  }

  private tooLong(size: number, want: number): ClipError {
    const { vectors } = this.now.files
    const actual = `${size} bytes`
    return new ClipError(
      'ERR_CLIP_INPUT',
      `${vectors}: has ${size} bytes, of which only ${want} are of the store: compact the store before anything is added`,
      { file: vectors, expected: `${want} bytes`, actual },
    )
  }

  async close(): Promise<void> {
    await this.vectors.close()
    await this.items.close()
  }
}

const sameItem = (a: Item, b: Item) => a.id === b.id && a.row === b.row && a.crc === b.crc
