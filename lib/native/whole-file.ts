/** Detects an addon that was truncated by a failed copy or download, before it is loaded. */

import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'

/**
 * Throws if an ELF file is shorter than its headers say. glibc maps such a file without checking its size, and the first access
 * after its end causes a SIGBUS. macOS and Windows check this themselves. Files that can't be read, or are not 64-bit ELF
 * files of this byte order, are left to the loader, which reports an error.
 */
export function checkWholeFile(file: string): void {
  const [bytes, needed] = sizes(file)
  if (bytes < needed)
    throw new Error(
      `${file}: file too short: it has ${bytes} bytes of the ${needed} that its headers announce`,
    )
}

/** How large the file is, and how large it should be at least. */
function sizes(file: string): [bytes: number, needed: number] {
  let fd: number | undefined
  try {
    if (!statSync(file).isFile()) return [0, 0]
    fd = openSync(file, 'r')
    const { size } = fstatSync(fd)
    const read = (position: number, length: number): Buffer | undefined => {
      const bytes = Buffer.alloc(length)
      return readSync(fd!, bytes, 0, length, position) === length ? bytes : undefined
    }
    const head = read(0, 64)
    const isElf64 = head?.readUInt32BE(0) === 0x7f454c46 && head[4] === 2 && head[5] === 1
    if (!isElf64) return [size, 0]
    const offset = (bytes: Buffer, at: number) => Number(bytes.readBigUInt64LE(at))
    const entry = head.readUInt16LE(54)
    if (entry !== 56) return [size, 0]
    const segments = offset(head, 32)
    const segmentsEnd = segments + entry * head.readUInt16LE(56)
    const sectionsEnd = offset(head, 40) + head.readUInt16LE(58) * head.readUInt16LE(60)
    let needed = Math.max(64, segmentsEnd, sectionsEnd)
    if (needed > size) return [size, needed]
    const table = read(segments, segmentsEnd - segments)
    for (let at = 0; table && at < table.length; at += entry)
      needed = Math.max(needed, offset(table, at + 8) + offset(table, at + 32))
    return [size, needed]
  } catch {
    return [0, 0]
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
