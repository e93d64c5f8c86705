/**
 * The tensor layout of OpenAI's code, which OpenCLIP shares: visual.*, transformer.resblocks.*. Sizes come from the tensors, or
 * from OpenCLIP's configuration, which is then checked against the tensors.
 */

import { type BlocksSpec, imageSizeOf, type ModelSpec } from '../native/spec.js'
import { takeConvNext } from './conv-next.js'
import { badCheckpoint, badConfig } from './errors.js'
import { resnetSizes, takeResnet } from './modified-resnet.js'
import type { OpenclipSizes } from './openclip-sizes.js'
import {
  activationWithoutConfig,
  agreedActivation,
  agreedHeads,
  checkDivides,
  headsWithoutConfig,
  type Tower,
} from './options.js'
import type { CheckpointOptions } from './spec.js'
import { Picker, readScalar, readScoring, type Size, squareOf, type TensorTable, times } from './tensors.js'
import { ENCODER_TOKENS, takeOpenclipEncoder } from './text-encoders.js'
import { takeTimm } from './timm.js'

/** OpenAI's archives have these three entries beside the parameters; no other training code writes them. */
const OPENAI_EXTRAS = ['input_resolution', 'context_length', 'vocab_size']

export function isOpenaiOrigin(table: TensorTable): boolean {
  return OPENAI_EXTRAS.every(name => table.tensors.has(name))
}

/** Every tensor below these names must be used; otherwise the model is refused. */
const TOWERS =
  /^(positional_embedding$|text_projection(\.|$)|(visual|token_embedding|transformer|ln_final)\.)/
const CUSTOM_TOWERS = /^(visual|text)\./

/** Properties of CLIP's text tower that the tensors don't determine. */
const CLIP_TEXT: Pick<OpenclipSizes['text'], 'mask' | 'pool' | 'padId' | 'endId'> = {
  mask: 'causal',
  pool: 'argmax',
}

/** The image tower of a weight file without a configuration. */
function imageTowerOfTensors(picker: Picker): Pick<OpenclipSizes['image'], 'preNorm' | 'pool'> {
  if (picker.has('visual.ln_pre.weight') || picker.has('visual.ln_pre.bias'))
    return { preNorm: true, pool: 'first' }
  throw badConfig(
    picker.table.where,
    'open_clip_config.json',
    "has no visual.ln_pre, like the models of CLIPA, whose pooling and attention mask can't be determined from the tensors: put the model's open_clip_config.json beside it",
    { expected: 'open_clip_config.json' },
  )
}

interface TowerSizes {
  blocks: BlocksSpec
  width: Size
  mlp: Size
}

