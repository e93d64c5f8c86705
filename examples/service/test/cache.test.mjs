/** The cache of classifiers by itself. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { Cache } from '../src/classifiers.mjs'

const never = new AbortController().signal
const size = value => value.length

test('the cache keeps the most recently used entries, limited by number and bytes', async () => {
  const cache = new Cache({ entries: 2, bytes: 10 })
  let made = 0
  const get = key =>
    cache.get(
      key,
      async () => {
        made++
        return key
      },
      size,
      never,
    )
  await get('a')
  await get('b')
  assert.equal(await get('a'), 'a')
  assert.equal(made, 2)
  await get('c') // b goes: a was used after it
  await get('a')
  assert.equal(made, 3)
  await get('b')
  assert.equal(made, 4)
  await get('nine char')
  assert.equal(cache.size, 2)
  assert.equal(cache.bytes, 10)
  await get('this is more than the cache may hold')
  assert.equal(cache.size, 2)
  assert.equal(cache.bytes, 10)
})

test('simultaneous requests share one computation, and one that is aborted does not affect the others', async () => {
  const cache = new Cache({ entries: 2, bytes: 100 })
  let made = 0
  let finish
  const make = () => {
    made++
    return new Promise(resolve => {
      finish = resolve
    })
  }
  const leaving = new AbortController()
  const first = cache.get('a', make, size, leaving.signal)
  const second = cache.get('a', make, size, never)
  leaving.abort(new Error('gone'))
  await assert.rejects(first, /gone/)
  finish('value')
  assert.equal(await second, 'value')
  assert.equal(made, 1)
})

test('when the last request is aborted, the computation is aborted, and a later request starts a new one', async () => {
  const cache = new Cache({ entries: 2, bytes: 100 })
  const signals = []
  const make = signal => {
    signals.push(signal)
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => setTimeout(reject, 20, signal.reason))
      if (signals.length === 2) resolve('value')
    })
  }
  const leaving = new AbortController()
  const first = cache.get('a', make, size, leaving.signal)
  leaving.abort(new Error('gone'))
  await assert.rejects(first, /gone/)
  assert.ok(signals[0].aborted)
  assert.equal(await cache.get('a', make, size, never), 'value')
  await wait(40) // the first one's rejection removes nothing of the second's
  assert.equal(await cache.get('a', make, size, never), 'value')
  assert.equal(signals.length, 2)
})

test('a failure is not cached', async () => {
  const cache = new Cache({ entries: 2, bytes: 100 })
  const fail = async () => {
    throw new Error('no')
  }
  await assert.rejects(cache.get('a', fail, size, never), /no/)
  assert.equal(await cache.get('a', async () => 'yes', size, never), 'yes')
  assert.equal(cache.size, 1)
})
