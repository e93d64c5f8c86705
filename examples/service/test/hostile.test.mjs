/** A few hundred of the requests that `npm run hostile` sends ten thousand of. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostile } from '../bench/hostile.mjs'

test('of mixed good and bad requests, each gets a correct answer or a clear error, and files and memory are released', async () => {
  const { wrong, statuses, memory, files } = await hostile({ requests: 600, concurrency: 12, seed: 7 })
  assert.deepEqual(wrong, [])
  for (const status of [200, 400, 413, 415, 422, 'left']) assert.ok(statuses[status] > 0, `${status}`)
  // Files: the connections that are kept alive at most. Memory: the first tenths warm caches and pools up.
  assert.ok(files.at(-1) <= Math.max(...files.slice(0, 5)) + 12, `${files}`)
  const [warm, end] = [Math.max(...memory.slice(2, 5)), memory.at(-1)]
  assert.ok(end < warm + 64 * 2 ** 20, `${memory}`)
})
