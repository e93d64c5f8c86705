/**
 * Work on the JavaScript thread in slices of under a millisecond. Long work is written as a generator that yields
 * every few microseconds; all such work in the process shares one budget per turn of the event loop, so a thousand
 * calls at once do not make a turn a thousand slices long.
 */

/** Milliseconds of work per turn; under 1 with room for the step that runs over. */
const budget = 0.7

const waiting: (() => void)[] = []
let turnEnd = 0
let scheduled = false

function schedule(): void {
  scheduled = true
  setImmediate(() => {
    scheduled = false
    turnEnd = performance.now() + budget
    while (waiting.length > 0 && performance.now() < turnEnd) waiting.shift()!()
    if (waiting.length > 0 && !scheduled) schedule()
  })
}

function enqueue(turn: () => void): void {
  waiting.push(turn)
  if (!scheduled) schedule()
}

/** Steps of work that end with a value. */
export type Steps<T> = Generator<void, T, void>

/** Runs all steps, letting the event loop turn in between. Rejects with `signal.reason` when aborted. */
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
    if (!scheduled) {
      turnEnd = performance.now() + budget
      schedule()
    }
    if (waiting.length === 0 && performance.now() < turnEnd) turn()
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
