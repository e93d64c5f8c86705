/**
 * Appends batches to a store, in an order that is safe if the process is killed (see log.ts). A writer holds the store's
 * lock. But a process that is stopped loses the lock and may continue in the middle of a write, so nothing here relies on
 * it: files are opened for appending, which never overwrites another writer's data, and the position of each write is read
 * back.
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

/** The id of a row, and the file that it was made from. */
export type NewItem = Pick<Item, 'id' | 'size' | 'mtimeMs'>

/** Writes all of `data`, at `position` or after the last write. */
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

/** Each further attempt means that yet another process has lost its lock and continued at just this moment. */
const attempts = 8

export class Writer {
  private constructor(
    private readonly now: Generation,
    private readonly known: Known | undefined,
    /** Checks the lock: throws if another process has it. */
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
      // Data of a killed writer is now valid and will be reported as present, so it has to be on disk.
      await handles[1]!.datasync()
      if (!now.isLasting) await syncFolder(now.folder)
      now.isLasting = true
      return new Writer(now, known, check, handles[0]!, handles[1]!)
    } catch (error) {
      for (const handle of handles) await handle.close()
      throw writeError(error, path)
    }
  }

  /** Appends (items.length, embedDim) rows of length 1. They are on disk when it resolves. */
  append(items: readonly NewItem[], rows: Float32Array): Promise<void> {
    return this.appendBytes(items, narrow(rows, this.now.header.embedDim, this.now.header.dtype))
  }

  /** The same for rows in the store's number format. */
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
   * Invalidates every append that was prepared for the current rows: if a stopped writer continues later, the lines that it
   * appends are invalid.
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

  /** Returns the row at which `data` was written: `next`, unless another writer's rows are there. */
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
        // A killed writer may have left the beginning of this very batch: then only the rest is appended.
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
      // After a line that was cut off, the next one starts on a new line.
      await writeAll(this.items, Buffer.from(end === '\n' ? text : `\n${text}`))
      await this.items.datasync()
    } catch (error) {
      throw writeError(error, this.now.files.items)
    }
  }

  /** Reads the new part of the log, and returns its valid items. */
  private async refresh(): Promise<Item[]> {
    const items: Item[] = []
    await this.now.log.refresh(undefined, item => {
      this.known?.note(item)
      items.push(item)
    })
    return items
  }

  /** Throws if appended data would be lost because the files or the header have been removed or replaced. */
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
