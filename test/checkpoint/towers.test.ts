/** Checkpoints of one tower, as transformers and OpenCLIP save them: what transformers computes from them. */

import { mkdtempSync, readFileSync } from 'node:fs'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Clip, ClipError, type LoadOptions, load, type Output } from '../../lib/index.js'
import { goldenFolder, goldenPath, goldenPixels } from './goldens.js'
import { readTensors, renamed, type Stored, safetensors, savedDict } from './torch-files.js'

type Rows = number[][]
type Expected = Record<string, { pooled: Rows; tokens: Rows; embedding?: Rows }>
const goldens = join(goldenFolder, 'towers')
const { madeBy, texts, ...expected } = JSON.parse(
  readFileSync(join(goldens, 'expected.json'), 'utf8'),
) as Expected & {
  madeBy: string
  texts: string[]
}
const scratch = mkdtempSync(join(tmpdir(), 'clip-native-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

let folders = 0
/** A copy of a golden with what stands beside the weights in practice. */
async function model(name: string): Promise<string> {
  const folder = join(scratch, String(++folders))
  await cp(join(goldens, name), folder, { recursive: true })
  if (name.includes('Text'))
    for (const file of ['vocab.json', 'merges.txt'])
      await cp(join(goldenPath('hf-4'), file), join(folder, file))
  else
    await writeFile(
      join(folder, 'preprocessor_config.json'),
      JSON.stringify({ size: 24, crop_size: 24, image_processor_type: 'CLIPImageProcessor' }),
    )
  return folder
}

async function using<T>(
  source: string,
  use: (clip: Clip) => Promise<T>,
  options: LoadOptions = {},
): Promise<T> {
  const clip = await load(source, { threads: 1, ...options })
  try {
    return await use(clip)
  } finally {
    await clip.dispose()
  }
}

const planes = goldenPixels(24)
const images = {
  data: Float32Array.from([...planes[0]!, ...planes[1]!]),
  shape: [2, 3, 24, 24] as [number, number, number, number],
}

function close(t: ExecutionContext, what: string, actual: ArrayLike<number>, rows: Rows): void {
  const per = actual.length / rows.length
  rows.forEach((row, r) => {
    for (const [i, value] of row.entries()) {
      const difference = Math.abs(actual[r * per + i]! - value)
      if (!(difference <= 1e-5)) t.fail(`${what}[${r}][${i}]: ${actual[r * per + i]}, ${madeBy} has ${value}`)
    }
  })
  t.true(rows.length > 0 && rows[0]!.length > 0)
}

async function outputs(
  t: ExecutionContext,
  clip: Clip,
  tower: 'image' | 'text',
  name: string,
): Promise<void> {
  const encode = (output: Output) =>
    tower === 'image'
      ? clip.encodeImage(images, { output, normalize: false })
      : clip.encodeText(texts, { output, normalize: false, cleaning: 'huggingface' })
  const { pooled, tokens, embedding } = expected[name]!
  close(t, 'pooled', (await encode('pooled')).data, pooled)
  close(t, 'tokens', (await encode('tokens')).data, tokens)
  if (embedding) close(t, 'embedding', (await encode('embedding')).data, embedding)
  else
    await t.throwsAsync(encode('embedding'), {
      instanceOf: ClipError,
      code: 'ERR_CLIP_CONFIG',
      message: /no projection into a joint space.*output: 'pooled'/,
    })
}

for (const name of Object.keys(expected)) {
  const tower = name.includes('Text') ? 'text' : 'image'
  const other = tower === 'image' ? 'text' : 'image'
  test(`${name} gives the outputs of transformers, and errors explain missing outputs`, async t => {
    await using(await model(name), async clip => {
      t.deepEqual(clip.info.towers, [tower])
      t.is(clip.info.embedDim, expected[name]!.embedding ? 16 : 0)
      await outputs(t, clip, tower, name)
      const missing = other === 'image' ? clip.encodeImage(images) : clip.encodeText('a')
      await t.throwsAsync(missing, {
        instanceOf: ClipError,
        code: 'ERR_CLIP_CONFIG',
        message: new RegExp(`has no ${other} tower: its weights are those of the ${tower} tower alone`),
      })
    })
    await t.throwsAsync(load(await model(name), { towers: [other] }), {
      instanceOf: ClipError,
      code: 'ERR_CLIP_CONFIG',
      message: new RegExp(`has no ${other} tower.*towers: \\['${tower}'\\]`),
    })
  })
}

test("the extra head of transformers' CLIPForImageClassification is not used, and is listed", async t => {
  await using(await model('CLIPForImageClassification'), async clip => {
    t.deepEqual([...clip.info.ignored!].sort(), ['classifier.bias', 'classifier.weight'])
  })
})

/** Rewrites the weights of a copy. */
async function rewritten(name: string, rename: (name: string) => string): Promise<string> {
  const folder = await model(name)
  const file = join(folder, 'model.safetensors')
  await writeFile(file, safetensors(renamed(readTensors(await readFile(file)), rename)))
  return folder
}

test('tensor names and position id buffers of older versions of transformers are read', async t => {
  const text = await rewritten('CLIPTextModel', name => `text_model.${name}`)
  await using(text, clip => outputs(t, clip, 'text', 'CLIPTextModel'))
  const image = await rewritten('CLIPVisionModel', name => `vision_model.${name}`)
  await using(image, clip => outputs(t, clip, 'image', 'CLIPVisionModel'))
})

test('a single tower without a configuration (clip_l.safetensors) needs activation and heads, and the errors name the flags', async t => {
  const file = join(scratch, 'clip_l.safetensors')
  const source = join(goldens, 'CLIPVisionModelWithProjection', 'model.safetensors')
  await cp(source, file)
  const error = await t.throwsAsync(load(file), { instanceOf: ClipError, code: 'ERR_CLIP_CONFIG' })
  t.regex(error?.message ?? '', /`activation: 'quickGelu'`.*`--activation`|heads/)
  const options = { activation: 'quickGelu', heads: 2 } as const
  await using(file, clip => outputs(t, clip, 'image', 'CLIPVisionModelWithProjection'), options)
})

test('a text encoder of a diffusers pipeline finds the tokenizer beside its folder', async t => {
  const pipeline = join(scratch, 'pipeline')
  const encoder = await model('CLIPTextModel')
  await mkdir(join(pipeline, 'tokenizer'), { recursive: true })
  await writeFile(join(pipeline, 'model_index.json'), '{}')
  for (const file of ['vocab.json', 'merges.txt']) {
    await cp(join(encoder, file), join(pipeline, 'tokenizer', file))
    await rm(join(encoder, file))
  }
  await cp(encoder, join(pipeline, 'text_encoder'), { recursive: true })
  await using(join(pipeline, 'text_encoder'), clip => outputs(t, clip, 'text', 'CLIPTextModel'))
  await t.throwsAsync(load(pipeline), {
    instanceOf: ClipError,
    message: /is a pipeline of diffusers: load the folder of its CLIP \(text_encoder\)/,
  })
})

test("OpenCLIP's image tower loads alone, with and without its prefix", async t => {
  const whole = readTensors(readFileSync(join(goldenFolder, 'trained', 'plain.safetensors')))
  const visual = new Map([...whole].filter(([name]) => name.startsWith('visual.')))
  const options = { activation: 'quickGelu', heads: 1, towers: ['image'] } as const
  const image = { data: goldenPixels(16)[0]!, shape: [1, 3, 16, 16] as [number, number, number, number] }
  const embed = async (tensors: Map<string, Stored>) => {
    const file = join(scratch, `${++folders}.pt`)
    await writeFile(file, savedDict(tensors))
    return using(file, async clip => [...(await clip.encodeImage(image)).data], options)
  }
  const expected = await embed(whole)
  t.deepEqual(await embed(visual), expected)
  t.deepEqual(await embed(renamed(visual, name => name.slice('visual.'.length))), expected)
  t.deepEqual(await embed(renamed(visual, name => `model.${name.slice('visual.'.length)}`)), expected)
})

test('a store and an adapter are refused without a projection into the joint space', async t => {
  await using(await model('CLIPVisionModel'), async clip => {
    const opened = clip.openStore(join(scratch, 'store'), { create: true })
    await t.throwsAsync(opened, { instanceOf: ClipError, code: 'ERR_CLIP_CONFIG', message: /no projection/ })
  })
})
