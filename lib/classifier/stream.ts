import { onAbort, untilAborted } from '../base/abort.js'

/**
 * Maps what a source yields, keeping its order, with up to `ahead` items under way. A finished item is handed out at
 * once, even while the source has nothing new; the reader's pace holds the source back.
 */
export async function* inOrderAhead<A, B>(
  source: AsyncIterable<A> | Iterable<A>,
  ahead: number,
  signal: AbortSignal | undefined,
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
    // A source that is still thinking would keep return() waiting for as long as it thinks.
    const stopped = ended ? undefined : (async () => iterator.return?.())()
    stopped?.catch(() => {})
    if (!asked) await stopped
    await Promise.allSettled(started)
  }
}

/** What a source yields, until the signal is aborted: at once, whatever the source is waiting for. */
export async function* untilAbortedEach<T>(
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
