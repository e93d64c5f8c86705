/**
 * ConvNeXt of timm, as OpenCLIP stores it: `visual.trunk.*`, and `visual.head.*` for the projection. Sizes come from the tensors;
 * timm's name decides the epsilon of the layer norms.
 */

import type { ConvNextSpec } from '../native/spec.js'
import type { Fields } from './fields.js'
import { type Picker, permuted, type Size } from './tensors.js'

/** The models of OpenCLIP. */
const NAMES = /^convnext_(tiny|small|base|large|xlarge|xxlarge)$/
const STAGES = [0, 1, 2, 3]

export interface ConvNextTower {
  fields: Fields
  imageSize: Size
  eps: number
  /** A matrix, or an MLP whose first layer has a bias. */
  head: 'linear' | 'mlp'
  projectionBias: boolean
}

/** Reads the keys of vision_cfg if its trunk is a ConvNeXt. */
export function convNextTower(image: Fields, imageSize: Size): ConvNextTower | undefined {
  const name = image.string('timm_model_name', '')
  if (!NAMES.test(name)) return undefined
  const pool = image.string('timm_pool', 'avg')
  if (pool !== '' && pool !== 'avg') throw image.wrong('timm_pool', '"" or "avg"')
  const head = image.object.has('timm_proj') ? image.object.get('timm_proj') : 'linear'
  if (head !== 'linear' && head !== 'mlp') throw image.wrong('timm_proj', '"linear" or "mlp"')
  return {
    fields: image,
    imageSize,
    eps: name === 'convnext_xxlarge' ? 1e-5 : 1e-6,
    head,
    projectionBias: image.boolean('timm_proj_bias', false),
  }
}

/** Takes the tensors of the tower; `embed` is the width of the joint space. */
export function takeConvNext(picker: Picker, tower: ConvNextTower, embed: Size): ConvNextSpec {
  const t = 'visual.trunk'
  const patch = picker.size(`${t}.stem.0.weight`, 2, 4)
  const least = patch.n << (STAGES.length - 1)
  if (tower.imageSize.n < least) throw tower.fields.wrong('image_size', `at least ${least}`)
  const stages: ConvNextSpec['stages'] = []
  let before: Size | undefined
  for (const s of STAGES) {
    const from = `${t}.stages.${s}`
    const to = `image.stage${s + 1}`
    const width = picker.size(`${from}.blocks.0.conv_dw.bias`, 0, 1)
    const mlp = picker.size(`${from}.blocks.0.mlp.fc1.bias`, 0, 1)
    const layers = picker.table.count(`${from}.blocks.`)
    if (!before) {
      picker.take('image.stem.weight', `${t}.stem.0.weight`, [width, 3, patch, patch])
      picker.take('image.stem.bias', `${t}.stem.0.bias`, [width])
      picker.takeNorm('image.stem.norm', `${t}.stem.1`, width)
    } else {
      picker.takeNorm(`${to}.downsample.norm`, `${from}.downsample.0`, before)
      const down = picker.checked(`${from}.downsample.1.weight`, [width, before, 2, 2])
      picker.picked[`${to}.downsample.weight`] = permuted(down, [0, 2, 3, 1])
      picker.take(`${to}.downsample.bias`, `${from}.downsample.1.bias`, [width])
    }
    for (let i = 0; i < layers; ++i) {
      const block = `${from}.blocks.${i}`
      const depthwise = picker.checked(`${block}.conv_dw.weight`, [width, 1, 7, 7])
      picker.picked[`${to}.${i}.depthwise.weight`] = permuted(depthwise, [2, 3, 0])
      picker.take(`${to}.${i}.depthwise.bias`, `${block}.conv_dw.bias`, [width])
      picker.takeNorm(`${to}.${i}.norm`, `${block}.norm`, width)
      picker.takeLinear(`${to}.${i}.fc1`, `${block}.mlp.fc1`, mlp, width)
      picker.takeLinear(`${to}.${i}.fc2`, `${block}.mlp.fc2`, width, mlp)
      if (picker.has(`${block}.gamma`)) picker.take(`${to}.${i}.fc2.scale`, `${block}.gamma`, [width])
    }
    stages.push({ width: width.n, layers, mlp: mlp.n })
    before = width
  }
  const features = before!
  picker.takeNorm('image.postNorm', `${t}.head.norm`, features)
  let input = features
  if (tower.head === 'mlp') {
    input = picker.size('visual.head.mlp.fc1.bias', 0, 1)
    picker.takeLinear('image.head.fc1', 'visual.head.mlp.fc1', input, features)
  }
  const last = tower.head === 'mlp' ? 'visual.head.mlp.fc2' : 'visual.head.proj'
  picker.take('image.projection', `${last}.weight`, [embed, input])
  if (tower.projectionBias) picker.take('image.projection.bias', `${last}.bias`, [embed])
  return {
    kind: 'convNext',
    imageSize: tower.imageSize.n,
    patchSize: patch.n,
    stages,
    layerNormEps: tower.eps,
    ...(tower.head === 'mlp' ? { headMlp: input.n } : {}),
  }
}
