/** Native jobs outside a model's queue: their numbers, and how they are cancelled. */

import { onAbort } from '../base/abort.js'
import { fromNative } from './addon.js'

let lastJob = 0
/** A number that names one native job in this environment. */
export function nextJob(): number {
  lastJob = (lastJob + 1) % 2 ** 31
  return lastJob
}

/**
 * One native job outside a model's queue (a load, a training, a search in a file), cancelled when the signal is aborted.
 * Rejects with the signal's reason.
 */
export async function cancellable<T>(
  signal: AbortSignal | undefined,
  start: (job: number) => Promise<T>,
  cancelJob: (job: number) => void,
): Promise<T> {
  signal?.throwIfAborted()
  const job = nextJob()
  const cancel = () => cancelJob(job)
  const deaf = onAbort(signal, cancel)
  try {
    return await fromNative(() => start(job), signal)
  } finally {
    deaf()
  }
}
