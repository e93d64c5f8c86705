/**
 * The models that have names: OpenAI's nine, in OpenAI's order, and the most common hub repositories. Nothing here uses the
 * disk or the network.
 */

import { argumentError, ClipError } from './errors.js'

/** Publisher of a model, which determines the layout of its files. */
export type ModelFamily = 'openai' | 'huggingface' | 'openclip'

/** Description of a model that can be loaded by name. */
export interface ModelInfo {
  /** The name to pass to `load`. */
  name: string
  /** Publisher of the checkpoint. */
  family: ModelFamily
  /** For OpenAI models the URL of the file; for Hugging Face repositories that of their page. */
  url: string
  /** File name of an OpenAI model, which is a single file. */
  file?: string
  /** SHA-256 of `file`, in hexadecimal. The hashes of Hugging Face files come from the hub. */
  sha256?: string
  /** Size of `file` in bytes. */
  bytes?: number
  /** Licence, as an SPDX identifier; absent for a repository that is not in the list of this package. */
  license?: string
  /** Name of the image tower; absent for a repository that is not in the list of this package. */
  architecture?: string
  /** Width and height of the input in pixels. */
  imageSize?: number
  /** Dimension of embeddings; absent for a repository that is not in the list of this package. */
  embedDim?: number
  /** Revision, for Hugging Face repositories only. */
  revision?: string
}

/** The server of OpenAI's files; the address of a file is {endpoint}/<sha256>/<file>. */
export const OPENAI_ENDPOINT = 'https://openaipublic.azureedge.net/clip/models'
/** The server of Hugging Face repositories. */
export const HUB_ENDPOINT = 'https://huggingface.co'

type Row = [name: string, file: string, sha256: string, bytes: number, imageSize: number, embedDim: number]

// Names, files and hashes as in OpenAI's clip/clip.py; the hash is also a part of the file's address.
const openaiRows: Row[] = [
  [
    'RN50',
    'RN50.pt',
    'afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762',
    255827503,
    224,
    1024,
  ],
  [
    'RN101',
    'RN101.pt',
    '8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599',
    291791292,
    224,
    512,
  ],
  [
    'RN50x4',
    'RN50x4.pt',
    '7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd',
    421854225,
    288,
    640,
  ],
  [
    'RN50x16',
    'RN50x16.pt',
    '52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa',
    661125706,
    384,
    768,
  ],
  [
    'RN50x64',
    'RN50x64.pt',
    'be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c',
    1353500174,
    448,
    1024,
  ],
  [
    'ViT-B/32',
    'ViT-B-32.pt',
    '40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af',
    353976522,
    224,
    512,
  ],
  [
    'ViT-B/16',
    'ViT-B-16.pt',
    '5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f',
    350837078,
    224,
    512,
  ],
  [
    'ViT-L/14',
    'ViT-L-14.pt',
    'b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836',
    932768134,
    224,
    768,
  ],
  [
    'ViT-L/14@336px',
    'ViT-L-14-336px.pt',
    '3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02',
    934088680,
    336,
    768,
  ],
]

const openai: ModelInfo[] = openaiRows.map(([name, file, sha256, bytes, imageSize, embedDim]) => ({
  name,
  family: 'openai',
  url: `${OPENAI_ENDPOINT}/${sha256}/${file}`,
  file,
  sha256,
  bytes,
  license: 'MIT',
  architecture: name.replace(/@.*/, ''),
  imageSize,
  embedDim,
}))

const hubRows: [
  id: string,
  family: ModelFamily,
  architecture: string,
  imageSize: number,
  embedDim: number,
][] = [
  ['openai/clip-vit-base-patch32', 'huggingface', 'ViT-B/32', 224, 512],
  ['openai/clip-vit-base-patch16', 'huggingface', 'ViT-B/16', 224, 512],
  ['openai/clip-vit-large-patch14', 'huggingface', 'ViT-L/14', 224, 768],
  ['openai/clip-vit-large-patch14-336', 'huggingface', 'ViT-L/14', 336, 768],
  ['laion/CLIP-ViT-B-32-laion2B-s34B-b79K', 'openclip', 'ViT-B/32', 224, 512],
  ['laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K', 'openclip', 'ViT-B/32', 224, 512],
  ['laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K', 'openclip', 'ViT-B/32', 256, 512],
  ['laion/CLIP-ViT-B-16-laion2B-s34B-b88K', 'openclip', 'ViT-B/16', 224, 512],
  ['laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K', 'openclip', 'ViT-B/16', 224, 512],
  ['laion/CLIP-ViT-L-14-laion2B-s32B-b82K', 'openclip', 'ViT-L/14', 224, 768],
  ['laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K', 'openclip', 'ViT-L/14', 224, 768],
  ['laion/CLIP-ViT-H-14-laion2B-s32B-b79K', 'openclip', 'ViT-H/14', 224, 1024],
  ['laion/CLIP-ViT-g-14-laion2B-s12B-b42K', 'openclip', 'ViT-g/14', 224, 1024],
  ['laion/CLIP-ViT-g-14-laion2B-s34B-b88K', 'openclip', 'ViT-g/14', 224, 1024],
  ['laion/CLIP-ViT-bigG-14-laion2B-39B-b160k', 'openclip', 'ViT-bigG/14', 224, 1280],
]

const hub: ModelInfo[] = hubRows.map(([name, family, architecture, imageSize, embedDim]) => ({
  name,
  family,
  url: `${HUB_ENDPOINT}/${name}`,
  license: 'MIT',
  architecture,
  imageSize,
  embedDim,
  revision: 'main',
}))

