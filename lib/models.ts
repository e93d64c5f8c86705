/** OpenAI's released models, as data. Names, order and digests are those of openai/CLIP, clip/clip.py (MIT). */

import { argumentError } from './errors.js'
import { suggestion } from './options.js'

export interface ModelInfo {
  /** The name in openai/CLIP: `ViT-B/32`. */
  name: string
  /** Where OpenAI serves the checkpoint. */
  url: string
  /** Hex digest of the file. */
  sha256: string
  /** Width of the joint space. */
  embedDim: number
  /** Side of the image tower's input, in pixels. */
  imageSize: number
  license: 'MIT'
}

const files: readonly (readonly [
  name: string,
  file: string,
  sha256: string,
  embedDim: number,
  size: number,
])[] = [
  ['RN50', 'RN50.pt', 'afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762', 1024, 224],
  ['RN101', 'RN101.pt', '8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599', 512, 224],
  ['RN50x4', 'RN50x4.pt', '7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd', 640, 288],
  ['RN50x16', 'RN50x16.pt', '52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa', 768, 384],
  ['RN50x64', 'RN50x64.pt', 'be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c', 1024, 448],
  ['ViT-B/32', 'ViT-B-32.pt', '40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af', 512, 224],
  ['ViT-B/16', 'ViT-B-16.pt', '5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f', 512, 224],
  ['ViT-L/14', 'ViT-L-14.pt', 'b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836', 768, 224],
  [
    'ViT-L/14@336px',
    'ViT-L-14-336px.pt',
    '3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02',
    768,
    336,
  ],
]

/** OpenAI's names in OpenAI's order, as `clip.available_models()` of the original. */
export function availableModels(): string[] {
  return files.map(([name]) => name)
}

/** Where a model of {@link availableModels} comes from. Throws TypeError for another name. */
export function modelInfo(name: string): ModelInfo {
  const found = files.find(f => f[0] === name)
  if (!found) {
    const near = typeof name === 'string' ? suggestion(name, availableModels()) : undefined
    throw argumentError(
      'name',
      `be one of ${availableModels().join(', ')}${near ? ` (did you mean '${near}'?)` : ''}`,
      name,
    )
  }
  const [, file, sha256, embedDim, imageSize] = found
  const url = `https://openaipublic.azureedge.net/clip/models/${sha256}/${file}`
  return { name, url, sha256, embedDim, imageSize, license: 'MIT' }
}
