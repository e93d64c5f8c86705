/** The two kinds of errors of this folder, and the clock that keeps parsing from blocking the event loop. */

import { ClipError, type ClipErrorDetails } from '../base/errors.js'
import { Slices } from '../base/slices.js'

type Facts = Omit<ClipErrorDetails, 'file' | 'field'>

/** A weight or vocabulary file that can't be used: ERR_CLIP_CHECKPOINT, `file: message`. */
export function badCheckpoint(file: string, field: string | undefined, message: string, facts: Facts = {}) {
  return new ClipError('ERR_CLIP_CHECKPOINT', `${file}: ${message}`, { file, field, ...facts })
}

/** A configuration that is missing, contradicts the weights, or needs something that is not implemented: ERR_CLIP_CONFIG. */
export function badConfig(file: string, field: string | undefined, message: string, facts: Facts = {}) {
  return new ClipError('ERR_CLIP_CONFIG', `${file}: ${message}`, { file, field, ...facts })
}

/** A name from a file, for a message: quoted, escaped, at most 80 characters. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 77)}...` : name)
}

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`
}

/** Long loops call `spent()` every few hundred steps, and `await turn()` when it returns true. The time limit is that of slices.ts. */
export class Pace {
  private slices = new Slices()

  constructor(readonly signal?: AbortSignal) {
    signal?.throwIfAborted()
  }

  spent(): boolean {
    return this.slices.due()
  }

  /** Lets the event loop run, then starts a new slice; throws signal.reason. */
  turn(): Promise<void> {
    return this.slices.pause(this.signal)
  }

  /** Starts a new slice, after another await has let the event loop run. */
  restart(): void {
    this.signal?.throwIfAborted()
    this.slices = new Slices()
  }
}
