/** Saying no early: what is refused costs nothing, so that those who were let in are served. */

import { ServiceError } from './errors.mjs'

export class Admission {
  /** After SIGTERM. */
  draining = false
  #config
  #working = 0
  #bytes = 0
  /** Of a request's work, smoothed: who is refused is told to come back after about as long. */
  #milliseconds = 0

  constructor(config) {
    this.#config = config
  }

  get working() {
    return this.#working
  }

  get bytes() {
    return this.#bytes
  }

  busy(why) {
    const seconds = Math.max(1, Math.ceil(this.#milliseconds / 1000))
    return new ServiceError('ERR_CLIP_BUSY', why, { 'retry-after': String(seconds) })
  }

  /** The hook of every route that has a body, before any of it is read. */
  onRequest = async (request, reply) => {
    const { maxBodyBytes, maxBodiesBytes, maxQueue } = this.#config
    if (this.draining) throw new ServiceError('SHUTTING_DOWN', 'the service is shutting down')
    const length = Number(request.headers['content-length'] ?? maxBodyBytes)
    if (length > maxBodyBytes)
      throw new ServiceError('TOO_LARGE', `a body may have ${maxBodyBytes} bytes, not ${length}`, {
        connection: 'close',
      })
    // The model counts for itself (ERR_CLIP_BUSY); this spares the reading of a body that it would refuse.
    if (this.#working > maxQueue) throw this.busy(`${this.#working} requests are waiting`)
    if (this.#bytes + length > maxBodiesBytes) throw this.busy('too many bodies are on their way')
    this.#bytes += length
    reply.raw.once('close', () => {
      this.#bytes -= length
    })
  }

  /**
   * Runs `work(signal)` once the body is there. The signal is aborted when it takes too long or the client goes away.
   */
  async run(reply, work) {
    const control = new AbortController()
    const { workMs } = this.#config
    const timer = setTimeout(
      () => control.abort(new ServiceError('TIMED_OUT', `no answer within ${workMs} ms`)),
      workMs,
    )
    const gone = () => control.abort(new ServiceError('CLIENT_GONE', 'the connection was closed'))
    if (reply.raw.destroyed) gone()
    reply.raw.once('close', gone)
    const began = performance.now()
    this.#working++
    try {
      return await work(control.signal)
    } catch (error) {
      throw error.code === 'ERR_CLIP_BUSY' ? this.busy(error.message) : error
    } finally {
      this.#working--
      clearTimeout(timer)
      reply.raw.off('close', gone)
      this.#milliseconds += (performance.now() - began - this.#milliseconds) / 8
    }
  }
}
