/** The running and waiting calls of one model: how many may wait, how they are cancelled, and what dispose does to them. */

import { onAbort } from '../base/abort.js'
import { ClipError } from '../base/errors.js'
import { inOrder } from '../base/in-order.js'
import { fromNative } from '../native/addon.js'
import { nextJob } from '../native/jobs.js'
import type { NativeModel } from '../native/surface.js'

/** One call of the public API: any number of native jobs, which are cancelled together when its signal is aborted. */
export class Call {
  readonly signal: AbortSignal | undefined
  readonly #model: NativeModel
  readonly #calls: Calls
  readonly #jobs = new Set<number>()

  readonly #closed: () => void
  /** Stops listening to the signal. */
  readonly #deaf: () => void

  constructor(calls: Calls, model: NativeModel, signal: AbortSignal | undefined, closed: () => void) {
    this.#closed = closed
    this.signal = signal
    this.#calls = calls
    this.#model = model
    this.#deaf = onAbort(signal, this.cancel)
  }

  /** Starts one native job; its promise settles when native code no longer needs the buffers it was given. */
  async submit<T>(start: (model: NativeModel, job: number) => Promise<T>): Promise<T> {
    this.signal?.throwIfAborted()
    this.#calls.throwIfDisposed()
    const job = nextJob()
    this.#jobs.add(job)
    try {
      return await fromNative(() => start(this.#model, job), this.signal)
    } finally {
      this.#jobs.delete(job)
    }
  }

  /** Cancels every job of this call that has not finished. */
  readonly cancel = (): void => {
    for (const job of this.#jobs) this.#model.cancel(job)
  }

  /** Releases the call's place in the queue, once. */
  close(): void {
    this.#deaf()
    this.#closed()
  }

  /**
   * Runs windows of work in order, two at a time: while native code computes one, the next is being prepared. `done` is
   * called for each in order. The first failure cancels the jobs that are still running, and is thrown once none is running.
   */
  async inOrder<W>(
    windows: AsyncIterable<W>,
    run: (window: W) => Promise<void>,
    done: (window: W) => void,
  ): Promise<void> {
    const ran = inOrder(windows, { ahead: 2, cancel: this.cancel }, async window => {
      await run(window)
      return window
    })
    for await (const window of ran) done(window)
  }
}

export class Calls {
  readonly #model: NativeModel
  readonly #maxQueue: number
  #active = 0
  #disposed: Promise<void> | undefined

  constructor(model: NativeModel, maxQueue: number) {
    this.#model = model
    this.#maxQueue = maxQueue
  }

  throwIfDisposed(): void {
    if (this.#disposed) throw new ClipError('ERR_CLIP_DISPOSED', 'This model was disposed')
  }

  /** Admits one call; `close` ends it. Throws ERR_CLIP_DISPOSED, or ERR_CLIP_BUSY if maxQueue calls are waiting already. */
  enter(signal: AbortSignal | undefined): Call {
    this.throwIfDisposed()
    signal?.throwIfAborted()
    const waiting = this.#active - 1
    if (waiting >= this.#maxQueue)
      throw new ClipError(
        'ERR_CLIP_BUSY',
        `${waiting} calls are waiting, as many as maxQueue allows: try again later`,
        { field: 'maxQueue', expected: `at most ${this.#maxQueue} waiting calls`, actual: `${waiting + 1}` },
      )
    this.#active++
    return new Call(this, this.#model, signal, () => {
      this.#active--
    })
  }

  /** One call from admission to its end. */
  async run<T>(signal: AbortSignal | undefined, work: (call: Call) => Promise<T>): Promise<T> {
    const call = this.enter(signal)
    try {
      return await work(call)
    } finally {
      call.close()
    }
  }

  /** Running jobs finish, and queued ones reject with ERR_CLIP_DISPOSED. Every call returns the same promise. */
  dispose(): Promise<void> {
    this.#disposed ??= fromNative(() => this.#model.dispose())
    return this.#disposed
  }
}
