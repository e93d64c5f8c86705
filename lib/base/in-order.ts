/** Work that overlaps and whose results keep their order. */

import { onAbort } from './abort.js'

interface InOrderOptions {
  /** The most items that are under way at a time. */
  ahead: number
  /** Ends the waiting: the reader gets its reason. */
  signal?: AbortSignal | undefined
  /** Called when this ends early, by a failure or because the reader leaves: cancels what still runs. */
  cancel?: () => void
}

/**
 * Maps what a source yields, keeping its order, with up to `ahead` items under way. A finished item is handed out at
 * once, even while the source has nothing new; the reader's pace holds the source back. When this ends, in whatever way,
 * nothing runs any more.
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
        // A synchronous iterator that throws must end up in `answer` too.
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
    // A source that is still thinking would keep return() waiting for as long as it thinks.
    const stopped = ended ? undefined : (async () => iterator.return?.())()
    stopped?.catch(() => {})
    if (!asked) await stopped
    await Promise.allSettled(started)
  }
}
