/**
 * How much a process grows while something is learned or measured, and the bytes that come back:
 *
 *   node --expose-gc dist/test/learn/memory-growth.js probe|retrieval|tip ROWS WIDTH CLASSES
 *
 * probe: logistic regression of (ROWS, WIDTH) features with CLASSES classes. retrieval: evaluate() over ROWS pairs of
 * WIDTH-d embeddings (the towers are replaced: what they need is measured elsewhere). tip: Tip-Adapter on ROWS examples,
 * alpha and beta chosen on as many others. Prints { measured, grownBytes, inputBytes } as JSON.
 */

import { type Clip, Embeddings, evaluate, load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import { generator } from '../helpers/random.js'
import { growth, measurable } from '../hostile/memory.js'

const [task, ...sizes] = process.argv.slice(2)
const [rows, width, classes] = sizes.map(Number) as [number, number, number]

/** (n, width), of length 1; every class is a direction and noise. */
function features(n: number, of: number, seed: number): Float32Array {
  const random = generator(seed)
  const data = new Float32Array(n * of)
  for (let r = 0; r < n; r++) {
    let sum = 0
    for (let j = 0; j < of; j++) {
      const value = random() - 0.5 + (j % classes === r % classes ? 1 : 0)
      data[r * of + j] = value
      sum += value * value
    }
    for (let j = 0; j < of; j++) data[r * of + j]! /= Math.sqrt(sum)
  }
  return data
}

const label = (i: number) => `class ${i % classes}`
let work: () => Promise<unknown>
let inputBytes: number

if (task === 'probe') {
  const data = features(rows, width, 1)
  inputBytes = data.byteLength
  work = () =>
    binding().learn.logistic(1, {
      features: data,
      labels: Int32Array.from({ length: rows }, (_, i) => i % classes),
      rows,
      width,
      classes,
      c: 0.316,
      // Memory is the same in every iteration.
      maxIterations: 15,
      weights: new Float32Array(classes * width),
      bias: new Float32Array(classes),
      threads: 2,
    })
} else if (task === 'retrieval') {
  inputBytes = 2 * rows * width * 4
  const towers = {
    info: { embedDim: width, logitScale: 100, fingerprint: 'none' },
    encodeImage: async (images: unknown[]) =>
      new Embeddings(features(images.length, width, 2), [images.length, width] as const),
    classifier: async (texts: string[]) => ({
      embeddings: new Embeddings(features(texts.length, width, 3), [texts.length, width] as const),
    }),
  } as unknown as Clip
  const pairs = {
    name: 'pairs',
    async *samples() {
      for (let i = 0; i < rows; i++) yield { image: 'x', label: `caption ${i}` }
    },
  }
  work = () => evaluate(towers, pairs, { task: 'retrieval' })
} else {
  const clip = await load(undefined, { threads: 2 })
  const of = clip.info.embedDim
  const examples = (seed: number) => ({
    images: new Embeddings(features(rows, of, seed), [rows, of] as const),
    labels: Array.from({ length: rows }, (_, i) => label(i)),
  })
  const [train, validation] = [examples(4), examples(5)]
  inputBytes = 2 * rows * of * 4
  work = () => clip.tipAdapter(train, { validation })
}
;(globalThis as { gc?: () => void }).gc?.()
const grownBytes = await growth(async () => {
  await work()
})
console.log(JSON.stringify({ measured: measurable, grownBytes, inputBytes }))
