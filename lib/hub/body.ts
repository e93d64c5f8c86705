/** The bytes of an answer in the order they came, those just before a cut included. */

import type { Readable } from 'node:stream'

/** So much may lie here unread before the connection is held back. */
const most = 2 ** 20

/**
 * A stream that fails throws away what nobody has read yet; a server that cuts early every time would so never be
 * downloaded from. This one takes the bytes as they come, hands all of them out, and only then throws the failure.
 */
export class Body implements AsyncIterable<Buffer> {
  private readonly queue: Buffer[] = []
  private queued = 0
  private ended = false
  private failure: unknown
  private wake = () => {}

  constructor(private readonly stream: Readable) {
    stream.on('data', (piece: Buffer) => {
      this.queue.push(piece)
      this.queued += piece.length
      if (this.queued > most) stream.pause()
      this.wake()
    })
    stream.on('end', () => this.end(undefined))
    stream.on('error', error => this.end(error))
    stream.on('close', () => this.end(new Error('the connection was closed')))
  }

  private end(failure: unknown) {
    if (this.ended) return
    this.ended = true
    this.failure = failure
    this.wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const piece = this.queue.shift()
        if (piece !== undefined) {
          this.queued -= piece.length
          if (this.stream.isPaused() && this.queued <= most) this.stream.resume()
          yield piece
        } else if (this.ended) {
          if (this.failure !== undefined) throw this.failure
          return
        } else
          await new Promise<void>(wake => {
            this.wake = wake
          })
      }
    } finally {
      this.destroy()
    }
  }

  /** Ends the connection if it is still open. */
  destroy() {
    this.end(new Error('the answer was dropped'))
    this.stream.destroy()
  }
}
