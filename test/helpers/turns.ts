/** How long the turns of the event loop are while something is at work: what everybody else in the process waits for. */

import { PerformanceObserver } from 'node:perf_hooks'
import { testEntries } from '../../lib/native/test-entries.js'

interface Turn {
  start: number
  end: number
  /** Milliseconds that the JavaScript thread computed in it. */
  computed: number
}

/**
 * The longest turn in milliseconds of processor time of this thread, which does not grow where the thread has to wait for
 * a processor. Collecting garbage is not counted: its length depends on the heap, not on the work. Node reports
 * collections in time of the clock, which is at least what they took of the processor, so a turn that had one counts with
 * no more than it was: on a machine with nothing else to do with exactly that, on a busy one perhaps with less.
 */
export async function longestTurn(work: () => Promise<unknown>): Promise<number> {
  const { threadTime } = testEntries().measure
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
    longest = Math.max(longest, computed - collecting)
  }
  return longest
}

/**
 * The least of the longest turns of some runs, which end as soon as one is under `enough`. A turn that the code makes
 * long is long in every run; one that something else made long (a function that was being compiled, memory that had to
 * come from the system) is not.
 */
export async function longestTurnOf(runs: number, work: () => Promise<unknown>, enough = 0): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < runs && least >= enough; i++) least = Math.min(least, await longestTurn(work))
  return least
}
