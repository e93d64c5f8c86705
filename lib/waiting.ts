/** Waiting for what may never come. */

import { onAbort } from './abort.js'

/** How long something may take, and what is thrown when it took longer. */
export interface TimeLimit {
  ms: number
  fault(): Error
}

/** The promise, or a rejection with `signal.reason` as soon as it aborts, or with the limit's error after its time. */
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
