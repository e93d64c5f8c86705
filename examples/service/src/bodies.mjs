/** Receives bodies: each is collected in one buffer, counted while it grows, and rejected if it does not begin. */

import { ServiceError } from './errors.mjs'

const smallest = 16 * 1024

/**
 * All bytes of `stream` in one buffer. A body of a million one-byte pieces needs only the memory of its bytes, not a Buffer
 * for each piece. `grow(bytes)` is called before more memory is allocated, and may throw.
 */
export async function collect(stream, most, grow) {
  let buffer = Buffer.alloc(0)
  let length = 0
  for await (const piece of stream) {
    const needed = length + piece.length
    if (needed > most)
      throw new ServiceError('TOO_LARGE', `a body may have ${most} bytes`, { connection: 'close' })
    if (needed > buffer.length) {
      const size = Math.min(most, Math.max(smallest, 2 * buffer.length, needed))
      grow(size - buffer.length)
      const larger = Buffer.allocUnsafeSlow(size)
      buffer.copy(larger, 0, 0, length)
      buffer = larger
    }
    buffer.set(piece, length)
    length = needed
  }
  return buffer.subarray(0, length)
}

/** Parsers for Fastify: JSON, and images as raw bytes. Forms are read by inputs.mjs, part by part. */
export function addBodyParsers(app, { maxBodyBytes, maxJsonBytes }) {
  app.removeAllContentTypeParsers()
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', async (request, stream) => {
    const text = (await collect(stream, maxJsonBytes, request.grow)).toString()
    return new Promise((resolve, reject) => {
      parseJson(request, text, (error, value) => (error ? reject(error) : resolve(value)))
    })
  })
  const raw = (request, stream) => collect(stream, maxBodyBytes, request.grow)
  app.addContentTypeParser(/^image\//, raw)
  app.addContentTypeParser('application/octet-stream', raw)
}
