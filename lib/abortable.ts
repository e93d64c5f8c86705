/** Waiting for what can't be cancelled, no longer than until a signal is aborted. */

import { onAbort } from './abort.js'

/** Settles as the promise does, or rejects with the signal's reason as soon as that is aborted. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise
  return new Promise<T>((resolve, reject) => {
    const stop = () => reject(signal.reason)
    if (signal.aborted) stop()
    const deaf = onAbort(signal, stop)
    promise.then(resolve, reject).finally(deaf)
  })
}

/** The same items; waiting for the next one ends when the signal is aborted. */
export async function* abortable<T>(
  source: AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void, void> {
  const iterator = source[Symbol.asyncIterator]()
  let ended = false
  try {
    for (;;) {
      const next = await unlessAborted(Promise.resolve(iterator.next()), signal)
      ended = next.done === true
      if (ended) return
      yield next.value
    }
  } finally {
    // Not awaited: a source that does not answer does not end either.
    if (!ended) void Promise.resolve(iterator.return?.()).catch(() => {})
  }
}
