/** Batches at the end of a store, in the order that survives a kill. Whoever makes one holds the store's lock. */

import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { writeError } from './errors.js'
import type { Header } from './header.js'
import { formatLine, type Item, type Log } from './log.js'
import { bytesOf, narrow } from './vectors.js'

/** What a row is called, and which file it was made from. */
export type NewItem = Pick<Item, 'id' | 'size' | 'mtimeMs' | 'replaces'>

/** All of `data`, at `position` or behind what was written last. */
export async function writeAll(handle: FileHandle, data: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < data.byteLength; ) {
    const at = position === undefined ? null : position + done
    done += (await handle.write(data, done, data.byteLength - done, at)).bytesWritten
  }
}

export class Writer {
  private constructor(
    private readonly header: Header,
    private readonly log: Log,
    private readonly vectorsPath: string,
    private readonly vectors: FileHandle,
    private readonly items: FileHandle,
  ) {}

  /** Cuts off what a killed writer left beyond the last whole row. */
  static async open(header: Header, log: Log, vectorsPath: string): Promise<Writer> {
    const flags = constants.O_RDWR | (constants.O_NONBLOCK ?? 0)
    let path = vectorsPath
    const handles: FileHandle[] = []
    try {
      handles.push(await open(path, flags))
      await handles[0]!.truncate(log.rows * header.embedDim * bytesOf[header.dtype])
      path = log.path
      handles.push(await open(path, flags))
      await handles[1]!.truncate(log.bytes)
      return new Writer(header, log, vectorsPath, handles[0]!, handles[1]!)
    } catch (error) {
      for (const handle of handles) await handle.close()
      throw writeError(error, path)
    }
  }

  /** Appends rows: (items.length, embedDim) of length 1. When it resolves they are on the disk. */
  append(items: readonly NewItem[], rows: Float32Array): Promise<Item[]> {
    return this.appendBytes(items, narrow(rows, this.header.embedDim, this.header.dtype))
  }

  /** The same for rows as they are kept. */
  async appendBytes(items: readonly NewItem[], data: Uint8Array): Promise<Item[]> {
    const { log } = this
    const rowBytes = this.header.embedDim * bytesOf[this.header.dtype]
    const first = log.rows
    const written = items.map((item, i): Item => {
      const crc = crc32(data.subarray(i * rowBytes, (i + 1) * rowBytes))
      return { ...item, row: first + i, first, crc }
    })
    const lines = written.map(item => Buffer.from(formatLine(item)))
    let path = this.vectorsPath
    try {
      await writeAll(this.vectors, data, first * rowBytes)
      await this.vectors.datasync()
      path = log.path
      await writeAll(this.items, Buffer.concat(lines), log.bytes)
      await this.items.datasync()
    } catch (error) {
      throw writeError(error, path)
    }
    for (const [i, item] of written.entries()) log.push(item, lines[i]!.length)
    return written
  }

  async close(): Promise<void> {
    await this.vectors.close()
    await this.items.close()
  }
}
