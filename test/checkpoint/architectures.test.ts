/**
 * Every architecture at its full size, as far as its header goes: names, shapes, and what is inferred from them. The
 * numbers of parameters are open_clip 3.3.0's. (Their arithmetic: golden.test.ts at reduced size, npm run test:full.)
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError } from '../../lib/base/errors.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import type { ModelSpec } from '../../lib/native/spec.js'
import {
  countParameters,
  type OpenclipConfig,
  openclipShapes,
  writeHollow,
  writeHollowFolder,
} from '../helpers/openclip-headers.js'

type Text = [width: number, heads: number, layers: number]

function config(
  embed_dim: number,
  vision_cfg: OpenclipConfig['vision_cfg'],
  [width, heads, layers]: Text,
): OpenclipConfig {
  return {
    embed_dim,
    vision_cfg,
    text_cfg: { context_length: 77, vocab_size: 49408, width, heads, layers },
  }
}
const vit = (patch_size: number, width: number, layers: number, image_size = 224) => ({
  image_size,
  layers,
  width,
  patch_size,
})
const resnet = (layers: number[], width: number, image_size: number) => ({
  image_size,
  layers,
  width,
  patch_size: null,
})

interface Architecture {
  config: OpenclipConfig
  parameters: number
  imageHeads: number
  /** Of the image tower's blocks. */
  mlp?: number
}

// biome-ignore format: one table
const openai: Record<string, Architecture> = {
  RN50: { config: config(1024, resnet([3, 4, 6, 3], 64, 224), [512, 8, 12]), parameters: 102007137, imageHeads: 32 },
  RN101: { config: config(512, resnet([3, 4, 23, 3], 64, 224), [512, 8, 12]), parameters: 119688033, imageHeads: 32 },
  RN50x4: { config: config(640, resnet([4, 6, 10, 6], 80, 288), [640, 10, 12]), parameters: 178300601, imageHeads: 40 },
  RN50x16: { config: config(768, resnet([6, 8, 18, 8], 96, 384), [768, 12, 12]), parameters: 290979217, imageHeads: 48 },
  RN50x64: { config: config(1024, resnet([3, 15, 36, 10], 128, 448), [1024, 16, 12]), parameters: 623258305, imageHeads: 64 },
  'ViT-B/32': { config: config(512, vit(32, 768, 12), [512, 8, 12]), parameters: 151277313, imageHeads: 12, mlp: 3072 },
  'ViT-B/16': { config: config(512, vit(16, 768, 12), [512, 8, 12]), parameters: 149620737, imageHeads: 12, mlp: 3072 },
  'ViT-L/14': { config: config(768, vit(14, 1024, 24), [768, 12, 12]), parameters: 427616513, imageHeads: 16, mlp: 4096 },
  'ViT-L/14@336px': { config: config(768, vit(14, 1024, 24, 336), [768, 12, 12]), parameters: 427944193, imageHeads: 16, mlp: 4096 },
}
const clipaOf = ({ vision_cfg, text_cfg, ...rest }: OpenclipConfig): OpenclipConfig => ({
  ...rest,
  vision_cfg: { ...vision_cfg, no_ln_pre: true, pool_type: 'avg', final_ln_after_pool: true },
  text_cfg: { ...text_cfg, context_length: 32, vocab_size: 32000, pool_type: 'last', no_causal_mask: true },
})
// biome-ignore format: one table
const clipa: Record<string, Architecture> = {
  'ViT-L-14-CLIPA': { config: clipaOf(config(768, vit(14, 1024, 24), [768, 12, 12])), parameters: 414210561, imageHeads: 16, mlp: 4096 },
  'ViT-H-14-CLIPA-336': { config: clipaOf(config(1024, { ...vit(14, 1280, 32, 336), head_width: 80 }, [1024, 16, 24])), parameters: 968644609, imageHeads: 16, mlp: 5120 },
  'ViT-bigG-14-CLIPA': { config: clipaOf(config(1280, { ...vit(14, 1664, 48), head_width: 104, mlp_ratio: 4.9231 }, [1280, 20, 32])), parameters: 2517223937, imageHeads: 16, mlp: 8192 },
}
// biome-ignore format: one table
const openclip: Record<string, Architecture> = {
  ...openai,
  'ViT-H-14': { config: config(1024, { ...vit(14, 1280, 32), head_width: 80 }, [1024, 16, 24]), parameters: 986109441, imageHeads: 16, mlp: 5120 },
  'ViT-g-14': { config: config(1024, { ...vit(14, 1408, 40), head_width: 88, mlp_ratio: 4.3637 }, [1024, 16, 24]), parameters: 1366678273, imageHeads: 16, mlp: 6144 },
  'ViT-bigG-14': { config: config(1280, { ...vit(14, 1664, 48), head_width: 104, mlp_ratio: 4.9231 }, [1280, 20, 32]), parameters: 2539567105, imageHeads: 16, mlp: 8192 },
  ...clipa,
}

const headsOf = ({ image, text }: ModelSpec) => [
  image?.kind === 'transformer'
    ? image.blocks.heads
    : image?.kind === 'modifiedResNet'
      ? image.heads
      : undefined,
  text?.blocks.heads,
]

