/** Records what was left out of a folder or an archive: all entries are counted, and the first ones are kept. */

import type { LeftOut } from './files.js'

/** The files and folders that were left out. */
export interface AllLeftOut {
  /** Their number. */
  count: number
  /** The first thousand. */
  files: LeftOut[]
}

const mostNamed = 1000

/** An `onLeftOut` callback that records its calls. */
export class LeftOutList implements AllLeftOut {
  count = 0
  /** Number of entries that could not be read, so that images may be missing. */
  unreadable = 0
  readonly files: LeftOut[] = []

  readonly add = (leftOut: LeftOut): void => {
    this.count++
    if (leftOut.reason === 'unreadable') this.unreadable++
    if (this.files.length < mostNamed) this.files.push(leftOut)
  }

  toJSON(): AllLeftOut {
    return { count: this.count, files: this.files }
  }
}
