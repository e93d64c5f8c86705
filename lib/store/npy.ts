/** NumPy's .npy, version 1.0: `numpy.load` reads it. */

/**
 * Header of a C-ordered little-endian float32 array; its length is a multiple of 64, as NumPy aligns data, and at least
 * `least`.
 */
export function npyHeader(shape: readonly number[], least = 0): Buffer {
  const list = shape.length === 1 ? `${shape[0]},` : shape.join(', ')
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${list}), }`
  const fixed = 10 // magic, version, length
  const length = Math.ceil(Math.max(least, fixed + text.length + 1) / 64) * 64
  const padded = `${text.padEnd(length - fixed - 1)}\n`
  const head = Buffer.alloc(fixed)
  head.write('\u0093NUMPY', 'latin1')
  head[6] = 1
  head.writeUInt16LE(padded.length, 8)
  return Buffer.concat([head, Buffer.from(padded, 'latin1')])
}
