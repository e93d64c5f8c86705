/** Runs work concurrently and yields the results in the order of the input. */

import { onAbort } from './abort.js'

interface InOrderOptions {
  /** Maximum number of items in progress at a time. */
  ahead: number
  /** Ends the iteration with the signal's reason. */
  signal?: AbortSignal | undefined
  /** Called if the iteration ends early, on a failure or because the consumer stops: cancels the items in progress. */
  cancel?: () => void
}

/**
 * Maps the items of a source in order, with up to `ahead` of them in progress. A finished item is yielded at once, even
 * while the source has no new one; a slow consumer slows the source down. When the iteration ends, for whatever reason,
 * no item is left in progress.
 */
export async function* inOrder<A, B>(
  source: AsyncIterable<A> | Iterable<A>,
  { ahead, signal, cancel }: InOrderOptions,
  map: (item: A, index: number) => Promise<B>,
): AsyncGenerator<B, void, void> {
  const iterator =
    Symbol.asyncIterator in source
      ? source[Symbol.asyncIterator]()
      : (source as Iterable<A>)[Symbol.iterator]()
  type Settled<T> = { value: T } | { thrown: unknown }
  let wake = () => {}
  const settle = <T>(promise: Promise<T>, keep: (settled: Settled<T>) => void) =>
    promise
      .then(
        value => keep({ value }),
        thrown => keep({ thrown }),
      )
      .then(() => wake())
  const take = <T>(settled: Settled<T>): T => {
    if ('thrown' in settled) throw settled.thrown
    return settled.value
  }

  const running: { settled?: Settled<B> }[] = []
  const started: Promise<void>[] = []
  let asked = false
  let ended = false
  let answer: Settled<IteratorResult<A>> | undefined
  let index = 0
  const deaf = onAbort(signal, () => wake())
  try {
    for (;;) {
      signal?.throwIfAborted()
      if (answer) {
        const next = take(answer)
        answer = undefined
        asked = false
        if (next.done) ended = true
        else {
          const slot: { settled?: Settled<B> } = {}
          running.push(slot)
          started.push(
            settle(map(next.value, index++), settled => {
              slot.settled = settled
            }),
          )
        }
      }
      const head = running[0]?.settled
      if (head) {
        running.shift()
        started.shift()
        yield take(head)
        continue
      }
      if (ended && running.length === 0) return
      if (!ended && !asked && running.length < ahead) {
        asked = true
        // What a synchronous iterator throws must reject `answer` too.
        settle((async () => iterator.next())(), settled => {
          answer = settled
        })
      }
      if (answer || running[0]?.settled) continue
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
  } finally {
    deaf()
    if (!ended || running.length > 0) cancel?.()
    // return() would have to wait until the source has produced its next item.
    const stopped = ended ? undefined : (async () => iterator.return?.())()
    stopped?.catch(() => {})
    if (!asked) await stopped
    await Promise.allSettled(started)
  }
}
