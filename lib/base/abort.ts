/**
 * Waiting that an AbortSignal or a time limit ends. There is one listener on each signal for the whole package, however
 * many calls share the signal: with a listener for each call, Node.js would warn of a leak from the eleventh call on.
 */

interface Watch {
  acts: Set<() => void>
  /** The listener of this package on the signal. */
  tell: () => void
}

const watches = new WeakMap<AbortSignal, Watch>()

function watch(signal: AbortSignal): Watch {
  const acts = new Set<() => void>()
  const tell = () => {
    watches.delete(signal)
    for (const act of [...acts]) act()
  }
  const one = { acts, tell }
  watches.set(signal, one)
  signal.addEventListener('abort', tell, { once: true })
  return one
}

/**
 * Calls `act` when the signal is aborted, but not if it is aborted already. The returned function cancels that, and removes
 * the listener from the signal if no other call uses it.
 */
export function onAbort(signal: AbortSignal | undefined, act: () => void): () => void {
  if (!signal) return () => {}
  const one = watches.get(signal) ?? watch(signal)
  // Two calls may pass the same function, so each call has its own entry.
  const entry = () => act()
  one.acts.add(entry)
  return () => {
    one.acts.delete(entry)
    if (one.acts.size > 0 || watches.get(signal) !== one) return
    watches.delete(signal)
    signal.removeEventListener('abort', one.tell)
  }
}

/** Waits `ms` milliseconds. Rejects with the signal's reason as soon as it is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason)
      return
    }
    const timer = setTimeout(() => {
      leave()
      resolve()
    }, ms)
    const leave = onAbort(signal, () => {
      clearTimeout(timer)
      reject(signal!.reason)
    })
  })
}

/** A time limit, and the error that is thrown when it is exceeded. */
export interface TimeLimit {
  ms: number
  fault(): Error
}

/** Settles like the promise, or rejects with `signal.reason` at an abort, or with the limit's error after its time. */
export function untilAborted<T>(promise: Promise<T>, signal?: AbortSignal, limit?: TimeLimit): Promise<T> {
  if (!signal && !limit) return promise
  if (signal?.aborted) {
    promise.catch(() => {})
    return Promise.reject(signal.reason)
  }
  return new Promise((resolve, reject) => {
    const deaf = onAbort(signal, () => reject(signal!.reason))
    const timer = limit && setTimeout(() => reject(limit.fault()), limit.ms)
    promise.then(resolve, reject).finally(() => {
      deaf()
      clearTimeout(timer)
    })
  })
}

/** Yields the same items, but stops waiting for the next one as soon as the signal is aborted, whatever the source is doing. */
export async function* abortable<T>(
  source: AsyncIterable<T> | Iterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void, void> {
  const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
  let isOpen = true
  try {
    for (;;) {
      const next = await untilAborted(
        (async () => iterator.next())().catch(error => {
          isOpen = false
          throw error
        }),
        signal,
      )
      if (next.done) {
        isOpen = false
        return
      }
      yield next.value
      signal?.throwIfAborted()
    }
  } finally {
    if (isOpen) {
      const stopped = (async () => iterator.return?.())()
      stopped.catch(() => {})
      // A source that does not answer would keep the caller waiting.
      if (!signal?.aborted) await stopped
    }
  }
}
