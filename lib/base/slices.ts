/**
 * Work on the JavaScript thread in slices of under a millisecond. Long work is written as a generator that yields
 * every few microseconds; all such work in the process shares one budget per turn of the event loop, so a thousand
 * calls at once do not make a turn a thousand slices long.
 */

/** Milliseconds of work per turn; under 1 with room for the step that runs over. */
const budget = 0.7

/** Waiting work, first come, first served; entries before `first` have been served. */
let waiting: (() => void)[] = []
let first = 0
let turnEnd = 0
let scheduled = false

function schedule(): void {
  scheduled = true
  setImmediate(() => {
    turnEnd = performance.now() + budget
    void run()
  })
}

/**
 * Resumes waiting work, one piece after the other, until the turn's budget is spent. An awaiting function continues some
 * microtasks after it is resumed, so the next one is resumed after those: if all were resumed at once, each would take a
 * step beyond the budget.
 */
async function run(): Promise<void> {
  const idle = waiting.length === 0
  while (first < waiting.length && performance.now() < turnEnd) {
    const next = waiting[first]!
    first++
    next()
    for (let i = 0; i < microtasks; i++) await undefined
  }
  if (first === waiting.length || first > 4096) {
    waiting = waiting.slice(first)
    first = 0
  }
  // Scheduled once more after the last piece of work, because work that begins in this turn still belongs to its budget.
  if (idle && waiting.length === 0) scheduled = false
  else schedule()
}

/** Microtasks from the end of a promise to the line after the `await` of an async function that awaits it, with a margin. */
const microtasks = 4

function enqueue(turn: () => void): void {
  waiting.push(turn)
  if (!scheduled) schedule()
}

/**
 * Starts the turn's budget, if this is the first work since the last turn of the event loop. For callers that do something
 * long in one go (copy an array) and continue in slices.
 */
export function startTurn(): void {
  if (scheduled) return
  turnEnd = performance.now() + budget
  schedule()
}

/** Steps of work that end with a value. */
export type Steps<T> = Generator<void, T, void>

/** Runs all steps and lets the event loop turn in between. Rejects with `signal.reason` when aborted. */
export function inSlices<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const turn = (): void => {
      try {
        signal?.throwIfAborted()
        do {
          const step = steps.next()
          if (step.done) {
            resolve(step.value)
            return
          }
        } while (performance.now() < turnEnd)
      } catch (error) {
        reject(error)
        return
      }
      enqueue(turn)
    }
    startTurn()
    if (first === waiting.length && performance.now() < turnEnd) turn()
    else enqueue(turn)
  })
}

/** Runs all steps without a pause: for the synchronous calls. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/**
 * Sorts in steps, with the same result as items.sort(compare): the engine sorts parts, which are merged so that equal items
 * keep their order.
 */
export function* sorted<T>(items: readonly T[], compare: (a: T, b: T) => number): Steps<T[]> {
  const part = 64
  let runs: T[][] = []
  for (let from = 0; from < items.length; from += part) {
    runs.push(items.slice(from, from + part).sort(compare))
    yield
  }
  while (runs.length > 1) {
    const merged: T[][] = []
    for (let i = 0; i < runs.length; i += 2) {
      const [left, right = []] = [runs[i]!, runs[i + 1]]
      const both: T[] = []
      for (let l = 0, r = 0; l < left.length || r < right.length; ) {
        const first = r === right.length || (l < left.length && compare(left[l]!, right[r]!) <= 0)
        if (both.push(first ? left[l++]! : right[r++]!) % 128 === 0) yield
      }
      merged.push(both)
    }
    runs = merged
  }
  return runs[0] ?? []
}

/** Slices of loops: `if (slices.due()) await slices.pause(signal)` ends a slice when the turn's budget is spent. */
export class Slices {
  constructor() {
    startTurn()
  }

  due(): boolean {
    return performance.now() >= turnEnd
  }

  /** Lets other events run. Throws the signal's reason when it was aborted meanwhile. */
  async pause(signal?: AbortSignal): Promise<void> {
    await new Promise<void>(enqueue)
    signal?.throwIfAborted()
  }
}

/** target.set(source, at) in pieces of 256 KiB at most. */
export async function copySlices<T extends Float32Array | Uint8Array>(
  target: T,
  source: T,
  at: number,
): Promise<void> {
  const piece = 65536
  const slices = new Slices()
  for (let i = 0; i < source.length; i += piece) {
    target.set(source.subarray(i, Math.min(i + piece, source.length)), at + i)
    if (slices.due()) await slices.pause()
  }
}
