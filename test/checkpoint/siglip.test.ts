/**
 * SigLIP and SigLIP 2 in both layouts: no class token, an attention pool, texts without a mask, sigmoid scores.
 * golden.test.ts compares their float32 numbers with those of open_clip, timm and transformers.
 */

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError } from '../../lib/base/errors.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { Embeddings, load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'
import type { NativeModel } from '../../lib/native/surface.js'
import { unpacked } from '../tokenizer/files.js'
import { goldenPath, goldenPixels, goldens } from './goldens.js'

const names = ['openclip-siglip', 'openclip-siglip2', 'hf-siglip'] as const

/** A copy of a golden folder of OpenCLIP with another value at a path of its configuration. */
async function changed(t: ExecutionContext, name: string, path: string, value: unknown): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(copy, { recursive: true, force: true }))
  await cp(goldenPath(name), copy, { recursive: true })
  const file = join(copy, 'open_clip_config.json')
  const config = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>
  const keys = path.split('.')
  let at = config
  for (const key of keys.slice(0, -1)) at = at[key] as Record<string, unknown>
  at[keys.at(-1)!] = value
  await writeFile(file, JSON.stringify(config))
  return copy
}

async function open(
  t: ExecutionContext,
  name: string,
  dtype: 'float32' | 'bfloat16' | 'int8',
): Promise<NativeModel> {
  const { model, preprocess } = await readCheckpoint(goldenPath(name))
  const options = { device: 'auto', dtype, threads: 2, maxBatchRows: 512 } as const
  const loaded = await binding().loadModel(nextJob(), model, preprocess, options)
  t.teardown(() => loaded.dispose())
  return loaded
}

const imagesOf = (name: string) => goldenPixels(goldens[name]!.imageSize).map(planes => ({ planes }))
const idsOf = (texts: number[][]) =>
  [Int32Array.from(texts.flat()), Int32Array.from(texts.map(text => text.length))] as const

const rowsOf = (data: Float32Array, rows: number) =>
  Array.from({ length: rows }, (_, r) => data.slice((r * data.length) / rows, ((r + 1) * data.length) / rows))

test('texts are padded with the token that tokenizer_config.json names, as any version of transformers wrote it', async t => {
  for (const [pad, padId] of [
    ['</s>', 1],
    ['<pad>', 0],
  ] as const) {
    const name = 'model_cfg.text_cfg.hf_tokenizer_name'
    const folder = await changed(t, 'openclip-siglip', name, 'someone/fine-tuned')
    const file = join(folder, 'tokenizer_config.json')
    const read = async (config: object) => {
      await writeFile(file, JSON.stringify({ tokenizer_class: 'T5Tokenizer', ...config }))
      return (await readCheckpoint(folder)).model.text!.embed.padId
    }
    t.is(await read({ pad_token: pad }), padId)
    // transformers 4 lists the ids, and may write a token as an object.
    const listed = { 7: { content: pad }, 9: { content: 'x' } }
    t.is(await read({ pad_token: { content: pad }, added_tokens_decoder: listed }), 7)
  }
})

test("the checkpoint in OpenCLIP's layout is read as the expected model", async t => {
  const { model, preprocess } = await readCheckpoint(goldenPath('openclip-siglip2'))
  t.like(model.image, {
    embed: { kind: 'patches', imageSize: 45, patchSize: 14, classToken: false },
    preNorm: false,
    mask: 'full',
    blocks: { width: 72, heads: 1, activation: 'gelu', layerNormEps: 1e-6 },
    pool: 'attention',
    attentionPool: { heads: 1, mlp: 115 },
    project: 'identity',
  })
  t.like(model.text, {
    embed: { kind: 'tokens', vocabSize: 1032, contextLength: 12, padId: 0 },
    mask: 'full',
    blocks: { activation: 'geluTanh', layerNormEps: 1e-6 },
    pool: 'last',
    project: 'matrix',
  })
  t.like(model.scoring, { kind: 'sigmoid', bias: -1.5 })
  t.deepEqual(preprocess, {
    size: 45,
    interpolation: 'bicubic',
    mode: 'squash',
    mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5],
  })
})

test("absent keys in Hugging Face's layout have SigLIP's defaults, and the filter is that of the file", async t => {
  const { model, preprocess } = await readCheckpoint(goldenPath('hf-siglip'))
  const blocks = { activation: 'geluTanh', layerNormEps: 1e-6 }
  t.like(model.image, { embed: { classToken: false }, blocks, pool: 'attention', project: 'identity' })
  t.like(model.text, { embed: { padId: 1 }, mask: 'full', blocks, pool: 'last', project: 'matrix' })
  t.like(model.scoring, { kind: 'sigmoid', bias: -1.5 })
  t.like(preprocess, { interpolation: 'bilinear', mode: 'squash', mean: [0.5, 0.5, 0.5] })
})

