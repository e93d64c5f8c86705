/** Preprocessing as transformers and OpenCLIP configure it. */

import type { Json } from '../base/json.js'
import { imageSizeOf, type ModelSpec, type PreprocessSpec } from '../native/spec.js'
import { badConfig } from './errors.js'
import { type Fields, kindOfJson } from './fields.js'

export const OPENAI_MEAN: [number, number, number] = [0.48145466, 0.4578275, 0.40821073]
export const OPENAI_STD: [number, number, number] = [0.26862954, 0.26130258, 0.27577711]
/** Mean and deviation of SiglipImageProcessor. */
const HALF: [number, number, number] = [0.5, 0.5, 0.5]

/** The width and height of the model's images; a text tower alone has none. */
export const inputSize = ({ image }: ModelSpec): number => (image ? imageSizeOf(image) : 224)

export function openaiPreprocess(size: number): PreprocessSpec {
  return { size, interpolation: 'bicubic', mode: 'shortest', mean: OPENAI_MEAN, std: OPENAI_STD }
}

/** Pillow's numbers. */
const RESAMPLE = new Map<unknown, PreprocessSpec['interpolation']>([
  [0, 'nearest'],
  [2, 'bilinear'],
  [3, 'bicubic'],
])

const STEPS = ['do_resize', 'do_rescale', 'do_normalize'] as const

interface Edges {
  kind: 'shortest' | 'exact'
  pixels: number
}

/** {shortest_edge: n}, {height: n, width: n} or n. */
function edges(fields: Fields, key: string, plain: Edges['kind'], fallback: Edges): Edges {
  const value = fields.get(key)
  if (value === undefined) return fallback
  if (typeof value === 'number') return { kind: plain, pixels: fields.integer(key, undefined, 1, 1 << 14) }
  const section = value instanceof Map ? fields.section(key) : undefined
  if (!section) throw fields.wrong(key, 'a number, {shortest_edge} or {height, width}')
  const keys = [...section.object.keys()]
    .filter(k => section.has(k))
    .sort()
    .join()
  if (keys === 'shortest_edge')
    return { kind: 'shortest', pixels: section.integer('shortest_edge', undefined, 1, 1 << 14) }
  if (keys === 'height,width') {
    const height = section.integer('height', undefined, 1, 1 << 14)
    const width = section.integer('width', undefined, 1, 1 << 14)
    if (height !== width)
      throw badConfig(
        fields.file,
        fields.name(key),
        `\`${fields.name(key)}\` is ${height} x ${width}; only squares are implemented`,
      )
    return { kind: 'exact', pixels: height }
  }
  throw badConfig(
    fields.file,
    fields.name(key),
    `\`${fields.name(key)}\` has the keys ${keys.slice(0, 200) || 'none'}; implemented are {shortest_edge} and {height, width}`,
  )
}

/** Settings of CLIPImageProcessor, ChineseCLIPImageProcessor (the same) or SiglipImageProcessor; unsupported ones are refused by name. `imageSize` is that of the model. */
export function huggingFacePreprocess(fields: Fields, imageSize: number): PreprocessSpec {
  let siglip = false
  for (const key of ['image_processor_type', 'feature_extractor_type']) {
    const found = /^(CLIP|ChineseCLIP|Siglip)(ImageProcessor|FeatureExtractor)(Fast|Pil)?$/.exec(
      fields.string(key, 'CLIPImageProcessor'),
    )
    if (!found)
      throw fields.wrong(key, '"CLIPImageProcessor", "ChineseCLIPImageProcessor" or "SiglipImageProcessor"')
    siglip ||= found[1] === 'Siglip'
  }
  for (const key of STEPS)
    if (!fields.boolean(key, true))
      throw badConfig(fields.file, fields.name(key), `\`${fields.name(key)}\` false is not implemented`, {
        expected: 'true',
        actual: 'false',
      })
  if (fields.boolean('do_pad', false))
    throw badConfig(fields.file, fields.name('do_pad'), `\`${fields.name('do_pad')}\` is not implemented`, {
      expected: 'false',
      actual: 'true',
    })
  const rescale = fields.number('rescale_factor', 1 / 255)
  if (Math.abs(rescale * 255 - 1) > 1e-6) throw fields.wrong('rescale_factor', '1 / 255')

  const size = edges(fields, 'size', 'shortest', { kind: siglip ? 'exact' : 'shortest', pixels: 224 })
  const crops = fields.boolean('do_center_crop', !siglip)
  const crop = edges(fields, 'crop_size', 'exact', { kind: 'exact', pixels: 224 })
  // Cropping the whole image changes nothing, so it may be disabled if both edges are resized.
  const cropped = crops ? crop.pixels : size.pixels
  if (!crops && size.kind !== 'exact')
    throw badConfig(
      fields.file,
      fields.name('do_center_crop'),
      `\`${fields.name('do_center_crop')}\` false is implemented only with \`size\` {height, width}`,
    )
  for (const [key, pixels] of [
    ['size', size.pixels],
    ['crop_size', cropped],
  ] as const)
    if (pixels !== imageSize)
      throw badConfig(
        fields.file,
        fields.name(key),
        `\`${fields.name(key)}\` is ${pixels} pixels, but the model takes images of ${imageSize} (vision_config.image_size)`,
        { expected: String(imageSize), actual: String(pixels) },
      )
  const resample = fields.get('resample') ?? 3
  const interpolation = RESAMPLE.get(resample)
  if (!interpolation) throw fields.wrong('resample', '0 (nearest), 2 (bilinear) or 3 (bicubic)')
  return {
    size: imageSize,
    interpolation,
    mode: size.kind === 'shortest' ? 'shortest' : 'squash',
    mean: fields.triple('image_mean', siglip ? HALF : OPENAI_MEAN),
    std: fields.triple('image_std', siglip ? HALF : OPENAI_STD, true),
  }
}

/** open_clip's PreprocessCfg. */
export function openclipPreprocess(fields: Fields | undefined, imageSize: number): PreprocessSpec {
  if (!fields) return openaiPreprocess(imageSize)
  const known = ['size', 'mode', 'mean', 'std', 'interpolation', 'resize_mode', 'fill_color']
  for (const key of fields.object.keys())
    if (!known.includes(key) && fields.has(key))
      throw badConfig(
        fields.file,
        fields.name(key),
        `\`${fields.name(key)}\` ${kindOfJson(fields.get(key))} is not implemented`,
      )
  if (fields.string('mode', 'RGB') !== 'RGB') throw fields.wrong('mode', '"RGB"')
  let size: Json = fields.get('size') ?? imageSize
  if (Array.isArray(size) && (size.length === 1 || (size.length === 2 && size[0] === size[1]))) size = size[0]
  if (size !== imageSize) throw fields.wrong('size', `${imageSize}, like model_cfg.vision_cfg.image_size`)
  const interpolation = fields.string('interpolation', 'bicubic')
  if (interpolation !== 'bicubic' && interpolation !== 'bilinear' && interpolation !== 'nearest')
    throw fields.wrong('interpolation', '"bicubic", "bilinear" or "nearest"')
  const mode = fields.string('resize_mode', 'shortest')
  if (mode !== 'shortest' && mode !== 'squash' && mode !== 'longest')
    throw fields.wrong('resize_mode', '"shortest", "squash" or "longest"')
  const fill = fields.get('fill_color') ?? 0
  if (mode === 'longest' && fill !== 0) throw fields.wrong('fill_color', '0')
  return {
    size: imageSize,
    interpolation,
    mode,
    mean: fields.triple('mean', OPENAI_MEAN),
    std: fields.triple('std', OPENAI_STD, true),
  }
}
