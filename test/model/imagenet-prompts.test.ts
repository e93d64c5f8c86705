/**
 * The 80 000 prompts of CLIP's ImageNet ensemble: 1000 names in 80 templates. Padded to 77 they are 6 160 000 rows, cut
 * at the end token 769 212, as a prefix trie 328 378.
 */

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { packageRoot } from '../../lib/binding.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { templates } from '../../lib/index.js'
import { createTokenizer } from '../../lib/tokenizer/index.js'
import { nightly } from '../helpers/nightly.js'
import { writeTinyModel } from '../helpers/tiny-model.js'
import { encodeIds, loadNative } from './native-model.js'
import type { PromptsGrowth } from './prompts-growth.js'

const names: string[] = JSON.parse(readFileSync(join(packageRoot, 'test/data/imagenet-classes.json'), 'utf8'))
const prompts = templates.imagenet80.flatMap(template => names.map(name => template.replaceAll('{}', name)))

let folder = ''
test.before(async () => {
  folder = await writeTinyModel(await mkdtemp(join(tmpdir(), 'clip-native-')))
})
test.after.always(() => rm(folder, { recursive: true, force: true }))

/** `model`: a folder; without one the embedded model. */
async function builds(t: ExecutionContext, width: number, ...model: string[]): Promise<void> {
  t.timeout(10 * 60_000)
  // In a process of its own: nobody else's memory is counted.
  const script = join(packageRoot, 'dist/test/model/prompts-growth.js')
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script, ...model])
  const growth = JSON.parse(stdout) as PromptsGrowth
  t.is(growth.done, 80_000)
  t.deepEqual(growth.shape, [1000, width])
  t.log(`peak RSS ${(growth.grownBytes / 1e6).toFixed(0)} MB above RSS after load`)
  // DESIGN: peak RSS of a call minus RSS after load is under 256 MB plus the returned data.
  const bound = 256e6 + 4 * growth.shape[0]! * growth.shape[1]!
  t.true(growth.grownBytes <= bound, `grew by ${growth.grownBytes}, more than ${bound}`)
  if (growth.measured) t.true(growth.grownBytes > 1e6, 'something was measured')
}

test.serial('clip.classifier builds from them within the memory bound', t => builds(t, 16, folder))
nightly('and so it does on the embedded model', t => builds(t, 192))

test.serial('769 212 tokens are 328 378 nodes of one trie', async t => {
  const { model: spec, preprocess, tokenizer: family } = await readCheckpoint(folder)
  const tokenizer = await createTokenizer(family)
  const texts = (await tokenizer.encodeAll(prompts, {})).map(one => one.ids)
  t.is(texts.length, 80_000)
  t.is(
    texts.reduce((n, ids) => n + ids.length, 0),
    769_212,
  )
  const model = await loadNative(spec, preprocess, { threads: 2 })
  await encodeIds(model, texts)
  const { textNodes, textRows } = model.counters()
  t.is(textNodes, 328_378)
  // Each chunk of 8192 rows computes the path above it again.
  t.true(
    textRows - textNodes <= Math.ceil(328_378 / 8192 + 1) * 20,
    `${textRows - textNodes} rows computed again`,
  )
  await model.dispose()
})
