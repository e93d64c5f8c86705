/** The most memory that a piece of work had, where the system tells. */

import { readFileSync, writeFileSync } from 'node:fs'
import { emulated } from '../helpers/patience.js'

function status(name: 'VmRSS' | 'VmHWM'): number {
  const line = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))
  return Number(line?.[1]) * 1024
}

function resettable(): boolean {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
    return status('VmHWM') > 0
  } catch {
    return false
  }
}

/** Linux tells, and lets us begin anew; elsewhere growth is not measured. */
export const measurable = process.platform === 'linux' && resettable()

/**
 * What an emulator of one process (qemu-user) holds for itself: what it has translated, and more with every thread that
 * was. It lies where Linux puts an x64 process's own, from 0x55... up; what runs in it asks for lower places. 0 on a
 * real processor.
 */
function emulatorsOwn(): number {
  if (!emulated) return 0
  let bytes = 0
  let counted = false
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) counted = /^[5-9a-f][0-9a-f]{11}-/.test(line)
    const size = /^Rss:\s+(\d+) kB$/.exec(line)
    if (counted && size) bytes += Number(size[1]) * 1024
  }
  return bytes
}

/** The process's RSS in bytes. From the file that the peak is in: an emulator answers process.memoryUsage.rss() with 0. */
export const rss = (): number => (measurable ? status('VmRSS') - emulatorsOwn() : process.memoryUsage.rss())

/** Bytes by which the process's peak RSS rose above its RSS at the start of `work`; 0 where it is not measurable. */
export async function growth(work: () => Promise<void>): Promise<number> {
  if (!measurable) {
    await work()
    return 0
  }
  const before = rss()
  writeFileSync('/proc/self/clear_refs', '5')
  await work()
  return Math.max(0, status('VmHWM') - emulatorsOwn() - before)
}
