/**
 * Values that others have published for OpenAI's real weights. They are checked when a folder has both the weights and
 * the image; otherwise they are named as skipped.
 */

export interface Published {
  name: string
  /** File of OpenAI's, by its sha256, or a folder of the hub's repository, by its name. */
  weights: { sha256: string; file: string; folder: string }
  image?: { file: string; sha256?: string; where: string }
  texts?: string[]
  as?: 'logit' | 'probability'
  values: number[]
  tolerance: number
  source: string
}

const vitB32 = {
  sha256: '40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af',
  file: 'ViT-B-32.pt',
  folder: 'clip-vit-base-patch32',
}

export const published: Published[] = [
  {
    name: 'ViT-B/32, two cats on a sofa: logits',
    weights: vitB32,
    image: { file: '000000039769.jpg', where: 'http://images.cocodataset.org/val2017/000000039769.jpg' },
    texts: ['a photo of a cat', 'a photo of a dog'],
    as: 'logit',
    values: [24.5701, 19.3049],
    tolerance: 1e-3,
    source: 'transformers, tests/models/clip/test_modeling_clip.py',
  },
  {
    name: 'ViT-B/32, CLIP.png: probabilities',
    weights: vitB32,
    image: { file: 'CLIP.png', where: 'https://github.com/openai/CLIP/blob/main/CLIP.png' },
    texts: ['a diagram', 'a dog', 'a cat'],
    as: 'probability',
    values: [0.9927937, 0.00421068, 0.00299572],
    // The README does not say in which precision they were computed.
    tolerance: 1e-3,
    source: "README of OpenAI's CLIP",
  },
  {
    name: 'ViT-B/32: number of parameters',
    weights: vitB32,
    values: [151_277_313],
    tolerance: 0,
    source: "notebook of OpenAI's CLIP",
  },
]
