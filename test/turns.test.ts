/**
 * The longest turn of the event loop, in processor time of the JavaScript thread, while the package works on what is
 * hardest on it (turns-run.ts). Collections of garbage are not counted.
 */

import { entriesTest as test } from './helpers/entries-test.js'
import { isNightly } from './helpers/nightly.js'
import { mostPerTurn, noLongTurn, turnsOf } from './helpers/turns.js'

const cases = new URL('./turns-run.js', import.meta.url)

test.serial('the measurement finds one turn of 3 ms among a thousand short ones', async t => {
  const longest = await turnsOf(t, cases, 'planted')
  t.true(longest['no long turn']! < mostPerTurn)
  t.true(longest['one turn of 3 ms']! >= 3)
})

test.serial('no text blocks the event loop, whatever it contains', noLongTurn, cases, 'texts')

test.serial('no text and no vocabulary of a file blocks the event loop', noLongTurn, cases, 'vocabularies')

test.serial('no list of labels, templates or scores blocks the event loop', noLongTurn, cases, 'lists')

test.serial('thousands of waiting calls share the turns of the event loop', noLongTurn, cases, 'waiting')

/** "A checkpoint with a table of tens of thousands of names" in docs/servers.md. Those of the day are smaller. */
const manyNames = 3

test.serial(
  'no JSON file, header, archive or folder blocks the event loop',
  noLongTurn,
  cases,
  'files',
  isNightly ? { 'a header of many tensors': manyNames, 'an archive of many entries': manyNames } : {},
)