export async function readOpenaiLayout(
  table: TensorTable,
  options: CheckpointOptions,
  config?: OpenclipSizes,
): Promise<{ model: ModelSpec; family: 'openai' | 'openclip' }> {
  const origin = !config && isOpenaiOrigin(table)
  const picker = new Picker(table)
  // Without a configuration, both towers have the same activation.
  const activation = config ? undefined : activationWithoutConfig(table.where, origin, options)

  // OpenCLIP's CustomTextCLIP keeps the text tower in a separate module.
  const encoder = Object.values(ENCODER_TOKENS).some(name => picker.has(`text.transformer.${name}`))
  const t = encoder || picker.has('text.token_embedding.weight') ? 'text.' : ''
  const linearProjection = picker.has(`${t}text_projection.weight`)
  const projection = linearProjection ? `${t}text_projection.weight` : `${t}text_projection`
  const towers = presentTowers(table, t)
  checkEncoder(table, config, encoder, towers)
  const embed = config?.embed ?? embedSize(picker, projection, linearProjection)

  const sizesOf = (which: Tower, widthName: string, prefix: string): TowerSizes => {
    const section = config?.[which]
    const width = section?.width ?? picker.size(widthName, 0, 1)
    const stored = table.count(`${prefix}.resblocks.`)
    const said = section?.layers
    const layers = said && !Array.isArray(said) ? said.n : stored
    checkLayers(table, said && !Array.isArray(said) ? said : undefined, stored, `${prefix}.resblocks`)
    const mlp = section?.mlp ?? picker.size(`${prefix}.resblocks.0.mlp.c_fc.weight`, 0, 2)
    const heads = section
      ? agreedHeads(
          section.heads.config?.file ?? '',
          section.heads.config?.field ?? '',
          section.heads.n,
          options,
          which,
        )
      : headsWithoutConfig(table.where, which, width.n, origin, options)
    checkDivides(
      section?.heads.config?.file ?? table.where,
      section?.heads.config?.field ?? 'heads',
      heads,
      width.n,
    )
    return {
      blocks: {
        width: width.n,
        layers,
        heads,
        mlp: mlp.n,
        activation:
          activation ??
          agreedActivation(config!.file, 'model_cfg.quick_gelu', config![which].activation, options),
        layerNormEps: (which === 'text' ? config?.text.eps : undefined) ?? 1e-5,
      },
      width,
      mlp,
    }
  }

  const model: ModelSpec = {
    files: table.files.map(f => f.path),
    fileBytes: table.files.map(f => f.bytes),
    embedDim: embed?.n ?? 0,
    tensors: picker.picked,
  }

  if (!towers.image) {
    // Only a text tower.
  } else if (config?.convNext) {
    model.image = takeConvNext(picker, config.convNext, config.embed)
  } else if (config?.timm) {
    model.image = takeTimm(picker, config.timm, config.embed, options)
  } else if (config ? Array.isArray(config.image.layers) : picker.has('visual.layer1.0.conv1.weight')) {
    model.image = resnetSizes(picker, options, origin, config)
    takeResnet(picker, model.image, embed ?? picker.size('visual.attnpool.c_proj.weight', 0, 2))
  } else {
    const { preNorm, pool } = config?.image ?? imageTowerOfTensors(picker)
    const image = sizesOf('image', 'visual.class_embedding', 'visual.transformer')
    const patch = config?.image.patch ?? picker.size('visual.conv1.weight', 2, 4)
    const { grid } = squareOf(picker, 'visual.positional_embedding')
    const imageSize = config?.image.imageSize ?? {
      ...times(patch, grid),
      from: `${grid} patches of ${patch.n}`,
    }
    if (imageSize.n % patch.n !== 0)
      throw badConfig(
        imageSize.config?.file ?? table.where,
        'vision_cfg.image_size',
        `an image size of ${imageSize.n} is not a multiple of the patch size ${patch.n}`,
      )
    const expected: Size = {
      ...imageSize,
      n: (imageSize.n / patch.n) ** 2 + 1,
      from: `1 + (${imageSize.n} / ${patch.n}) ** 2: ${imageSize.from}`,
    }
    const project = embed !== undefined && picker.has('visual.proj')
    model.image = {
      kind: 'transformer',
      embed: { kind: 'patches', imageSize: imageSize.n, patchSize: patch.n, classToken: true },
      preNorm,
      mask: 'full',
      blocks: image.blocks,
      pool,
      project: project ? 'matrix' : 'none',
    }
    picker.take('image.class', 'visual.class_embedding', [image.width])
    picker.take('image.patch.weight', 'visual.conv1.weight', [image.width, 3, patch, patch])
    picker.take('image.position', 'visual.positional_embedding', [expected, image.width])
    if (preNorm) picker.takeNorm('image.preNorm', 'visual.ln_pre', image.width)
    takeBlocks(picker, 'image', 'visual.transformer', image)
    picker.takeNorm('image.postNorm', 'visual.ln_post', image.width)
    if (project) picker.takeTransposed('image.projection', 'visual.proj', embed, image.width)
  }

  if (config?.encoder && encoder) {
    model.text = takeOpenclipEncoder(picker, config.encoder, config.embed)
  } else if (towers.text) {
    const { mask, pool, padId, endId } = config?.text ?? CLIP_TEXT
    const text = sizesOf('text', `${t}ln_final.weight`, `${t}transformer`)
    const context = config?.text.context ?? picker.size(`${t}positional_embedding`, 0, 2)
    const vocab = config?.text.vocab ?? picker.size(`${t}token_embedding.weight`, 0, 2)
    const project = embed !== undefined && config?.text.project !== false && picker.has(projection)
    const identity = config?.text.project === false
    if (identity && config.embed.n !== text.width.n)
      throw badConfig(
        config.file,
        'model_cfg.text_cfg.proj_type',
        `the text tower is ${text.width.n} wide (${text.width.from}) and has no projection, but embeddings have ${config.embed.n} numbers (${config.embed.from})`,
      )
    model.text = {
      kind: 'transformer',
      embed: {
        kind: 'tokens',
        vocabSize: vocab.n,
        contextLength: context.n,
        ...(padId === undefined || mask === 'causal' ? {} : { padId }),
        ...(endId === undefined ? {} : { endId }),
      },
      preNorm: false,
      mask,
      blocks: text.blocks,
      pool,
      project: project ? 'matrix' : identity ? 'identity' : 'none',
    }
    picker.take('text.token', `${t}token_embedding.weight`, [vocab, text.width])
    picker.take('text.position', `${t}positional_embedding`, [context, text.width])
    takeBlocks(picker, 'text', `${t}transformer`, text)
    picker.takeNorm('text.finalNorm', `${t}ln_final`, text.width)
    if (project && linearProjection) {
      picker.take('text.projection', projection, [embed, text.width])
      const bias = `${t}text_projection.bias`
      if (picker.has(bias)) picker.take('text.projection.bias', bias, [embed])
    } else if (project) picker.takeTransposed('text.projection', projection, embed, text.width)
  }

  // The causal mask, which older OpenCLIP versions saved as a buffer, and batch norm's training counters.
  picker.ignore(/(^|\.)(attn_mask|num_batches_tracked)$/)
  const scoring = await readScoring(picker, config?.sigmoid ?? false)
  if (scoring) model.scoring = scoring
  await checkExtras(picker, table, model)
  const custom = t !== ''
  picker.finish(name => (custom ? CUSTOM_TOWERS : TOWERS).test(name))
  const joint = [
    model.image && model.image.kind !== 'transformer' ? 'matrix' : model.image?.project,
    model.text?.project,
  ]
  if (!joint.some(how => how !== undefined && how !== 'none')) model.embedDim = 0
  return { model, family: config ? 'openclip' : origin ? 'openai' : 'openclip' }
}

