/** How long the event loop is held up by a store of many items: each turn is a slice, whatever is asked. */

import { entriesTest as test } from '../helpers/entries-test.js'
import { noLongTurn } from '../helpers/turns.js'

test(
  'a store of 60 000 items: opening, known ids, a search for 20 000, all ids and near duplicates hold no turn',
  noLongTurn,
  new URL('./turns-run.js', import.meta.url),
  'all',
)