for (const name of names) {
  test(`an image and a text have the same bits in every batch: ${name}`, async t => {
    const model = await open(t, name, 'float32')
    const images = imagesOf(name)
    const many = [0, 1, 1, 0, 1].map(i => images[i]!)
    for (const output of ['embedding', 'pooled', 'tokens'] as const) {
      const together = rowsOf(await model.encodeImage(nextJob(), many, output, false), 5)
      for (const [i, image] of many.entries())
        t.deepEqual(await model.encodeImage(nextJob(), [image], output, false), together[i], output)
    }
    const { texts } = goldens[name]!
    const together = rowsOf(await model.encodeText(nextJob(), ...idsOf(texts), 'embedding', false), 3)
    for (const [i, text] of texts.entries())
      t.deepEqual(await model.encodeText(nextJob(), ...idsOf([text]), 'embedding', false), together[i])
  })

  test(`the image embedding of ${name} is the pooled row, and its tokens are the patches`, async t => {
    const model = await open(t, name, 'float32')
    const { width, tokens } = model.shapes.image!
    t.is(tokens, 9)
    t.is(width, model.shapes.embedDim)
    const images = imagesOf(name)
    const embedding = await model.encodeImage(nextJob(), images, 'embedding', false)
    t.deepEqual(await model.encodeImage(nextJob(), images, 'pooled', false), embedding)
    t.is((await model.encodeImage(nextJob(), images, 'tokens', false)).length, 2 * 9 * width)
  })

  for (const [dtype, least] of [
    ['bfloat16', 0.999],
    ['int8', 0.99],
  ] as const)
    test(`${name} in ${dtype} is near the original's embeddings`, async t => {
      const model = await open(t, name, dtype)
      const golden = goldens[name]!
      const image = await model.encodeImage(nextJob(), imagesOf(name), 'embedding', true)
      const text = await model.encodeText(nextJob(), ...idsOf(golden.texts), 'embedding', true)
      for (const [data, want] of [
        [image, golden.image],
        [text, golden.text],
      ] as const)
        for (const [i, row] of rowsOf(data, want.length).entries()) {
          const norm = Math.sqrt(want[i]!.reduce((sum, v) => sum + v * v, 0))
          const cosine = row.reduce((sum, v, j) => sum + v * want[i]![j]!, 0) / norm
          t.true(cosine >= least, `row ${i}: ${cosine}`)
        }
    })
}

test('each probability of similarity is the sigmoid of its own logit', async t => {
  const clip = await load(goldenPath('openclip-siglip'), { towers: ['image'] })
  t.teardown(() => clip.dispose())
  t.like(clip.info, {
    scoring: 'sigmoid',
    logitBias: -1.5,
    family: 'openclip',
    tokenizer: undefined,
    folded: ['the query of the attention pool'],
  })
  const { image, text } = goldens['openclip-siglip']!
  const rows = (all: number[][]) =>
    new Embeddings(Float32Array.from(all.flat()), [all.length, all[0]!.length] as const)
  const [images, texts] = [rows(image), rows(text)]
  const logits = await clip.similarity(images, texts, { as: 'logit' })
  const cosines = await clip.similarity(images, texts, { as: 'cosine' })
  const { logitScale } = clip.info
  for (const over of ['texts', 'images'] as const) {
    const probabilities = await clip.similarity(images, texts, { over })
    t.deepEqual(probabilities.shape, [2, 3])
    for (const [i, p] of probabilities.data.entries()) {
      const z = logits.data[i]!
      t.true(Math.abs(z - (logitScale * cosines.data[i]! - 1.5)) < 1e-5)
      t.true(Math.abs(p - 1 / (1 + Math.exp(-z))) < 1e-6)
    }
  }
  // One text alone has the same probability as among others.
  const alone = await clip.similarity(images, new Embeddings(texts.data.slice(0, 128), [1, 128] as const))
  const among = await clip.similarity(images, texts)
  t.is(alone.data[0], among.data[0])
})

test('without its preprocessor_config.json, the image tower alone is refused, and CLIP is not named as its source', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await cp(goldenPath('hf-siglip'), folder, { recursive: true })
  await rm(join(folder, 'preprocessor_config.json'))
  const error = await t.throwsAsync(load(folder, { towers: ['image'] }), { instanceOf: ClipError })
  t.like(error, { code: 'ERR_CLIP_CONFIG', field: 'preprocessor_config.json' })
  t.notRegex(error?.message ?? '', /openai\//)
})

/** A copy of a golden folder with the files of its tokenizer. */
async function whole(t: ExecutionContext, name: string): Promise<string> {
  const { folder, remove } = unpacked(goldens[name]!.vocabulary!)
  t.teardown(remove)
  await cp(goldenPath(name), folder, { recursive: true })
  return folder
}