async function scratch(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

function checkSpec(
  t: ExecutionContext,
  { model, preprocess, tokenizer }: Awaited<ReturnType<typeof readCheckpoint>>,
  { config: c, imageHeads, mlp }: Architecture,
  activation: string,
): void {
  const { vision_cfg: v, text_cfg } = c
  t.is(model.embedDim, c.embed_dim)
  const { width, layers } = v
  t.deepEqual(
    model.image as object,
    mlp === undefined
      ? { kind: 'modifiedResNet', imageSize: v.image_size, width, layers, heads: imageHeads }
      : {
          kind: 'transformer',
          embed: { kind: 'patches', imageSize: v.image_size, patchSize: v.patch_size, classToken: true },
          preNorm: !v.no_ln_pre,
          mask: 'full',
          blocks: { width, layers, heads: imageHeads, mlp, activation, layerNormEps: 1e-5 },
          pool: v.pool_type === 'avg' ? 'mean' : 'first',
          project: 'matrix',
        },
  )
  t.deepEqual(model.text as object, {
    kind: 'transformer',
    embed: {
      kind: 'tokens',
      vocabSize: text_cfg.vocab_size,
      contextLength: text_cfg.context_length,
      ...(text_cfg.no_causal_mask ? { padId: 0 } : {}),
    },
    preNorm: false,
    mask: text_cfg.no_causal_mask ? 'full' : 'causal',
    blocks: {
      width: text_cfg.width,
      layers: text_cfg.layers,
      heads: text_cfg.heads,
      mlp: 4 * text_cfg.width,
      activation,
      layerNormEps: 1e-5,
    },
    pool: text_cfg.pool_type ?? 'argmax',
    project: 'matrix',
  })
  t.is(preprocess.size, v.image_size)
  t.is(tokenizer.contextLength, text_cfg.context_length)
}

for (const [name, architecture] of Object.entries(openai))
  test(`the sizes of ${name} are determined from OpenAI's tensors alone`, async t => {
    const file = join(await scratch(t), 'weights')
    const shapes = openclipShapes(architecture.config)
    t.is(countParameters(shapes), architecture.parameters)
    await writeHollow(file, shapes, {
      input_resolution: architecture.config.vision_cfg.image_size,
      context_length: 77,
      vocab_size: 49408,
    })
    const checkpoint = await readCheckpoint(file)
    t.is(checkpoint.family, 'openai')
    checkSpec(t, checkpoint, architecture, 'quickGelu')
  })

for (const [name, architecture] of Object.entries(openclip))
  test(`the sizes of ${name} are read from OpenCLIP's configuration and tensors`, async t => {
    const folder = await scratch(t)
    t.is(countParameters(openclipShapes(architecture.config)), architecture.parameters)
    await writeHollowFolder(folder, architecture.config)
    const checkpoint = await readCheckpoint(folder)
    t.is(checkpoint.family, 'openclip')
    checkSpec(t, checkpoint, architecture, 'gelu')
  })

test("OpenAI's own numbers must agree with the shapes", async t => {
  const { config: c } = openai['ViT-B/32']!
  const right = { input_resolution: 224, context_length: 77, vocab_size: 49408 }
  for (const [name, expected] of Object.entries(right)) {
    const file = join(await scratch(t), 'weights')
    await writeHollow(file, openclipShapes(c), { ...right, [name]: expected - 1 })
    const error = await t.throwsAsync(readCheckpoint(file), { instanceOf: ClipError })
    t.like(error, { code: 'ERR_CLIP_CHECKPOINT', file, field: name, expected: String(expected) })
    t.regex(error?.message ?? '', new RegExp(`"${name}" is ${expected - 1}, but .* make it ${expected}`))
  }
})

test('if tensors do not determine the number of heads, the error names the option, and the option works', async t => {
  const file = join(await scratch(t), 'weights')
  const { config: c, imageHeads } = openclip['ViT-H-14']!
  await writeHollow(file, openclipShapes(c))
  const activation = 'gelu'
  const error = await t.throwsAsync(readCheckpoint(file, { activation }), { instanceOf: ClipError })
  t.like(error, { code: 'ERR_CLIP_CONFIG', file, field: 'heads' })
  t.regex(error?.message ?? '', /width 1280 \(image tower\).*pass `heads: \{ image: n \}`/)
  for (const heads of [{ image: imageHeads }, 16]) {
    const { model } = await readCheckpoint(file, { activation, heads })
    t.deepEqual(headsOf(model), [16, 16])
  }
  const odd = await t.throwsAsync(readCheckpoint(file, { activation, heads: { image: 17 } }), {
    instanceOf: ClipError,
  })
  t.regex(odd?.message ?? '', /width of 1280 can't be divided into 17 heads/)
})

test('towers whose width is not a multiple of 64 need the option heads', async t => {
  const file = join(await scratch(t), 'weights')
  const small = config(24, vit(8, 160, 1, 24), [48, 2, 1])
  await writeHollow(file, openclipShapes(small))
  for (const [heads, tower] of [
    [undefined, 'image'],
    [{ image: 2 }, 'text'],
  ] as const) {
    const error = await t.throwsAsync(readCheckpoint(file, { activation: 'gelu', heads }), {
      instanceOf: ClipError,
    })
    t.like(error, { code: 'ERR_CLIP_CONFIG', field: 'heads' })
    t.regex(error?.message ?? '', new RegExp(`pass \`heads: \\{ ${tower}: n \\}\``))
  }
  const { model } = await readCheckpoint(file, { activation: 'gelu', heads: { image: 2, text: 3 } })
  t.deepEqual(headsOf(model), [2, 3])
})
