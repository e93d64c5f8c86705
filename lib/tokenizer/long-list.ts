/** Lists of numbers as long as a text, made without a long turn. */

import { allocateBytes } from '../base/allocate.js'

/** Up to this many bytes are cleared in some microseconds. */
const atOnce = 1 << 18

/**
 * Room for `length` numbers, which the caller sets before he reads them: a long list begins with whatever its memory held.
 * To clear it would take milliseconds of one turn for a text of 200 000 characters.
 */
export function longList(length: number): Int32Array {
  const bytes = length * Int32Array.BYTES_PER_ELEMENT
  if (bytes <= atOnce) return new Int32Array(length)
  return new Int32Array(allocateBytes('the work on a long text', bytes).buffer)
}
