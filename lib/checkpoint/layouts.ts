/** Finds the weight files of a model folder, and explains folders without supported ones. */

import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { originalOf } from '../base/known-models.js'
import { badCheckpoint, badConfig } from './errors.js'
import { statPath } from './source-file.js'

export const HUGGING_FACE = 'config.json'
export const OPENCLIP = 'open_clip_config.json'
/** Weight files in the order in which transformers and OpenCLIP look for them. */
export const OPENCLIP_WEIGHTS = [
  'open_clip_model.safetensors',
  'open_clip_pytorch_model.bin',
  'open_clip_pytorch_model.pt',
]
const HUGGING_FACE_WEIGHTS = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
]
/** transformers' variants: model.fp16.safetensors, model.safetensors.index.fp16.json and their like. */
const VARIANT =
  /^(?:model\.([\w-]+)\.safetensors|model\.safetensors\.index\.([\w-]+)\.json|pytorch_model\.([\w-]+)\.bin|pytorch_model\.bin\.index\.([\w-]+)\.json)$/
/** A shard of an index, which is never a complete model. */
const SHARD = /-\d{5}-of-\d{5}\.(safetensors|bin)$/
/** Variants, the most precise first. */
const VARIANTS = ['fp32', 'fp16', 'bf16']

export async function firstOf(folder: string, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) if (await statPath(join(folder, name))) return name
  return undefined
}

const listed = async (folder: string): Promise<string[]> => (await readdir(folder).catch(() => [])).sort()

/** transformers' weight file, or index of weight files, of a folder. */
export async function huggingFaceWeights(folder: string): Promise<string | undefined> {
  const name = await firstOf(folder, HUGGING_FACE_WEIGHTS)
  if (name) return name
  return chooseVariant(folder, await listed(folder))
}

/** The variant to read in a folder without a plain weight file. */
export function chooseVariant(folder: string, names: readonly string[]): string | undefined {
  const variants = names.flatMap(file => {
    const match = VARIANT.exec(file)
    const variant = match?.slice(1).find(part => part !== undefined)
    return variant !== undefined && !SHARD.test(file) ? [{ file, variant }] : []
  })
  for (const wanted of VARIANTS) {
    const found = variants.find(({ variant }) => variant === wanted)
    if (found) return found.file
  }
  if (variants.length > 1 && new Set(variants.map(({ variant }) => variant)).size > 1)
    throw badCheckpoint(
      folder,
      variants[0]!.file,
      `has the variants ${variants.map(({ file }) => file).join(', ')}: load one of the files by its path`,
    )
  return variants[0]?.file
}

/** Where sentence-transformers puts a CLIP: `0_CLIPModel`. */
export async function sentenceTransformersFolder(folder: string): Promise<string | undefined> {
  return (await listed(folder)).find(name => /^\d{1,2}_CLIPModel$/.test(name))
}

/** The one weight file of a folder without a configuration. */
export async function onlyWeightFile(folder: string): Promise<string | undefined> {
  const files = (await listed(folder)).filter(name => /\.(pt|pth|ckpt|bin|safetensors)$/i.test(name))
  if (files.length > 1)
    throw badCheckpoint(
      folder,
      undefined,
      `has neither ${HUGGING_FACE} nor ${OPENCLIP}, but ${files.length} weight files: load one of them by its path (${files.slice(0, 5).join(', ')})`,
    )
  return files[0]
}

/** What to do about folders that hold a CLIP model in an unsupported format. */
const OTHER_FORMS: [RegExp, (folder: string, names: string[]) => string][] = [
  [
    /^onnx$|\.onnx$|^openvino_model\.xml$/,
    folder =>
      `is an export for another runtime (ONNX or OpenVINO), whose weights are not read. Load the model that it was made from, by its hub id${originalText(folder)}`,
  ],
  [
    /^adapter_config\.json$/,
    () =>
      'is an adapter (LoRA) without its model: merge it into the model in Python (`model.merge_and_unload()`) and save that with save_pretrained',
  ],
  [
    /^model_index\.json$/,
    (_, names) =>
      `is a pipeline of diffusers: load the folder of its CLIP (${names.filter(name => /^(text|image)_encoder/.test(name)).join(', ') || 'it has none'})`,
  ],
  [
    /^(tf_model\.h5|flax_model\.msgpack)$/,
    () =>
      'has weights for TensorFlow or Flax only, which are not read: save them once with PyTorch (`CLIPModel.from_pretrained(folder, from_tf=True)` or `from_flax=True`, then `.save_pretrained(folder)`)',
  ],
  [
    /\.distcp$|^zero_to_fp32\.py$/,
    () => 'is a distributed checkpoint: merge its parts into one state dict in Python first',
  ],
]

function originalText(folder: string): string {
  const original = originalOf(basename(folder))
  return original === undefined ? '; its model card names it' : `: load(${JSON.stringify(original)})`
}

/** Why the model of a folder can't be opened, as precisely as its file names allow. */
export async function noWeights(folder: string, config: string | undefined): Promise<Error> {
  const names = await listed(folder)
  for (const [pattern, text] of OTHER_FORMS)
    if (names.some(name => pattern.test(name)))
      return badConfig(folder, config ?? HUGGING_FACE, text(folder, names))
  if (config === undefined)
    return badCheckpoint(
      folder,
      undefined,
      `is not a model folder: it has neither ${HUGGING_FACE} nor ${OPENCLIP}, nor a weight file`,
    )
  const expected = config === OPENCLIP ? OPENCLIP_WEIGHTS : HUGGING_FACE_WEIGHTS
  return badCheckpoint(folder, expected[0], `has ${config}, but no ${expected.join(', ')}`)
}
