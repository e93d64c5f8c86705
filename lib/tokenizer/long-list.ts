/** Lists of numbers as long as a text, made without a long turn. */

/** Up to this many bytes are cleared in some microseconds. */
const atOnce = 1 << 18

/**
 * `new Int32Array(length)`. The memory of a long one comes from the system page by page as it is used: that of a common
 * array may come from what was freed before, and clearing it all at once takes milliseconds for a text of 200 000
 * characters. A buffer that could be resized has pages of its own.
 */
export function longList(length: number): Int32Array {
  const bytes = length * Int32Array.BYTES_PER_ELEMENT
  if (bytes <= atOnce) return new Int32Array(length)
  const Resizable = ArrayBuffer as new (bytes: number, options: { maxByteLength: number }) => ArrayBuffer
  return new Int32Array(new Resizable(bytes, { maxByteLength: bytes }), 0, length)
}
