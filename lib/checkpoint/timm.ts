/**
 * Image towers of timm, as OpenCLIP stores them: `visual.trunk.*`, and `visual.head.*` for a projection outside the trunk.
 * Sizes come from the tensors; properties that tensors don't determine come from a table of timm's names.
 */

import type { Activation, RopeSpec, TransformerSpec } from '../native/spec.js'
import { badCheckpoint, badConfig } from './errors.js'
import { type Fields, kindOfJson } from './fields.js'
import { agreedActivation, agreedHeads, checkDivides } from './options.js'
import type { CheckpointOptions } from './spec.js'
import { type Picker, permuted, type Size, times } from './tensors.js'

/** The properties that the name of a vision transformer of timm implies. */
interface Trunk {
  headDim: number
  eps: number
  activation: Activation
  classToken: boolean
  preNorm: boolean
  pool: 'first' | 'mean' | 'attention'
  /** The bias of queries, keys and values: one tensor, two without that of the keys, or none. */
  attentionBias?: 'queryValue' | 'none'
  /** How queries and keys are rotated; without a reference, angles are those of the tower's own grid. */
  rope?: Omit<RopeSpec, 'reference'> & { reference?: number }
  /** The heads of the attention pool, if they are not those of the trunk. */
  poolHeads?: number
  /** MobileCLIP: three convolutions embed the patches, and the class token has no position. */
  stem?: boolean
  /** EVA-02: queries, keys and values of their own, a gated MLP, and norms in the blocks. */
  eva02?: boolean
}

const siglip = (activation: Activation, headDim = 64): Trunk => ({
  headDim,
  eps: 1e-6,
  activation,
  classToken: false,
  preNorm: false,
  pool: 'attention',
})

/** Perception Encoder. */
const perception = (rope: Trunk['rope'], headDim = 64, classToken = true): Trunk => ({
  headDim,
  eps: 1e-5,
  activation: 'gelu',
  classToken,
  preNorm: true,
  pool: 'attention',
  poolHeads: 8,
  rope: rope!,
})

/** EVA-02 with angles of a grid of 16 x 16. Its MLP has a gate in place of the activation. */
const eva02: Trunk = {
  headDim: 64,
  eps: 1e-6,
  activation: 'gelu',
  classToken: true,
  preNorm: false,
  pool: 'first',
  rope: { offset: 0, reference: 16, first: 'row' },
  eva02: true,
}

/** timm's names, without the image size if all sizes of a trunk have the same properties. */
const trunks: readonly (readonly [pattern: RegExp, trunk: Trunk])[] = [
  [/^vit_base_patch16_siglip_(224|256|384|512)$/, siglip('gelu')],
  [/^vit_base_patch32_siglip_256$/, siglip('geluTanh')],
  [/^vit_large_patch16_siglip_(256|384)$/, siglip('gelu')],
  [/^vit_large_patch16_siglip_512$/, siglip('geluTanh')],
  [/^vit_so400m_patch14_siglip_(224|378|384)$/, siglip('gelu', 72)],
  [/^vit_so400m_patch16_siglip_(256|384|512)$/, siglip('geluTanh', 72)],
  [/^vit_giantopt_patch16_siglip_(256|384)$/, siglip('geluTanh', 96)],
  [
    /^vit_large_patch14_clip_224$/,
    { headDim: 64, eps: 1e-5, activation: 'gelu', classToken: true, preNorm: true, pool: 'first' },
  ],
  [
    /^vit_medium_patch16_gap_256$/,
    {
      ...{ headDim: 64, eps: 1e-6, activation: 'gelu', classToken: false, preNorm: false, pool: 'mean' },
      attentionBias: 'none',
    },
  ],
  [
    /^eva_giant_patch14_224$/,
    {
      ...{ headDim: 88, eps: 1e-6, activation: 'gelu', classToken: true, preNorm: false, pool: 'first' },
      attentionBias: 'queryValue',
    },
  ],
  [
    /^vit_pe_core_(tiny_patch16_384|small_patch16_384|base_patch16_224|large_patch14_336)$/,
    perception({ offset: 1, first: 'column' }),
  ],
  [/^vit_pe_core_gigantic_patch14_448$/, perception({ offset: 0, first: 'column' }, 96, false)],
  [
    /^vit_base_mci_224$/,
    {
      ...{ headDim: 64, eps: 1e-6, activation: 'gelu', classToken: true, preNorm: false, pool: 'first' },
      stem: true,
    },
  ],
  [/^eva02_(base_patch16_clip_224|large_patch14_clip_(224|336))$/, eva02],
]

/** The names of the pools in timm_pool. */
const pools: Record<string, Trunk['pool']> = { map: 'attention', token: 'first', avg: 'mean' }

/** An image tower of timm, as vision_cfg describes it. */
export interface TimmTower extends Trunk {
  fields: Fields
  name: string
  imageSize: Size
  /** Outside the trunk, without a bias unless `projectionBias`; in the trunk, with a bias; or none at all. */
  projection: 'outside' | 'inside' | 'none'
  projectionBias: boolean
}

