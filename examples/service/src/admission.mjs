/** Refuses requests early, so that refused ones cost nothing and admitted ones are served. */

import { answerRaw, ServiceError } from './errors.mjs'
import { untilAborted } from './until-aborted.mjs'

export class Admission {
  /** After SIGTERM. */
  draining = false
  #config
  #jobs = new Set()
  #bytes = 0
  /** The smoothed time of a request's work, which is the Retry-After of refused requests. */
  #milliseconds = 0

  constructor(config) {
    this.#config = config
  }

  get working() {
    return this.#jobs.size
  }

  get bytes() {
    return this.#bytes
  }

  busy(why) {
    const seconds = Math.max(1, Math.ceil(this.#milliseconds / 1000))
    return new ServiceError('ERR_CLIP_BUSY', why, { 'retry-after': String(seconds) })
  }

  /**
   * The hook of every route that has a body, before any of it is read. Bytes that a client announces cost nothing: only those
   * that have arrived count (`request.grow`). A body that does not begin within `startMs` is rejected.
   */
  onRequest = async (request, reply) => {
    const { maxBodyBytes, maxBodiesBytes, maxQueue, startMs } = this.#config
    if (this.draining) throw new ServiceError('SHUTTING_DOWN', 'the service is shutting down')
    const length = Number(request.headers['content-length'] ?? 0)
    if (length > maxBodyBytes)
      throw new ServiceError('TOO_LARGE', `a body may have ${maxBodyBytes} bytes, not ${length}`, {
        connection: 'close',
      })
    // The model has its own limit (ERR_CLIP_BUSY); this one avoids reading a body that the model would refuse.
    if (this.working > maxQueue) throw this.busy(`${this.working} requests are waiting`)

    let held = 0
    let begun = false
    request.grow = bytes => {
      begun = true
      if (this.#bytes + bytes > maxBodiesBytes) throw this.busy('too many bodies are being received')
      this.#bytes += bytes
      held += bytes
    }
    const { socket } = request.raw
    const before = socket.bytesRead
    const slow = setTimeout(() => {
      if (begun || request.raw.complete || socket.bytesRead > before || reply.sent) return
      answerRaw({ code: 'ERR_HTTP_REQUEST_TIMEOUT' }, socket)
    }, startMs)
    reply.raw.once('close', () => {
      clearTimeout(slow)
      this.#bytes -= held
    })
  }

  /**
   * Runs `work(signal)` after the body has been read. The signal is aborted if the work takes too long or the client
   * disconnects, and the request is answered at that moment, even if the work does not end.
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
    const job = { began }
    this.#jobs.add(job)
    const done = work(control.signal).finally(() => this.#jobs.delete(job))
    done.catch(() => {}) // rejects the waiting request, if there still is one
    try {
      return await untilAborted(done, control.signal)
    } catch (error) {
      throw error.code === 'ERR_CLIP_BUSY' ? this.busy(error.message) : error
    } finally {
      clearTimeout(timer)
      reply.raw.off('close', gone)
      this.#milliseconds += (performance.now() - began - this.#milliseconds) / 8
    }
  }

  /** Number of requests whose work continues although it should have ended long ago: the process should be replaced. */
  get stuck() {
    const { workMs } = this.#config
    const now = performance.now()
    return [...this.#jobs].filter(({ began }) => now - began > 2 * workMs).length
  }
}
