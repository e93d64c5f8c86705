/**
 * The 80 000 prompts of CLIP's ImageNet ensemble: 1000 names in 80 templates. Padded to 77 they are 6 160 000 rows, cut
 * at the end token 769 212, as a prefix trie 328 378. With the embedded model's own vocabulary: 2 560 000 (its context
 * is 32), 901 480 and 382 238.
 */

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { load, promptSet, templates } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import type { NativeModel } from '../../lib/native/surface.js'
import { createTokenizer } from '../../lib/tokenizer/index.js'
import { nightly } from '../helpers/nightly.js'
import { patience } from '../helpers/patience.js'
import { writeTinyModel } from '../helpers/tiny-model.js'
import { embeddedFolder, encodeIds, loadNative } from './native-model.js'
import type { PromptsGrowth } from './prompts-growth.js'

const names: string[] = JSON.parse(readFileSync(join(packageRoot, 'test/data/imagenet-classes.json'), 'utf8'))
const prompts = templates.imagenet80.flatMap(template => names.map(name => template.replaceAll('{}', name)))

test("the names and templates of ImageNet are those of the paper's prompt set", async t => {
  t.deepEqual(await promptSet('ImageNet'), { labels: names, templates: [...templates.imagenet80] })
})

let folder = ''
test.before(async () => {
  folder = await writeTinyModel(await mkdtemp(join(tmpdir(), 'clip-native-')))
})
test.after.always(() => rm(folder, { recursive: true, force: true }))

/** `model`: a folder; without one the embedded model. */
async function builds(t: ExecutionContext, width: number, ...model: string[]): Promise<void> {
  t.timeout(patience * 10 * 60_000)
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

test.serial('clip.classifier encodes the ImageNet prompts within the memory bound', t =>
  builds(t, 16, folder),
)
nightly('clip.classifier encodes the ImageNet prompts within the memory bound on the embedded model', t =>
  builds(t, 192),
)

test.serial('the 769 212 tokens of the ImageNet prompts form one trie of 328 378 nodes', async t => {
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

/** Nodes of the trie of texts, counted without native code. */
function nodesOf(texts: Iterable<readonly number[] | Int32Array>): number {
  const edges = new Map<number, number>()
  for (const ids of texts) {
    let node = 0
    for (const id of ids) {
      const edge = node * 65_536 + id
      node = edges.get(edge) ?? edges.size + 1
      edges.set(edge, node)
    }
  }
  return edges.size
}

test.serial('a trie built in the test has the same number of nodes, with both vocabularies', async t => {
  for (const [source, tokens, nodes] of [
    [folder, 769_212, 328_378],
    [embeddedFolder, 901_480, 382_238],
  ] as const) {
    const checkpoint = await readCheckpoint(source)
    const tokenizer = await createTokenizer(checkpoint.tokenizer, checkpoint.vocabulary)
    const encoded = await tokenizer.encodeAll(prompts, {})
    t.true(encoded.every(one => !one.truncated))
    const texts = encoded.map(one => one.ids)
    t.is(
      texts.reduce((n, ids) => n + ids.length, 0),
      tokens,
    )
    t.is(nodesOf(texts), nodes)
  }
})

test.serial(
  'clip.classifier computes few rows more than the trie has nodes, because prefixes are shared within windows',
  async t => {
    const native = binding()
    const original = native.loadModel
    let model: NativeModel | undefined
    let nodes = 0
    let tokens = 0
    native.loadModel = async (...rest) => {
      const own = await original.apply(native, rest)
      model = own
      const encodeText: NativeModel['encodeText'] = (job, ids, lengths, output, normalize) => {
        const texts: Int32Array[] = []
        let at = 0
        for (const n of lengths) {
          texts.push(ids.slice(at, at + n))
          at += n
        }
        nodes += nodesOf(texts)
        tokens += ids.length
        return own.encodeText(job, ids, lengths, output, normalize)
      }
      return Object.create(own, { encodeText: { value: encodeText } }) as NativeModel
    }
    const clip = await load(folder).finally(() => {
      native.loadModel = original
    })
    await clip.classifier(names, { templates: templates.imagenet80 })
    t.is(tokens, 769_212)
    const { textNodes, textRows } = model!.counters()
    t.is(textNodes, nodes)
    t.log(`${textNodes} nodes in all windows, ${textRows} rows computed`)
    t.true(textRows < 1.02 * 328_378, `${textRows} rows`)
    await clip.dispose()
  },
)
