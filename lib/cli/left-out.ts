/** Prints what was left out of folders and archives: the number for each reason, with the names of the first files. */

import { printable } from '../base/errors.js'
import type { LeftOutReason } from '../image/files.js'
import type { AllLeftOut } from '../image/left-out.js'

const kinds: Record<LeftOutReason, readonly [one: string, several: string]> = {
  name: ['file without an image extension', 'files without an image extension'],
  place: ['file or folder where no image is expected', 'files or folders where no image is expected'],
  link: ['link that is not followed (--follow-links)', 'links that are not followed (--follow-links)'],
  counted: [
    'link to something that is counted at its own path',
    'links to something that is counted at its own path',
  ],
  special: ['FIFO, device, socket or link of an archive', 'FIFOs, devices, sockets or links of an archive'],
  unreadable: ['that could not be read', 'that could not be read'],
}

const mostNamed = 10

/** One line per reason: "left out: 3 files without an image extension: a.txt, b.json, c.md". */
export function leftOutLines({ count, files }: AllLeftOut): string[] {
  const lines: string[] = []
  for (const [reason, [one, several]] of Object.entries(kinds)) {
    const of = files.filter(file => file.reason === reason)
    if (of.length === 0) continue
    const named = of
      .slice(0, mostNamed)
      .map(({ path, message }) => printable(reason === 'unreadable' ? `${path} ${message}` : path))
    const more = of.length > named.length ? `, and ${of.length - named.length} more (--json names them)` : ''
    lines.push(`left out: ${of.length} ${of.length === 1 ? one : several}: ${named.join(', ')}${more}`)
  }
  if (count > files.length) lines.push(`left out: ${count} in all, of which ${files.length} are listed`)
  return lines
}

export function tellLeftOut(leftOut: AllLeftOut | undefined): void {
  for (const line of leftOut ? leftOutLines(leftOut) : []) process.stderr.write(`clip-native: ${line}\n`)
}
