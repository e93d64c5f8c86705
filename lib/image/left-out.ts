/** What was left out of a folder or an archive, to tell at the end: all are counted, the first are kept by name. */

import type { LeftOut } from './files.js'

/** The files and folders that were left out. */
export interface AllLeftOut {
  /** Their number. */
  count: number
  /** The first thousand. */
  files: LeftOut[]
}

const mostNamed = 1000

/** An `onLeftOut` that keeps what it is told. */
export class LeftOutList implements AllLeftOut {
  count = 0
  /** Of these, how many could not be read: a loss, not a choice. */
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
