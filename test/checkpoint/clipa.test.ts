/**
 * CLIPA's models (OpenCLIP's ViT-*-CLIPA): no layer norm before the blocks, the mean of the patches instead of the class
 * token, texts without a mask that are filled up to the context. golden.test.ts compares their numbers with OpenCLIP's.
 */

import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError } from '../../lib/base/errors.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { load } from '../../lib/index.js'
import { rowsOf } from '../model/golden.js'
import { encodeIds, loadNative } from '../model/native-model.js'
import { goldenPath } from './goldens.js'

const folder = goldenPath('openclip-clipa')

/** A copy of the golden folder, with another text_cfg. */
async function changed(t: ExecutionContext, text: Record<string, unknown>): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(copy, { recursive: true, force: true }))
  await cp(folder, copy, { recursive: true })
  const file = join(copy, 'open_clip_config.json')
  const config = JSON.parse(await readFile(file, 'utf8'))
  Object.assign(config.model_cfg.text_cfg, text)
  await writeFile(file, JSON.stringify(config))
  return copy
}

const images = [1, 2].map(k => ({
  data: new Uint8Array(40 * 30 * 3).map((_, i) => (i * 37 * k) % 251),
  width: 40,
  height: 30,
  channels: 3 as const,
}))

test('the checkpoint is read as the expected model', async t => {
  const { model, preprocess } = await readCheckpoint(folder)
  t.like(model.image, {
    kind: 'transformer',
    embed: { kind: 'patches', imageSize: 28, patchSize: 7 },
    preNorm: false,
    mask: 'full',
    pool: 'mean',
    project: 'matrix',
  })
  t.like(model.text, {
    embed: { kind: 'tokens', vocabSize: 524, contextLength: 12, padId: 0 },
    preNorm: false,
    mask: 'full',
    pool: 'last',
    project: 'matrix',
  })
  t.deepEqual(preprocess, {
    size: 28,
    interpolation: 'bilinear',
    mode: 'squash',
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
  })
})

test('an image has the same bits in every batch, and its tokens are all rows', async t => {
  const clip = await load(folder, { towers: ['image'] })
  t.teardown(() => clip.dispose())
  const together = await clip.encodeImage(images)
  t.deepEqual(together.shape, [2, 24])
  for (const [i, image] of images.entries())
    t.deepEqual((await clip.encodeImage(image)).data, together.row(i).slice())
  t.notDeepEqual(together.row(0).slice(), together.row(1).slice())
  t.deepEqual((await clip.encodeImage(images, { output: 'pooled' })).shape, [2, 64])
  t.deepEqual((await clip.encodeImage(images, { output: 'tokens' })).shape, [2, 1 + 16, 64])
})

test('without the files of its tokenizer, the text tower alone is refused, and the tokenizer is named', async t => {
  for (const towers of [undefined, ['text'], ['image', 'text']] as const) {
    const error = await t.throwsAsync(load(folder, towers ? { towers } : {}), { instanceOf: ClipError })
    t.like(error, { code: 'ERR_CLIP_CONFIG', field: 'model_cfg.text_cfg.hf_tokenizer_name' })
    t.regex(error?.message ?? '', /"bert-base-uncased", but the folder has no tokenizer.*towers: \['image'\]/)
  }
})

test('weights without their configuration are refused, and the error names the missing file', async t => {
  const alone = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(alone, { recursive: true, force: true }))
  const file = join(alone, 'model.safetensors')
  await copyFile(join(folder, 'open_clip_model.safetensors'), file)
  const error = await t.throwsAsync(load(file, { activation: 'gelu', heads: 1 }), { instanceOf: ClipError })
  t.like(error, { code: 'ERR_CLIP_CONFIG', file, field: 'open_clip_config.json' })
})

test('with a byte pair vocabulary, texts are padded to the context, and only equal texts are computed once', async t => {
  const copy = await changed(t, { hf_tokenizer_name: null, tokenizer_kwargs: null })
  for (const name of ['vocab.json', 'merges.txt'])
    await copyFile(join(goldenPath('hf-4'), name), join(copy, name))
  const clip = await load(copy)
  t.teardown(() => clip.dispose())
  const texts = ['a cat', 'a cat', 'a dog on', '']
  const tokens = await clip.tokenize(texts)
  t.deepEqual(tokens.shape, [4, 12])
  const together = await clip.encodeText(texts)
  for (const [i, text] of texts.entries())
    t.deepEqual((await clip.encodeText(text)).data, together.row(i).slice(), text)
  t.deepEqual((await clip.encodeText('', { output: 'tokens' })).shape, [1, 12, 48])

  // The plain computation: whole rows of the context, padding included, as OpenCLIP's tokenizer gives them.
  const { model: spec, preprocess } = await readCheckpoint(copy)
  const model = await loadNative(spec, preprocess)
  t.teardown(() => model.dispose())
  const whole = texts.map((_, i) => [...tokens.ids.subarray(12 * i, 12 * (i + 1))])
  t.deepEqual(
    rowsOf(await encodeIds(model, whole), 24),
    texts.map((_, i) => together.row(i).slice()),
  )
  t.is(model.counters().textRows, 3 * 12)
  const short = whole.map((ids, i) => ids.slice(0, tokens.lengths[i]))
  t.deepEqual(
    rowsOf(await encodeIds(model, short), 24),
    texts.map((_, i) => together.row(i).slice()),
  )
})