/** Reads the keys of vision_cfg that belong to timm. Names that are not in the table are refused. */
export function timmTower(image: Fields, imageSize: Size): TimmTower {
  const name = image.string('timm_model_name')
  const trunk = trunks.find(([pattern]) => pattern.test(name))?.[1]
  if (!trunk)
    throw badConfig(
      image.file,
      image.name('timm_model_name'),
      `\`${image.name('timm_model_name')}\` ${kindOfJson(name)} is an image tower of timm that is not implemented; docs/checkpoints.md lists the models that are`,
      { actual: kindOfJson(name) },
    )
  const pool = image.string('timm_pool', 'avg')
  if (pool !== '' && pools[pool] !== trunk.pool) throw image.wrong('timm_pool', `the pool of ${name}`)
  // open_clip's default is 'linear'; null means that the trunk's own head is the projection.
  const said = image.object.has('timm_proj') ? image.object.get('timm_proj') : 'linear'
  const projection = said === null || said === '' ? 'inside' : said === 'none' ? 'none' : 'outside'
  if (projection === 'outside' && said !== 'linear')
    throw image.wrong('timm_proj', '"linear", "none" or null')
  return {
    ...trunk,
    fields: image,
    name,
    imageSize,
    projection,
    projectionBias: image.boolean('timm_proj_bias', false),
  }
}

/** Takes the matrix of queries, keys and values of a block, and the biases that it has. */
function takeQueryKeyValue(
  picker: Picker,
  { attentionBias, eva02 }: TimmTower,
  from: string,
  to: string,
  width: Size,
): void {
  const parts = ['query', 'key', 'value'].map(part => `${to}.${part}`)
  if (eva02) {
    for (const part of ['query', 'key', 'value']) {
      const name = `${from}.attn.${part[0]}_proj`
      picker.take(`${to}.${part}.weight`, `${name}.weight`, [width, width])
      if (part !== 'key') picker.take(`${to}.${part}.bias`, `${name}.bias`, [width])
    }
    return
  }
  if (!attentionBias) {
    picker.takeLinearParts(parts, `${from}.attn.qkv`, times(width, 3), width)
    return
  }
  picker.takeParts(
    parts.map(part => `${part}.weight`),
    `${from}.attn.qkv.weight`,
    [times(width, 3), width],
  )
  if (attentionBias === 'none') return
  picker.take(`${to}.query.bias`, `${from}.attn.q_bias`, [width])
  picker.take(`${to}.value.bias`, `${from}.attn.v_bias`, [width])
}

/** Takes MobileCLIP's stem; returns the widths of its first two convolutions. */
function takeStem(picker: Picker, from: string, width: Size): [number, number] {
  const first = picker.size(`${from}.0.conv.weight`, 0, 4)
  const second = picker.size(`${from}.1.conv.weight`, 0, 4)
  for (const [i, out, weight, order] of [
    [0, first, picker.checked(`${from}.0.conv.weight`, [first, 3, 4, 4]), [0, 3, 1, 2]],
    [1, second, picker.checked(`${from}.1.conv.weight`, [second, first, 2, 2]), [0, 1, 2, 3]],
  ] as const) {
    picker.picked[`image.stem.conv${i + 1}.weight`] = permuted(weight, order)
    for (const [part, name] of [
      ['weight', 'weight'],
      ['bias', 'bias'],
      ['mean', 'running_mean'],
      ['variance', 'running_var'],
    ] as const)
      picker.take(`image.stem.bn${i + 1}.${part}`, `${from}.${i}.bn.${name}`, [out])
  }
  const patch = picker.checked(`${from}.2.conv.weight`, [width, second, 2, 2])
  picker.picked['image.patch.weight'] = permuted(patch, [0, 2, 3, 1])
  picker.take('image.patch.bias', `${from}.2.conv.bias`, [width])
  return [first.n, second.n]
}

