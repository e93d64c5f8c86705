/**
 * The shapes of the real models, for benchmarks of whole models. The cases of single ops are in native/ops.
 * Sources: the model tables of Radford et al. 2021 (tables 19 and 20) and the configurations on the hub.
 */

export interface TowerShape {
  width: number
  layers: number
  heads: number
  mlp: number
}

export interface ModelShape {
  name: string
  embedDim: number
  image: TowerShape & { size: number; patch: number }
  text: TowerShape & { context: number; vocab: number }
  activation: 'quickGelu' | 'gelu'
}

const text = (width: number, layers = 12, context = 77, vocab = 49408) => ({
  width,
  layers,
  heads: width / 64,
  mlp: width * 4,
  context,
  vocab,
})

export const models: ModelShape[] = [
  {
    name: 'icon-clip',
    embedDim: 192,
    image: { size: 72, patch: 12, width: 192, layers: 6, heads: 3, mlp: 768 },
    text: { ...text(192, 4, 32, 8194), heads: 3 },
    activation: 'quickGelu',
  },
  {
    name: 'ViT-B/32',
    embedDim: 512,
    image: { size: 224, patch: 32, width: 768, layers: 12, heads: 12, mlp: 3072 },
    text: text(512),
    activation: 'quickGelu',
  },
  {
    name: 'ViT-B/16',
    embedDim: 512,
    image: { size: 224, patch: 16, width: 768, layers: 12, heads: 12, mlp: 3072 },
    text: text(512),
    activation: 'quickGelu',
  },
  {
    name: 'ViT-L/14',
    embedDim: 768,
    image: { size: 224, patch: 14, width: 1024, layers: 24, heads: 16, mlp: 4096 },
    text: text(768),
    activation: 'quickGelu',
  },
  {
    name: 'ViT-L/14@336px',
    embedDim: 768,
    image: { size: 336, patch: 14, width: 1024, layers: 24, heads: 16, mlp: 4096 },
    text: text(768),
    activation: 'quickGelu',
  },
  {
    name: 'ViT-H-14',
    embedDim: 1024,
    image: { size: 224, patch: 14, width: 1280, layers: 32, heads: 16, mlp: 5120 },
    text: text(1024, 24),
    activation: 'gelu',
  },
  {
    name: 'ViT-g-14',
    embedDim: 1024,
    image: { size: 224, patch: 14, width: 1408, layers: 40, heads: 16, mlp: 6144 },
    text: text(1024, 24),
    activation: 'gelu',
  },
  {
    name: 'ViT-bigG-14',
    embedDim: 1280,
    image: { size: 224, patch: 14, width: 1664, layers: 48, heads: 16, mlp: 8192 },
    text: text(1280, 32),
    activation: 'gelu',
  },
]

export function model(name: string): ModelShape {
  const found = models.find(m => m.name === name)
  if (!found) throw new Error(`No model shape ${name}`)
  return found
}

/** Rows of the image tower: the class token and one per patch. */
export const tokens = (m: ModelShape): number => 1 + Math.floor(m.image.size / m.image.patch) ** 2

/** The matrix products of one block: [name, inFeatures, outFeatures]. */
export const linears = (t: TowerShape): [name: string, inFeatures: number, outFeatures: number][] => [
  ['qkv', t.width, 3 * t.width],
  ['out', t.width, t.width],
  ['fc1', t.width, t.mlp],
  ['fc2', t.mlp, t.width],
]

/** The class matrix that cosineTopK streams in the comparison with a plain loop. */
export const topK = { rows: 1, classCount: 100_000, dim: 512, k: 5 }
