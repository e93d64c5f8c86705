/**
 * Reads the directory of a zip archive, with the features that PyTorch's archives need: stored and deflated entries, zip64.
 * Offsets of data come from the local headers, sizes from the central directory (because PyTorch writes data descriptors).
 */

import { promisify } from 'node:util'
import { inflateRaw } from 'node:zlib'
import { inSlices, type Steps, sorted } from '../base/slices.js'
import { badCheckpoint, type Pace, quote } from './errors.js'
import type { SourceFile } from './source-file.js'

export interface ZipEntry {
  name: string
  stored: boolean
  /** Sizes in the archive and after inflating. */
  packed: number
  bytes: number
  /** Where its local header begins. */
  header: number
}

const END = 0x06054b50
const END64 = 0x06064b50
const LOCATOR64 = 0x07064b50
const CENTRAL = 0x02014b50
const LOCAL = 0x04034b50
const LARGEST_DIRECTORY = 16 << 20
const MOST_ENTRIES = 100_000
/** Entries per step of work. */
const PER_STEP = 256
/** Maximum size of an inflated entry. */
export const LARGEST_INFLATED = 16 << 20

const inflate = promisify(inflateRaw)

export class ZipFile {
  private constructor(
    readonly file: SourceFile,
    readonly entries: Map<string, ZipEntry>,
    /** [position, bytes] of the central directory. */
    readonly directory: [number, number],
  ) {}

  static async open(file: SourceFile, pace: Pace): Promise<ZipFile> {
    const { position, bytes, count } = await locate(file)
    if (bytes > LARGEST_DIRECTORY || count > MOST_ENTRIES)
      throw bad(
        file,
        `its directory has ${count} entries in ${bytes} bytes; at most ${MOST_ENTRIES} in ${LARGEST_DIRECTORY} are read`,
      )
    if (position + bytes > file.bytes)
      throw bad(file, `its directory ends at byte ${position + bytes}, the file at ${file.bytes}`)
    const directory = await file.read(position, bytes)
    pace.restart()
    const entries = new Map<string, ZipEntry>()
    let at = 0
    for (let i = 0; i < count; ++i) {
      const { entry, next } = central(file, directory, at)
      at = next
      if (entries.has(entry.name)) throw bad(file, `has two entries ${quote(entry.name)}`, entry.name)
      entries.set(entry.name, entry)
      if ((i & 127) === 127 && pace.spent()) await pace.turn()
    }
    await inSlices(refuseOverlaps(file, entries, position), pace.signal)
    pace.restart()
    return new ZipFile(file, entries, [position, bytes])
  }

  /** Where a stored entry's bytes begin in the file. */
  async dataOffset(entry: ZipEntry): Promise<number> {
    const { file } = this
    const local = await file.read(entry.header, 30)
    if (local.readUInt32LE(0) !== LOCAL)
      throw bad(file, `entry ${quote(entry.name)} has no local header at byte ${entry.header}`, entry.name)
    if ((local.readUInt16LE(8) === 0) !== entry.stored)
      throw bad(
        file,
        `entry ${quote(entry.name)} is compressed in another way than the directory says`,
        entry.name,
      )
    const offset = entry.header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28)
    if (offset + entry.packed > this.directory[0])
      throw bad(file, `entry ${quote(entry.name)} runs into the directory`, entry.name)
    return offset
  }

  /** A small entry, inflated; at most 16 MB. */
  async read(entry: ZipEntry): Promise<Buffer> {
    const { file } = this
    if (entry.bytes > LARGEST_INFLATED || entry.packed > LARGEST_INFLATED)
      throw bad(
        file,
        `entry ${quote(entry.name)} has ${entry.bytes} bytes, more than the ${LARGEST_INFLATED} that are read`,
        entry.name,
      )
    const packed = await file.read(await this.dataOffset(entry), entry.packed)
    if (entry.stored) return packed
    let data: Buffer
    try {
      data = await inflate(packed, { maxOutputLength: Math.max(1, entry.bytes) })
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code
      const why =
        code === 'ERR_BUFFER_TOO_LARGE'
          ? `inflates to more than the ${entry.bytes} bytes that the directory says`
          : `can't be inflated (${code})`
      throw bad(file, `entry ${quote(entry.name)} ${why}`, entry.name, cause)
    }
    if (data.length !== entry.bytes)
      throw bad(
        file,
        `entry ${quote(entry.name)} inflates to ${data.length} bytes, not ${entry.bytes}`,
        entry.name,
      )
    return data
  }
}

function bad(file: SourceFile, message: string, field = 'zip directory', cause?: unknown) {
  return badCheckpoint(file.path, field, `zip archive: ${message}`, cause === undefined ? {} : { cause })
}

