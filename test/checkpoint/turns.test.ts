/** The event loop goes on turning while a training checkpoint of thousands of tensors is looked through. */

import { mkdtempSync, readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { entriesTest as test } from '../helpers/entries-test.js'
import { longestTurnOf } from '../helpers/turns.js'
import { goldenFolder } from './goldens.js'
import { readTensors, type Stored, safetensors, savedDict } from './torch-files.js'

const scratch = mkdtempSync(join(tmpdir(), 'clip-native-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

const plain = readTensors(readFileSync(join(goldenFolder, 'trained', 'plain.safetensors')))
/** What AdamW and an average of ViT-H's 900 parameters would be, and more. */
const all = new Map<string, Stored>([...plain].map(([name, value]) => [`model.${name}`, value]))
for (let i = 0; i < 6000; i++)
  all.set(`optimizer.state.${i}.exp_avg`, { dtype: 'F32', shape: [1], data: Buffer.alloc(4) })

for (const [kind, data] of [
  ['a pickle', savedDict(all)],
  ['a safetensors file', safetensors(all)],
] as const)
  test.serial(`6000 tensors beside the model, in ${kind}: no turn takes 2 ms`, async t => {
    const file = join(scratch, kind.replaceAll(' ', '-'))
    await writeFile(file, data)
    const open = () => readCheckpoint(file, { activation: 'quickGelu', heads: 1 })
    t.deepEqual([...(await open()).ignored], ['optimizer.* (6000)'])
    const longest = await longestTurnOf(5, open)
    t.log(`longest turn: ${longest.toFixed(2)} ms of processor time`)
    t.true(longest < 2, `${longest} ms`)
  })