/** Whether the text tower is an encoder of transformers must be the same in the configuration and in the tensors. */
function checkEncoder(
  table: TensorTable,
  config: OpenclipSizes | undefined,
  encoder: boolean,
  towers: Record<Tower, boolean>,
): void {
  const field = 'model_cfg.text_cfg.hf_model_name'
  if (encoder && !config)
    throw badConfig(
      table.where,
      'open_clip_config.json',
      "has a text encoder of transformers, which the tensors don't describe: put the model's open_clip_config.json beside it",
      { expected: 'open_clip_config.json' },
    )
  if (config && encoder !== (config.encoder !== undefined) && (encoder || towers.text))
    throw badConfig(
      config.file,
      field,
      encoder
        ? `\`${field}\` names no encoder, but the text tower in ${table.where} is one of transformers`
        : `\`${field}\` names an encoder of transformers, but the text tower in ${table.where} is OpenCLIP's own`,
    )
}

function presentTowers(table: TensorTable, t: string): Record<Tower, boolean> {
  const names = [...table.tensors.keys()]
  return {
    image: names.some(name => name.startsWith('visual.')),
    text: table.tensors.has(`${t}token_embedding.weight`) || table.tensors.has(`${t}ln_final.weight`),
  }
}

/** The width of the joint space, from either projection; undefined if there is none. */
function embedSize(picker: Picker, projection: string, linear: boolean): Size | undefined {
  if (picker.has(projection)) return picker.size(projection, linear ? 0 : 1, 2)
  if (picker.has('visual.proj')) return picker.size('visual.proj', 1, 2)
  return picker.has('visual.attnpool.c_proj.weight')
    ? picker.size('visual.attnpool.c_proj.weight', 0, 2)
    : undefined
}

export function checkLayers(
  table: TensorTable,
  said: Size | undefined,
  stored: number,
  prefix: string,
): void {
  if (said && said.n !== stored)
    throw badConfig(
      said.config?.file ?? table.where,
      said.config?.field,
      `${said.n} layers (${said.from}), but ${table.where} has ${stored} of ${prefix}`,
      {
        expected: String(said.n),
        actual: String(stored),
      },
    )
  if (stored < 1)
    throw badCheckpoint(table.where, `${prefix}.0`, `has no ${prefix}.0: tensors of this tower are missing`)
}

/** input_resolution, context_length and vocab_size must agree with the shapes. */
async function checkExtras(picker: Picker, table: TensorTable, model: ModelSpec): Promise<void> {
  const { image, text } = model
  const expected = [image && imageSizeOf(image), text?.embed.contextLength, text?.embed.vocabSize]
  for (const [i, name] of OPENAI_EXTRAS.entries()) {
    if (!picker.has(name) || expected[i] === undefined) continue
    const file = table.pathOf(picker.find(name))
    const stored = await readScalar(table, name)
    if (stored !== expected[i])
      throw badCheckpoint(
        file,
        name,
        `"${name}" is ${stored}, but the shapes of the other tensors make it ${expected[i]}`,
        {
          expected: String(expected[i]),
          actual: String(stored),
        },
      )
  }
}

function takeBlocks(picker: Picker, which: Tower, prefix: string, { blocks, width, mlp }: TowerSizes): void {
  for (let i = 0; i < blocks.layers; ++i) {
    const from = `${prefix}.resblocks.${i}`
    const to = `${which}.blocks.${i}`
    const parts = ['query', 'key', 'value']
    const rows = times(width, 3)
    picker.takeNorm(`${to}.norm1`, `${from}.ln_1`, width)
    picker.takeParts(
      parts.map(p => `${to}.${p}.weight`),
      `${from}.attn.in_proj_weight`,
      [rows, width],
    )
    picker.takeParts(
      parts.map(p => `${to}.${p}.bias`),
      `${from}.attn.in_proj_bias`,
      [rows],
    )
    picker.take(`${to}.out.weight`, `${from}.attn.out_proj.weight`, [width, width])
    picker.take(`${to}.out.bias`, `${from}.attn.out_proj.bias`, [width])
    picker.takeNorm(`${to}.norm2`, `${from}.ln_2`, width)
    for (const [part, scale] of [
      ['out', 'ls_1'],
      ['fc2', 'ls_2'],
    ] as const)
      if (picker.has(`${from}.${scale}.gamma`))
        picker.take(`${to}.${part}.scale`, `${from}.${scale}.gamma`, [width])
    picker.take(`${to}.fc1.weight`, `${from}.mlp.c_fc.weight`, [mlp, width])
    picker.take(`${to}.fc1.bias`, `${from}.mlp.c_fc.bias`, [mlp])
    picker.take(`${to}.fc2.weight`, `${from}.mlp.c_proj.weight`, [width, mlp])
    picker.take(`${to}.fc2.bias`, `${from}.mlp.c_proj.bias`, [width])
  }
}
