/**
 * Who wants to know of a signal's abort: one listener on each signal for the whole package, however many calls share it.
 * A listener for each call would make Node.js warn of a leak from the eleventh on.
 */

interface Watch {
  acts: Set<() => void>
  /** The one listener. */
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
 * Calls `act` when the signal is aborted; not when it is aborted already. What is returned ends that, and takes the
 * listener off the signal when nobody else waits.
 */
export function onAbort(signal: AbortSignal | undefined, act: () => void): () => void {
  if (!signal) return () => {}
  const one = watches.get(signal) ?? watch(signal)
  // The same function may be given by two calls: each has an entry of its own.
  const entry = () => act()
  one.acts.add(entry)
  return () => {
    one.acts.delete(entry)
    if (one.acts.size > 0 || watches.get(signal) !== one) return
    watches.delete(signal)
    signal.removeEventListener('abort', one.tell)
  }
}

/** Waits so many milliseconds. Rejects with the signal's reason as soon as it is aborted. */
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
