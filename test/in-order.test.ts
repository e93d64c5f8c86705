/** lib/base/in-order.ts: work that overlaps and keeps its order, and what becomes of it when it ends early. */

import test from 'ava'
import { inOrder } from '../lib/base/in-order.js'

const turn = () => new Promise(resolve => setImmediate(resolve))

/** Work whose items end when they are told to. */
function work() {
  const open = new Map<number, { resolve: (value: string) => void; reject: (reason: Error) => void }>()
  let most = 0
  return {
    open,
    /** The most items that were under way at a time. */
    most: () => most,
    run: (item: number) =>
      new Promise<string>((resolve, reject) => {
        open.set(item, { resolve, reject })
        most = Math.max(most, open.size)
      }).finally(() => open.delete(item)),
  }
}

/** Yields 0, 1, 2, ... and notes that it was closed. */
function counting() {
  const state = { given: 0, closed: false }
  async function* source() {
    try {
      for (;;) yield state.given++
    } finally {
      state.closed = true
    }
  }
  return { state, source: source() }
}

test('results keep the order of the source, and no more than `ahead` items are under way', async t => {
  const { open, most, run } = work()
  const results: string[] = []
  const reading = (async () => {
    for await (const result of inOrder([0, 1, 2, 3, 4], { ahead: 2 }, run)) results.push(result)
  })()
  // The later of the two ends first, each time.
  for (const [second, first] of [
    [1, 0],
    [3, 2],
  ] as const) {
    while (open.size < 2) await turn()
    open.get(second)!.resolve(`${second}`)
    await turn()
    open.get(first)!.resolve(`${first}`)
    await turn()
  }
  while (!open.has(4)) await turn()
  open.get(4)!.resolve('4')
  await reading
  t.deepEqual(results, ['0', '1', '2', '3', '4'])
  t.is(most(), 2)
})

test('a failure cancels the running items, and is thrown when none of them runs any more', async t => {
  const { open, run } = work()
  const { state, source } = counting()
  let cancelled = 0
  const cancel = () => {
    cancelled++
    open.get(1)?.reject(new Error('cancelled'))
  }
  const reading = inOrder(source, { ahead: 2, cancel }, run).next()
  reading.catch(() => {})
  while (open.size < 2) await turn()
  open.get(0)!.reject(new Error('the first'))
  await t.throwsAsync(reading, { message: 'the first' })
  t.is(cancelled, 1)
  t.is(open.size, 0)
  t.true(state.closed)
})

test('a failure of the source cancels the running items and is thrown', async t => {
  const { open, run } = work()
  const source = (async function* () {
    yield 0
    throw new Error('no more')
  })()
  const reading = inOrder(source, { ahead: 2, cancel: () => open.get(0)?.resolve('late') }, run).next()
  await t.throwsAsync(reading, { message: 'no more' })
  t.is(open.size, 0)
})

test('a consumer that stops early cancels the running items, and the source is closed', async t => {
  const { open, run } = work()
  const { state, source } = counting()
  let cancelled = 0
  const cancel = () => {
    cancelled++
    for (const { resolve } of open.values()) resolve('cancelled')
  }
  for await (const result of inOrder(source, { ahead: 3, cancel }, item =>
    item === 0 ? Promise.resolve('0') : run(item),
  )) {
    t.is(result, '0')
    break
  }
  t.is(cancelled, 1)
  t.is(open.size, 0)
  t.true(state.closed)
})

test('items that succeed are not cancelled', async t => {
  const cancel = () => t.fail('cancelled')
  const results: number[] = []
  for await (const result of inOrder([1, 2, 3], { ahead: 2, cancel }, async item => item * 2))
    results.push(result)
  t.deepEqual(results, [2, 4, 6])
})
