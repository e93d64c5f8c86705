/**
 * Embeds images again, compacts, and so on until it is killed: `node compact-child.js MODEL STORE PICTURE...`. Says
 * when a compaction begins and when it is done.
 */

import { utimes } from 'node:fs/promises'
import { load } from '../../lib/index.js'

const [model, store, ...pictures] = process.argv.slice(2)
const clip = await load(model || undefined, { threads: 1 })
const open = await clip.openStore(store!)
for (let turn = Date.now() / 1000; ; turn++) {
  for (const picture of pictures) await utimes(picture, turn, turn)
  await open.add(pictures)
  process.stdout.write('begun\n')
  await open.compact()
  process.stdout.write('done\n')
}