/** The names of OpenAI's models, in OpenAI's order, as `clip.available_models()` in Python. */
export function availableModels(): string[] {
  return openai.map(model => model.name)
}

/** Every model in the list of this package, OpenAI's first. Any other hub id works as well. */
export function knownModels(): ModelInfo[] {
  return [...openai, ...hub].map(model => ({ ...model }))
}

const hubPart = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?$/
const hubRevision = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/

/**
 * A hub id: `owner/name`, with `@revision` (a branch, tag or commit) and open_clip's prefix `hf-hub:` allowed.
 * Undefined when `text` has another form.
 */
export function parseHubId(text: string): { id: string; revision: string } | undefined {
  const bare = text.startsWith('hf-hub:') ? text.slice(7) : text
  const at = bare.indexOf('@')
  const id = at < 0 ? bare : bare.slice(0, at)
  const revision = at < 0 ? 'main' : bare.slice(at + 1)
  const parts = id.split('/')
  if (parts.length !== 2 || !parts.every(part => hubPart.test(part) && !/--|\.\./.test(part)))
    return undefined
  if (!hubRevision.test(revision) || revision.split('/').some(part => part === '' || /^\.+$/.test(part)))
    return undefined
  return { id, revision }
}

/**
 * Describes a model, given OpenAI's name or a Hugging Face id: URL, hash, size and licence. For an id that is not in the
 * list of this package only the URL is known. Throws a TypeError if `name` is not a string, and a ClipError
 * ERR_CLIP_CONFIG, which suggests similar names, if it is neither a name nor an id.
 */
export function modelInfo(name: string): ModelInfo {
  if (typeof name !== 'string') throw argumentError('name', "be a model's name or hub id", name)
  const bare = name.startsWith('hf-hub:') ? name.slice(7) : name
  const known = openai.find(model => model.name === name) ?? hub.find(model => model.name === bare)
  if (known) return { ...known }
  const parsed = parseHubId(name)
  // "ViT-B/23" has the form of a hub id, but whoever writes it means one of OpenAI's.
  if (!parsed || /^(vit-[a-z]+|rn\d+(x\d+)?)$/i.test(parsed.id.split('/')[0])) throw unknownName(name)
  const base = hub.find(model => model.name === parsed.id)
  return {
    ...(base ?? { family: 'huggingface' as const, url: `${HUB_ENDPOINT}/${parsed.id}` }),
    name: parsed.id,
    revision: parsed.revision,
  }
}

/** The error for an unknown model name, which suggests similar names. */
export function unknownName(name: string): ClipError {
  const near = suggestions(name)
  const shown = name.length > 80 ? `${name.slice(0, 77)}...` : name
  return new ClipError(
    'ERR_CLIP_CONFIG',
    `There is no model named ${JSON.stringify(shown)}. ${near.length > 0 ? `Did you mean ${near.join(' or ')}? ` : ''}` +
      `Expected one of ${availableModels().join(', ')}, a hub id (owner/name), or the path of a file or folder that exists`,
    { field: 'source', actual: shown, expected: near.length > 0 ? near.join(' or ') : 'a model name' },
  )
}

/** Up to three names that differ little from `name`, nearest first; separators and case are ignored. */
export function suggestions(name: string): string[] {
  const wanted = squash(name)
  if (wanted === '' || wanted.length > 100) return []
  return knownModels()
    .map(model => {
      const full = squash(model.name)
      const last = squash(model.name.slice(model.name.indexOf('/') + 1))
      const isHub = model.family !== 'openai'
      return {
        name: model.name,
        distance: Math.min(distance(wanted, full), isHub ? distance(wanted, last) : 99),
      }
    })
    .filter(({ distance }) => distance <= Math.max(1, Math.floor(wanted.length / 4)))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ name }) => name)
}

const squash = (text: string) => text.toLowerCase().replace(/[^a-z0-9]+/g, '')

/** Damerau-Levenshtein (neighbours swapped count once). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j], before[j - 2] + 1)
    }
    before = above
    above = row
  }
  return above[b.length]
}

/** Owners of repositories that contain exports of other people's models for other runtimes. */
const exporters = /^(xenova|onnx-community|webnn|qualcomm)$/i

/** The hub id of the model that an export with this name was made from, where the name says so. */
export function originalOf(name: string): string | undefined {
  const last = name.slice(name.lastIndexOf('/') + 1).toLowerCase()
  return hub.find(model => {
    const own = model.name.slice(model.name.indexOf('/') + 1).toLowerCase()
    return last === own || last.startsWith(`${own}-onnx`) || last.startsWith(`${own}_onnx`)
  })?.name
}

/** Refuses ids whose repositories hold ONNX files only. */
export function exportError(id: string): ClipError | undefined {
  if (!exporters.test(id.slice(0, id.indexOf('/')))) return undefined
  const original = originalOf(id)
  return new ClipError(
    'ERR_CLIP_CONFIG',
    `${id} contains ONNX files, exported from another model for another runtime; clip-native reads the original weights. ${original ? `Use load(${JSON.stringify(original)})` : 'Use the hub id of the original, which its model card names'}`,
    { file: id, field: 'source', actual: id, expected: original ?? 'the hub id of the original model' },
  )
}

/** The model in the list of this package that weights of these sizes were most likely trained from. */
export function baseModel(said: unknown, patchSize: number, imageSize: number): string {
  if (typeof said === 'string' && hub.some(({ name }) => name === said)) return said
  if (patchSize === 32) return 'openai/clip-vit-base-patch32'
  if (patchSize === 16) return 'openai/clip-vit-base-patch16'
  return imageSize > 224 ? 'openai/clip-vit-large-patch14-336' : 'openai/clip-vit-large-patch14'
}