/** Takes the tensors of the tower; `embed` is the width of the joint space. */
export function takeTimm(
  picker: Picker,
  tower: TimmTower,
  embed: Size,
  options: CheckpointOptions,
): TransformerSpec & { embed: { kind: 'patches' } } {
  const { fields, name, eps, classToken, preNorm, pool, headDim, projection } = tower
  const file = fields.file
  const field = fields.name('timm_model_name')
  const t = 'visual.trunk'
  const width = picker.size(`${t}.norm.weight`, 0, 1)
  const patch: Size = tower.stem
    ? { n: 16, from: `the stem of ${name}` }
    : picker.size(`${t}.patch_embed.proj.weight`, 2, 4)
  const gated = tower.eva02 ?? false
  const mlp = picker.size(`${t}.blocks.0.mlp.${gated ? 'fc1_x' : 'fc1'}.weight`, 0, 2)
  const layers = picker.table.count(`${t}.blocks.`)
  const activation = agreedActivation(file, field, tower.activation, options)
  checkDivides(file, `${field} "${name}": heads of ${headDim}`, width.n / headDim, width.n)
  const heads = agreedHeads(file, field, width.n / headDim, options, 'image')

  const side = Math.floor(tower.imageSize.n / patch.n)
  const classPosition = classToken && !tower.stem
  const positions: Size = {
    ...tower.imageSize,
    n: side ** 2 + (classPosition ? 1 : 0),
    from: `${classPosition ? '1 + ' : ''}(${tower.imageSize.n} / ${patch.n}) ** 2: ${tower.imageSize.from}`,
  }
  if (classToken) picker.takeRow('image.class', `${t}.cls_token`, 2, [width])
  const stem = tower.stem ? takeStem(picker, `${t}.patch_embed.backbone`, width) : undefined
  if (!stem) picker.take('image.patch.weight', `${t}.patch_embed.proj.weight`, [width, 3, patch, patch])
  if (picker.has(`${t}.patch_embed.proj.bias`))
    picker.take('image.patch.bias', `${t}.patch_embed.proj.bias`, [width])
  picker.takeRow('image.position', `${t}.pos_embed`, 1, [positions, width])
  if (preNorm) picker.takeNorm('image.preNorm', `${t}.norm_pre`, width)
  for (let i = 0; i < layers; ++i) {
    const from = `${t}.blocks.${i}`
    const to = `image.blocks.${i}`
    picker.takeNorm(`${to}.norm1`, `${from}.norm1`, width)
    takeQueryKeyValue(picker, tower, from, to, width)
    for (const [part, scale] of [
      ['out', 'ls1'],
      ['fc2', 'ls2'],
    ] as const)
      if (picker.has(`${from}.${scale}.gamma`))
        picker.take(`${to}.${part}.scale`, `${from}.${scale}.gamma`, [width])
    picker.takeLinear(`${to}.out`, `${from}.attn.proj`, width, width)
    picker.takeNorm(`${to}.norm2`, `${from}.norm2`, width)
    picker.takeLinear(`${to}.fc1`, `${from}.mlp.${gated ? 'fc1_x' : 'fc1'}`, mlp, width)
    if (gated) {
      picker.takeLinear(`${to}.gate`, `${from}.mlp.fc1_g`, mlp, width)
      picker.takeNorm(`${to}.attentionNorm`, `${from}.attn.norm`, width)
      picker.takeNorm(`${to}.mlpNorm`, `${from}.mlp.norm`, mlp)
    }
    picker.takeLinear(`${to}.fc2`, `${from}.mlp.fc2`, width, mlp)
  }
  picker.takeNorm('image.postNorm', `${t}.norm`, width)

  let attentionPool: TransformerSpec['attentionPool']
  if (pool === 'attention') {
    const p = `${t}.attn_pool`
    const poolMlp = picker.size(`${p}.mlp.fc1.weight`, 0, 2)
    picker.takeRow('image.pool.latent', `${p}.latent`, 2, [width])
    picker.takeLinear('image.pool.query', `${p}.q`, width, width)
    picker.takeLinearParts(['image.pool.key', 'image.pool.value'], `${p}.kv`, times(width, 2), width)
    picker.takeLinear('image.pool.out', `${p}.proj`, width, width)
    picker.takeNorm('image.pool.norm', `${p}.norm`, width)
    picker.takeLinear('image.pool.fc1', `${p}.mlp.fc1`, poolMlp, width)
    picker.takeLinear('image.pool.fc2', `${p}.mlp.fc2`, width, poolMlp)
    if (tower.poolHeads) checkDivides(file, `${field} "${name}": heads of the pool`, tower.poolHeads, width.n)
    attentionPool = { heads: tower.poolHeads ?? heads, mlp: poolMlp.n }
  }

  if (projection === 'none' && width.n !== embed.n)
    throw badCheckpoint(
      picker.table.where,
      `${t}.norm.weight`,
      `the image tower is ${width.n} wide (${width.from}) and has no projection, but embeddings have ${embed.n} numbers (${embed.from})`,
      { expected: String(embed.n), actual: String(width.n) },
    )
  if (projection !== 'none') {
    const head = projection === 'inside' ? `${t}.head` : 'visual.head.proj'
    picker.take('image.projection', `${head}.weight`, [embed, width])
    if (projection === 'inside' || tower.projectionBias)
      picker.take('image.projection.bias', `${head}.bias`, [embed])
  }
  return {
    kind: 'transformer',
    embed: {
      kind: 'patches',
      imageSize: tower.imageSize.n,
      patchSize: patch.n,
      classToken,
      ...(stem ? { stem, classPosition } : {}),
      ...(tower.rope ? { rope: { reference: side, ...tower.rope } } : {}),
    },
    preNorm,
    mask: 'full',
    blocks: {
      ...{ width: width.n, layers, heads, mlp: mlp.n, activation, layerNormEps: eps },
      ...(gated ? { gate: 'silu' as const, innerNorms: true } : {}),
    },
    pool,
    ...(attentionPool ? { attentionPool } : {}),
    ...(pool === 'mean' ? { normFirst: true } : {}),
    project: projection === 'none' ? 'identity' : 'matrix',
  }
}