for (const name of names)
  test(`${name} with its tokenizer: texts have the embeddings of the original library`, async t => {
    const clip = await load(await whole(t, name))
    t.teardown(() => clip.dispose())
    const { strings, stringText } = goldens[name]!
    const got = await clip.encodeText(strings!, { truncate: true })
    for (const [r, want] of stringText!.entries()) {
      const norm = Math.sqrt(want.reduce((sum, v) => sum + v * v, 0))
      const worst = Math.max(...want.map((v, i) => Math.abs(v / norm - got.row(r)[i]!)))
      t.true(worst <= 1e-5, `${JSON.stringify(strings![r])}: ${worst}`)
    }
    t.regex(clip.info.tokenizer ?? '', /^(T5|Gemma|Siglip)Tokenizer$/)
  })

test('classify: probabilities are sigmoids, a threshold lets none through, and a saved classifier does the same', async t => {
  const folder = await whole(t, 'openclip-siglip')
  const clip = await load(folder)
  t.teardown(() => clip.dispose())
  const labels = ['cat', 'dog', 'bird', 'plate'] as const
  const classifier = await clip.classifier(labels)
  const image = new Embeddings(Float32Array.from(goldens['openclip-siglip']!.image[0]!), [1, 128] as const)
  const [logits] = await classifier.classify(image, { as: 'logit', topK: 4 })
  const [all] = await classifier.classify(image, { topK: 4 })
  t.deepEqual(
    all!.map(({ label }) => label),
    logits!.map(({ label }) => label),
  )
  for (const [i, { score }] of all!.entries())
    t.true(Math.abs(score - 1 / (1 + Math.exp(-logits![i]!.score))) < 1e-6)
  t.true(Math.abs(all!.reduce((sum, { score }) => sum + score, 0) - 1) > 1e-3)
  const between = (all![1]!.score + all![2]!.score) / 2
  const [some] = await classifier.classify(image, { threshold: between })
  t.deepEqual(some, all!.slice(0, 2))
  t.deepEqual(await classifier.classify(image, { threshold: 1 }), [[]])
  // A label alone has the probability that it has among others.
  const alone = await (await clip.classifier([all![2]!.label])).classify(image)
  t.is(alone[0]![0]!.score, all![2]!.score)

  const file = join(folder, 'labels.safetensors')
  await classifier.save(file)
  const again = await clip.loadClassifier(file)
  t.deepEqual((await again.classify(image, { topK: 4 }))[0], all)
})

test('without the files of its tokenizer, the text tower alone is refused, and the tokenizer is named', async t => {
  const error = await t.throwsAsync(load(goldenPath('openclip-siglip')), { instanceOf: ClipError })
  t.like(error, { code: 'ERR_CLIP_CONFIG', field: 'model_cfg.text_cfg.hf_tokenizer_name' })
  t.regex(error?.message ?? '', /"timm\/ViT-B-16-SigLIP".*copy tokenizer\.json/)
  const other = await t.throwsAsync(load(goldenPath('hf-siglip')), { instanceOf: ClipError })
  t.like(other, { code: 'ERR_CLIP_CONFIG', field: 'tokenizer.json' })
})

const vision = 'model_cfg.vision_cfg'
const refused: [what: string, path: string, value: unknown, named: string][] = [
  ['another pool', `${vision}.timm_pool`, 'avg', 'timm_pool'],
  ['an unknown projection', `${vision}.timm_proj`, 'mlp', 'timm_proj'],
  ['another trunk', `${vision}.timm_model_name`, 'vit_base_patch16_224', 'timm_model_name'],
  ['another image size', `${vision}.image_size`, 64, 'image_size'],
  ['another width of embeddings', 'model_cfg.embed_dim', 64, 'embed_dim'],
  ['quick_gelu with act_kwargs', 'model_cfg.quick_gelu', true, 'act_kwargs'],
]
for (const [what, path, value, named] of refused)
  test(`a configuration of OpenCLIP with ${what} is refused by name`, async t => {
    const folder = await changed(t, 'openclip-siglip2', path, value)
    const error = await t.throwsAsync(readCheckpoint(folder), { instanceOf: ClipError })
    t.regex(error?.code ?? '', /^ERR_CLIP_(CONFIG|CHECKPOINT)$/)
    t.true(error?.message.includes(named), error?.message)
  })

test('weights of SigLIP without a configuration are refused, and the file that is missing is named', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'model.safetensors')
  await cp(join(goldenPath('hf-siglip'), 'model.safetensors'), file)
  const error = await t.throwsAsync(readCheckpoint(file, { heads: 2, activation: 'geluTanh' }), {
    instanceOf: ClipError,
  })
  t.like(error, { code: 'ERR_CLIP_CONFIG', field: 'config.json' })
})
