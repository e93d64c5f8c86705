/** How long the turns of the event loop are while something is at work: what everybody else in the process waits for. */

import { PerformanceObserver } from 'node:perf_hooks'
import { inSlices, type Steps } from '../../lib/base/slices.js'
import { binding } from '../../lib/native/addon.js'

interface Turn {
  start: number
  end: number
  /** Milliseconds that the JavaScript thread computed in it. */
  computed: number
}

/**
 * The longest turn in milliseconds of processor time of this thread, which does not grow where the machine is busy.
 * Collecting garbage is not counted: its length is the heap's affair, not that of the work.
 */
export async function longestTurn(work: () => Promise<unknown>): Promise<number> {
  const { threadTime } = binding().measure
  const turns: Turn[] = []
  const collections: { startTime: number; duration: number }[] = []
  const observer = new PerformanceObserver(list => collections.push(...list.getEntries()))
  observer.observe({ entryTypes: ['gc'] })
  let ended = false
  let start = performance.now()
  let from = threadTime()
  const watch = () => {
    const end = performance.now()
    const computed = threadTime() - from
    if (computed > 0.5) turns.push({ start, end, computed })
    if (ended) return
    start = end
    from = threadTime()
    setImmediate(watch)
  }
  try {
    setImmediate(watch)
    await work()
  } finally {
    ended = true
  }
  // The last turn, and what the observer has still to tell.
  await new Promise(resolve => setTimeout(resolve, 5))
  collections.push(...observer.takeRecords())
  observer.disconnect()
  let longest = 0
  for (const { start, end, computed } of turns) {
    let collecting = 0
    for (const { startTime, duration } of collections)
      if (startTime >= start && startTime < end) collecting += duration
    // Collections are told in time of the clock, and the thread had its share of that.
    const own = computed * Math.max(0, 1 - collecting / (end - start))
    longest = Math.max(longest, own)
  }
  return longest
}

/** Small objects made in the finest slices for a tenth of a second and more: its turns are as short as any can be. */
function* fineWork(): Steps<number> {
  const end = performance.now() + 150
  let kept: string[] = []
  for (let i = 0; performance.now() < end; i++) {
    kept.push(`text ${i}`)
    if (kept.length === 50_000) kept = []
    if (i % 16 === 0) yield
  }
  return kept.length
}

/** Milliseconds that the longest turn of `fineWork` takes at most where the machine has nothing else to do. */
const undisturbed = 1

/**
 * How much longer turns seem now than they are, from 1 to 2. Processor time does grow where the machine is busy: a
 * neighbour on the same core takes its caches and half of its units, and a collection that waits for its helper threads
 * is hard to tell from the turn around it. Work whose slices can't be shorter shows by how much. It is the best of three,
 * so that a single mishap excuses nothing.
 */
export async function disturbance(): Promise<number> {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 3; i++) best = Math.min(best, await longestTurn(() => inSlices(fineWork())))
  return Math.min(2, Math.max(1, best / undisturbed))
}

/**
 * The longest turn in the best of some runs, until one is under `enough`: what the code needs, not what befell a run. A
 * turn that is longer is held against what the machine does to turns in the same second.
 */
export async function longestTurnOf(runs: number, work: () => Promise<unknown>, enough = 0): Promise<number> {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < runs && best >= enough; i++) {
    const longest = await longestTurn(work)
    best = Math.min(best, longest < enough ? longest : longest / (await disturbance()))
  }
  return best
}
