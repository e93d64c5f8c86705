/** The body of a response: yields every byte that arrived, including those just before a connection failed. */

import type { Readable } from 'node:stream'

/** Unread bytes to buffer before the connection is paused. */
const most = 2 ** 20

/**
 * A Node stream that fails discards its unread data, so a download could make no progress from a server that always cuts the
 * connection early. This reader takes the bytes as they arrive, yields all of them, and only then throws the error.
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

  /** Closes the connection if it is still open. */
  destroy() {
    this.end(new Error('the answer was dropped'))
    this.stream.destroy()
  }
}
