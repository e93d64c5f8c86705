/**
 * Embeds images again, compacts, and so on until it is killed: `node compact-child.js MODEL STORE IMAGE...`. Says
 * when a compaction begins and when it is done.
 */

import { utimes } from 'node:fs/promises'
import { load } from '../../lib/index.js'

const [model, store, ...images] = process.argv.slice(2)
const clip = await load(model || undefined, { threads: 1 })
const open = await clip.openStore(store!)
for (let turn = Date.now() / 1000; ; turn++) {
  for (const image of images) await utimes(image, turn, turn)
  await open.add(images)
  process.stdout.write('begun\n')
  await open.compact()
  process.stdout.write('done\n')
}