/** 64-bit numbers above 2^53 become Infinity, which is larger than any file. */
function u64(buffer: Buffer, at: number): number {
  const value = buffer.readBigUInt64LE(at)
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(value)
}

async function locate(file: SourceFile): Promise<{ position: number; bytes: number; count: number }> {
  const tailBytes = Math.min(file.bytes, 22 + 0xffff)
  const tailStart = file.bytes - tailBytes
  const tail = await file.read(tailStart, tailBytes)
  let end = tail.length - 22
  while (
    end >= 0 &&
    !(tail.readUInt32LE(end) === END && end + 22 + tail.readUInt16LE(end + 20) === tail.length)
  )
    --end
  if (end < 0) throw bad(file, 'has no end of directory: the file is cut off')
  if (tail.readUInt16LE(end + 4) !== 0 || tail.readUInt16LE(end + 6) !== 0)
    throw bad(file, 'is split over several disks')
  const count = tail.readUInt16LE(end + 10)
  const bytes = tail.readUInt32LE(end + 12)
  const position = tail.readUInt32LE(end + 16)
  const locator = tailStart + end - 20
  if (locator < 0) return { position, bytes, count }
  const pointer = await file.read(locator, 20)
  if (pointer.readUInt32LE(0) !== LOCATOR64) return { position, bytes, count }
  const at = u64(pointer, 8)
  if (at + 56 > locator) throw bad(file, `its zip64 record is said to be at byte ${at}`)
  const record = await file.read(at, 56)
  if (record.readUInt32LE(0) !== END64) throw bad(file, `has no zip64 record at byte ${at}`)
  return { position: u64(record, 48), bytes: u64(record, 40), count: u64(record, 32) }
}

function central(file: SourceFile, directory: Buffer, at: number): { entry: ZipEntry; next: number } {
  if (at + 46 > directory.length || directory.readUInt32LE(at) !== CENTRAL)
    throw bad(file, `its directory is damaged at byte ${at}`)
  const nameEnd = at + 46 + directory.readUInt16LE(at + 28)
  const extraEnd = nameEnd + directory.readUInt16LE(at + 30)
  const next = extraEnd + directory.readUInt16LE(at + 32)
  if (next > directory.length) throw bad(file, `its directory is damaged at byte ${at}`)
  const name = directory.toString('utf8', at + 46, nameEnd)
  if (directory.readUInt16LE(at + 8) & 1) throw bad(file, `entry ${quote(name)} is encrypted`, name)
  const method = directory.readUInt16LE(at + 10)
  if (method !== 0 && method !== 8)
    throw bad(file, `entry ${quote(name)} has compression method ${method}`, name)
  const entry: ZipEntry = {
    name,
    stored: method === 0,
    packed: directory.readUInt32LE(at + 20),
    bytes: directory.readUInt32LE(at + 24),
    header: directory.readUInt32LE(at + 42),
  }
  zip64Sizes(file, directory, nameEnd, extraEnd, entry)
  if (entry.stored && entry.packed !== entry.bytes)
    throw bad(file, `entry ${quote(name)} is stored, but has ${entry.packed} and ${entry.bytes} bytes`, name)
  return { entry, next }
}

/** Extra field 1 holds, in this order, the sizes and the offset that did not fit into 32 bits. */
function zip64Sizes(file: SourceFile, directory: Buffer, from: number, to: number, entry: ZipEntry): void {
  for (let at = from; at + 4 <= to; ) {
    const id = directory.readUInt16LE(at)
    let value = at + 4
    const end = value + directory.readUInt16LE(at + 2)
    if (end > to) return
    if (id === 1) {
      for (const key of ['bytes', 'packed', 'header'] as const) {
        if (entry[key] !== 0xffffffff) continue
        if (value + 8 > end) throw bad(file, `entry ${quote(entry.name)} has a short zip64 field`, entry.name)
        entry[key] = u64(directory, value)
        value += 8
      }
      return
    }
    at = end
  }
}

/** Refuses entries that share bytes: zip bombs use them, and PyTorch never writes them. */
function* refuseOverlaps(file: SourceFile, entries: Map<string, ZipEntry>, directoryAt: number): Steps<void> {
  const all: ZipEntry[] = []
  for (const entry of entries.values()) if (all.push(entry) % PER_STEP === 0) yield
  const byOffset = yield* sorted(all, (a, b) => a.header - b.header)
  for (const [i, entry] of byOffset.entries()) {
    const next = byOffset[i + 1]
    const end = entry.header + 30 + Buffer.byteLength(entry.name) + entry.packed
    if (end > (next?.header ?? directoryAt))
      throw bad(
        file,
        `entry ${quote(entry.name)} overlaps ${next ? quote(next.name) : 'the directory'}`,
        entry.name,
      )
    if (i % PER_STEP === 0) yield
  }
}
