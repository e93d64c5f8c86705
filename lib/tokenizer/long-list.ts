/** Allocates lists of numbers as long as a text without blocking the event loop. */

import { allocateBytes } from '../base/allocate.js'

/** This many bytes can be cleared within microseconds. */
const atOnce = 1 << 18

/**
 * A list of `length` numbers, which the caller must set before reading them: a long list is not initialised, because clearing
 * it would block the event loop for milliseconds for a text of 200 000 characters.
 */
export function longList(length: number): Int32Array {
  const bytes = length * Int32Array.BYTES_PER_ELEMENT
  if (bytes <= atOnce) return new Int32Array(length)
  return new Int32Array(allocateBytes('the work on a long text', bytes).buffer)
}
