/** OpenAI's ModifiedResNet: three-convolution stem, bottlenecks with anti-aliasing pools, attention pooling. */

import type { ModifiedResNetSpec } from '../native/spec.js'
import { badCheckpoint, badConfig } from './errors.js'
import type { OpenclipSizes } from './openclip-sizes.js'
import { agreedHeads, checkDivides, optionHeads } from './options.js'
import type { CheckpointOptions } from './spec.js'
import { type Picker, type Size, squareOf, times } from './tensors.js'

/** A bottleneck's output over its planes. */
const EXPANSION = 4
const LAYERS = [1, 2, 3, 4]

export function resnetSizes(
  picker: Picker,
  options: CheckpointOptions,
  origin: boolean,
  config?: OpenclipSizes,
): ModifiedResNetSpec {
  const { table } = picker
  const width = config?.image.width ?? picker.size('visual.layer1.0.conv1.weight', 0, 4)
  const layers = LAYERS.map(layer => {
    const stored = table.count(`visual.layer${layer}.`)
    const said = Array.isArray(config?.image.layers) ? config.image.layers[layer - 1] : undefined
    if (said && said.n !== stored)
      throw badConfig(
        config?.file ?? '',
        said.config?.field,
        `${said.n} blocks (${said.from}), but ${table.where} has ${stored} of visual.layer${layer}`,
      )
    if (stored < 1)
      throw badCheckpoint(table.where, `visual.layer${layer}.0`, `has no visual.layer${layer}.0`)
    return stored
  }) as ModifiedResNetSpec['layers']
  const { positions, grid } = squareOf(picker, 'visual.attnpool.positional_embedding')
  const imageSize = config?.image.imageSize.n ?? grid * 32
  if (imageSize !== grid * 32)
    throw badConfig(
      config?.file ?? '',
      'model_cfg.vision_cfg.image_size',
      `an image size of ${imageSize} needs 1 + (${imageSize} / 32) ** 2 positions, but "visual.attnpool.positional_embedding" has ${positions.n}`,
    )
  const features = width.n * 32
  let heads = features / 64
  if (config)
    heads = agreedHeads(
      config.file,
      'model_cfg.vision_cfg.head_width',
      config.image.heads.n,
      options,
      'image',
    )
  else if (origin) heads = agreedHeads(table.where, 'width * 32 / 64', heads, options, 'image')
  else heads = optionHeads(options, 'image') ?? heads
  checkDivides(config?.file ?? table.where, 'heads', heads, features)
  return { kind: 'modifiedResNet', imageSize, width: width.n, layers, heads }
}

/** Canonical names are listed in spec.ts. */
export function takeResnet(picker: Picker, spec: ModifiedResNetSpec, embed: Size): void {
  const width: Size = { n: spec.width, from: 'the width of visual.layer1' }
  if (spec.width % 2 !== 0)
    throw badCheckpoint(
      picker.table.where,
      'visual.layer1.0.conv1.weight',
      `a ResNet of width ${spec.width}; an even number is needed`,
    )
  const half: Size = { ...width, n: spec.width / 2 }
  const conv = (canonical: string, name: string, out: Size, input: Size | number, kernel: number) =>
    picker.take(canonical, name, [out, input, kernel, kernel])
  const norm = (canonical: string, name: string, size: Size) => {
    picker.take(`${canonical}.weight`, `${name}.weight`, [size])
    picker.take(`${canonical}.bias`, `${name}.bias`, [size])
    picker.take(`${canonical}.mean`, `${name}.running_mean`, [size])
    picker.take(`${canonical}.variance`, `${name}.running_var`, [size])
  }
  const stem = 'image.stem'
  conv(`${stem}.conv1.weight`, 'visual.conv1.weight', half, 3, 3)
  conv(`${stem}.conv2.weight`, 'visual.conv2.weight', half, half, 3)
  conv(`${stem}.conv3.weight`, 'visual.conv3.weight', width, half, 3)
  norm(`${stem}.bn1`, 'visual.bn1', half)
  norm(`${stem}.bn2`, 'visual.bn2', half)
  norm(`${stem}.bn3`, 'visual.bn3', width)
  let input = width
  for (const layer of LAYERS) {
    const planes = times(width, 2 ** (layer - 1))
    const out = times(planes, EXPANSION)
    for (let i = 0; i < spec.layers[layer - 1]; ++i) {
      const to = `image.layer${layer}.${i}`
      const from = `visual.layer${layer}.${i}`
      conv(`${to}.conv1.weight`, `${from}.conv1.weight`, planes, input, 1)
      conv(`${to}.conv2.weight`, `${from}.conv2.weight`, planes, planes, 3)
      conv(`${to}.conv3.weight`, `${from}.conv3.weight`, out, planes, 1)
      norm(`${to}.bn1`, `${from}.bn1`, planes)
      norm(`${to}.bn2`, `${from}.bn2`, planes)
      norm(`${to}.bn3`, `${from}.bn3`, out)
      if (i === 0) {
        // nn.Sequential: '-1' is the average pool, '0' the convolution, '1' the norm.
        conv(`${to}.downsample.conv.weight`, `${from}.downsample.0.weight`, out, input, 1)
        norm(`${to}.downsample.bn`, `${from}.downsample.1`, out)
      }
      input = out
    }
  }
  const pool = 'visual.attnpool'
  const positions: Size = { n: (spec.imageSize / 32) ** 2 + 1, from: 'the image size' }
  picker.take('image.pool.position', `${pool}.positional_embedding`, [positions, input])
  for (const [part, name, out] of [
    ['query', 'q_proj', input],
    ['key', 'k_proj', input],
    ['value', 'v_proj', input],
    ['out', 'c_proj', embed],
  ] as const) {
    picker.take(`image.pool.${part}.weight`, `${pool}.${name}.weight`, [out, input])
    picker.take(`image.pool.${part}.bias`, `${pool}.${name}.bias`, [out])
  }
}
