/** How long the turns of the event loop are while something is at work: what everybody else in the process waits for. */

import { PerformanceObserver } from 'node:perf_hooks'
import type { ExecutionContext } from 'ava'
import { testEntries } from '../../lib/native/test-entries.js'
import { child } from './child.js'

interface Turn {
  start: number
  end: number
  /** Milliseconds that the JavaScript thread computed in it. */
  computed: number
}

/**
 * The longest turn in milliseconds of processor time of this thread, which does not grow where the thread has to wait for
 * a processor. Collecting garbage is not counted: its length depends on the heap, not on the work. Node reports
 * collections in time of the clock; what a turn computed beside them is taken to be its share of the turn's time, which is
 * exact where the thread did not wait. `turnsOf` runs the cases where there are few collections.
 */
async function longestTurn(one: TurnCase): Promise<number> {
  const { threadTime } = testEntries().measure
  const turns: Turn[] = []
  const collections: { startTime: number; duration: number }[] = []
  const observer = new PerformanceObserver(list => collections.push(...list.getEntries()))
  observer.observe({ entryTypes: ['gc'] })
  let ended = false
  let start = 0
  let from = 0
  const begin = () => {
    start = performance.now()
    from = threadTime()
    setImmediate(watch)
  }
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
    if (typeof one === 'function') {
      begin()
      await one()
    } else {
      // Begins when the turn of `before` is over and none of what it has started has had one.
      const begun = new Promise<void>(resolve =>
        setImmediate(() => {
          begin()
          resolve()
        }),
      )
      const given = one.before()
      await begun
      await one.run(given)
    }
  } finally {
    ended = true
  }
  // The last turn, and what the observer has still to tell.
  await new Promise(resolve => setTimeout(resolve, 5))
  collections.push(...observer.takeRecords())
  observer.disconnect()
  collections.sort((a, b) => a.startTime - b.startTime)
  let longest = 0
  for (const { start, end, computed } of turns) {
    let collecting = 0
    let told = start
    for (const { startTime, duration } of collections) {
      // One may be told within another.
      const to = Math.min(end, startTime + duration)
      collecting += Math.max(0, to - Math.max(told, startTime))
      told = Math.max(told, to)
    }
    longest = Math.max(longest, computed * (1 - collecting / (end - start)))
  }
  return longest
}

/**
 * The least of the longest turns of some runs, which end as soon as one is under `enough`. A turn that the code makes
 * long is long in every run; one that something else made long (a function that was being compiled, memory that had to
 * come from the system) is not.
 */
async function longestTurnOf(runs: number, one: TurnCase, enough: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < runs && least >= enough; i++) {
    globalThis.gc?.()
    await new Promise(setImmediate)
    least = Math.min(least, await longestTurn(one))
  }
  return least
}

/** What a turn may compute, in milliseconds. docs/servers.md names what may take longer. */
export const mostPerTurn = 2

/** A piece of work that is measured, for itself or with what comes before it and is not measured. */
export type TurnCase =
  | (() => Promise<unknown>)
  | { before: () => unknown; run: (given: unknown) => Promise<unknown> }

/** A measured case, as the process of `turnsOf` writes it. */
interface Measured {
  name: string
  longest: number
}

/** In the process of `turnsOf`: measures the cases and writes a line for each. */
export async function measure(cases: Record<string, TurnCase>): Promise<void> {
  for (const [name, one] of Object.entries(cases)) {
    const longest = await longestTurnOf(10, one, mostPerTurn)
    process.stdout.write(`${JSON.stringify({ name, longest } satisfies Measured)}\n`)
  }
}

/**
 * Runs a group of cases of a file like turns-run.ts, in a process whose new objects have room for so long that there is
 * hardly a collection while it measures.
 */
export async function turnsOf(t: ExecutionContext, url: URL, group: string): Promise<Record<string, number>> {
  const flags = ['--expose-gc', '--min-semi-space-size=128', '--max-semi-space-size=128']
  const script = `process.argv[2] = ${JSON.stringify(group)}; await import(${JSON.stringify(url.href)})`
  const { end, stdout, stderr } = await child(script, { flags, seconds: 280 })
  t.is(end, 0, stderr)
  const measured: Measured[] = stdout.split('\n').map(line => JSON.parse(line))
  const [first] = measured.sort((a, b) => b.longest - a.longest)
  t.log(`longest turn: ${first!.longest.toFixed(2)} ms (${first!.name})`)
  return Object.fromEntries(measured.map(({ name, longest }) => [name, longest]))
}

/** No case of a group has a turn that is too long; `exceptions` may take as long as they say. */
export async function noLongTurn(
  t: ExecutionContext,
  url: URL,
  group: string,
  exceptions: Record<string, number> = {},
): Promise<void> {
  const measured = await turnsOf(t, url, group)
  for (const name of Object.keys(exceptions)) t.true(name in measured, `no case is called ${name}`)
  for (const [name, longest] of Object.entries(measured))
    t.true(longest < (exceptions[name] ?? mostPerTurn), `${name}: a turn of ${longest.toFixed(2)} ms`)
}
