/**
 * The 80 000 prompts of CLIP's ImageNet ensemble: 1000 names in 80 templates. Padded to 77 they are 6 160 000 rows, cut
 * at the end token 769 212, as a prefix trie 328 378.
 */

import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/binding.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { load, templates } from '../../lib/index.js'
import { createTokenizer } from '../../lib/tokenizer/index.js'
import { writeTinyModel } from '../helpers/tiny-model.js'
import { encodeIds, loadNative } from './native-model.js'

const names: string[] = JSON.parse(readFileSync(join(packageRoot, 'test/data/imagenet-classes.json'), 'utf8'))
const prompts = templates.imagenet80.flatMap(template => names.map(name => template.replaceAll('{}', name)))

let folder = ''
test.before(async () => {
  folder = await writeTinyModel(await mkdtemp(join(tmpdir(), 'clip-native-')))
})
test.after.always(() => rm(folder, { recursive: true, force: true }))

test.serial(
  'clip.classifier builds from them within the memory bound, in rows close to the trie',
  async t => {
    const clip = await load(folder)
    globalThis.gc?.()
    const before = process.memoryUsage.rss()
    let peak = before
    let done = 0
    const classifier = await clip.classifier(names, {
      templates: templates.imagenet80,
      onProgress: progress => {
        done = progress.done
        peak = Math.max(peak, process.memoryUsage.rss())
      },
    })
    t.is(done, 80_000)
    t.deepEqual(classifier.embeddings.shape, [1000, clip.info.embedDim])
    // DESIGN: peak RSS of a call minus RSS after load is under 256 MB plus the returned data.
    t.true(peak - before < 256 * 2 ** 20, `${((peak - before) / 2 ** 20).toFixed(0)} MB`)
    t.log(`peak RSS ${((peak - before) / 2 ** 20).toFixed(0)} MB above RSS after load`)
    await clip.dispose()
  },
)

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
