/** How long the event loop is held up by a store of many items: each turn is a slice, whatever is asked. */

import { entriesTest as test } from '../helpers/entries-test.js'
import { noLongTurn } from '../helpers/turns.js'

test(
  'no operation on a store of 60 000 items blocks the event loop for long',
  noLongTurn,
  new URL('./turns-run.js', import.meta.url),
  'all',
)
