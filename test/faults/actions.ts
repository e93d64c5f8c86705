/**
 * Every public function that reaches the addon, on a model of almost no width: what the tests of this folder run while
 * memory or the system fails.
 */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clip, devices, type Examples, load, type RawPixels, type Store } from '../../lib/index.js'
import * as kernels from '../../lib/kernels.js'
import { normal, randomBytes } from '../helpers/random.js'

/** What an action needs: made once, before anything fails. */
export interface Stage {
  folder: string
  /** A folder of a small model, without its vocabulary: OpenAI's is used. */
  model: string
  clip: Clip
}

export interface Action {
  /** Makes what the action works on; never under faults. */
  prepare?(stage: Stage): Promise<void>
  /** What a user does; resolves to what must be the same each time. */
  run(stage: Stage): Promise<unknown>
}

const image = (seed: number, side = 20): RawPixels => ({
  data: randomBytes(seed, side * side * 3),
  width: side,
  height: side,
  channels: 3,
})
const images = Array.from({ length: 5 }, (_, i) => image(i + 1))
const texts = ['a cat', 'a dog', 'a small photo of a dog']
const examples: Examples = { images: images.slice(0, 4), labels: ['cat', 'dog', 'cat', 'dog'] }
const [rows, dim, classCount] = [3, 16, 40]
const queries = normal(1, rows * dim)
const classes = normal(2, classCount * dim)
const bank = { queries, rows, dim, classes, classCount, threads: 2 }
const heads = { sequences: 2, length: 5, heads: 2, headDim: 8, threads: 2 }
const [q, k, v] = [3, 4, 5].map(seed => normal(seed, 2 * 5 * 2 * 8))
const attended = { q: q!, k: k!, v: v!, ...heads }
const product = {
  x: normal(6, rows * dim),
  weight: normal(7, classCount * dim),
  bias: normal(8, classCount),
  rows,
  inFeatures: dim,
  outFeatures: classCount,
  threads: 2,
}

const loading =
  (options: Parameters<typeof load>[1]) =>
  async ({ model }: Stage) => {
    const clip = await load(model, { threads: 2, ...options })
    const { data } = await clip.encodeImage(images[0]!)
    await clip.dispose()
    return data
  }

const withStore = async <T>({ clip, folder }: Stage, name: string, body: (store: Store) => Promise<T>) => {
  const store = await clip.openStore(join(folder, name), { create: true })
  try {
    return await body(store)
  } finally {
    await store.close()
  }
}
const items = (n: number, from = 0) =>
  Array.from({ length: n }, (_, i) => ({ id: `${from + i}`, image: image(from + i + 1, 8) }))
const filled = (name: string) => (stage: Stage) =>
  withStore(stage, name, async store => {
    await store.add(items(6))
    await store.add(items(2).map(({ id }) => ({ id: `${id}x`, image: image(9) })))
  })

const file = (stage: Stage, name: string) => join(stage.folder, name)

export const actions: Record<string, Action> = {
  devices: { run: async () => devices().map(d => d.name) },
  'load float32': { run: loading({}) },
  'load bfloat16': { run: loading({ dtype: 'bfloat16' }) },
  'load int8': { run: loading({ dtype: 'int8' }) },
  'load of one tower': { run: loading({ towers: ['image'] }) },
  'load with packCache, first': {
    async run(stage) {
      await rm(file(stage, 'cache'), { recursive: true, force: true })
      return loading({ packCache: true, cacheDir: file(stage, 'cache') })(stage)
    },
  },
  'load with packCache, again': {
    prepare: async stage => {
      await loading({ packCache: true, cacheDir: file(stage, 'packed') })(stage)
    },
    run: stage => loading({ packCache: true, cacheDir: file(stage, 'packed') })(stage),
  },
  encodeImage: { run: async ({ clip }) => (await clip.encodeImage(images)).data },
  'encodeImage, tokens': {
    run: async ({ clip }) => (await clip.encodeImage(images, { output: 'tokens' })).data,
  },
  'encodeImage, three calls at once': {
    run: ({ clip }) => Promise.all(images.slice(0, 3).map(async one => (await clip.encodeImage(one)).data)),
  },
  encodeText: { run: async ({ clip }) => (await clip.encodeText(texts)).data },
  'encodeText, tokens': {
    run: async ({ clip }) => (await clip.encodeText(texts, { output: 'tokens' })).data,
  },
  preprocess: { run: async ({ clip }) => (await clip.preprocess(images)).data },
  'encodeImage of what preprocess made': {
    run: async ({ clip }) => (await clip.encodeImage(await clip.preprocess(images.slice(0, 2)))).data,
  },
  similarity: { run: async ({ clip }) => (await clip.similarity(images.slice(0, 2), texts)).data },
  classify: {
    async run({ clip }) {
      const pets = await clip.classifier(['cat', 'dog', 'fish'], { templates: ['a {}', 'my {}'] })
      return pets.classify(images.slice(0, 2))
    },
  },
  'a classifier, saved and loaded': {
    async run(stage) {
      const pets = await stage.clip.classifier(['cat', 'dog'])
      await pets.save(file(stage, 'pets.safetensors'))
      const again = await stage.clip.loadClassifier(file(stage, 'pets.safetensors'))
      return again.classify(images[0]!)
    },
  },
  linearProbe: {
    async run({ clip }) {
      const probe = await clip.linearProbe(examples, { C: 1, maxIterations: 5 })
      return probe.classify(images[4]!)
    },
  },
  tipAdapter: {
    async run({ clip }) {
      const tip = await clip.tipAdapter(examples, { fineTune: { epochs: 2, batchSize: 2 } })
      return tip.classify(images[4]!)
    },
  },
  adapt: {
    async run({ clip }) {
      const pairs = { images: images.slice(0, 3), texts }
      const adapter = await clip.adapt(pairs, { epochs: 2, batchSize: 2 })
      return adapter.projections.image.data
    },
  },
  'store, open': {
    prepare: filled('open'),
    run: stage => withStore(stage, 'open', async store => store.size),
  },
  'store, add': {
    async run(stage) {
      await rm(file(stage, 'add'), { recursive: true, force: true })
      return withStore(stage, 'add', async store => {
        await store.add(items(3))
        return store.size
      })
    },
  },
  'store, search': {
    prepare: filled('search'),
    run: stage => withStore(stage, 'search', store => store.search('a cat', { topK: 3 })),
  },
  'store, near duplicates': {
    prepare: filled('near'),
    run: stage =>
      withStore(stage, 'near', async store => {
        const pairs = []
        for await (const pair of store.nearDuplicates({ threshold: 0.9 })) pairs.push(pair)
        return pairs
      }),
  },
  'store, compact': {
    prepare: filled('compact'),
    run: stage =>
      withStore(stage, 'compact', async store => {
        await store.compact()
        return store.size
      }),
  },
  'store, export': {
    prepare: filled('export'),
    run: stage =>
      withStore(stage, 'export', async store => {
        await store.export(file(stage, 'export.npy'))
        return readFile(file(stage, 'export.npy'))
      }),
  },
  openMatrix: {
    async run(stage) {
      const matrix = await kernels.openMatrix(join(stage.model, 'model.safetensors'), {
        offset: 4096,
        rows: 300,
        dim,
      })
      try {
        return await kernels.cosineTopK({ queries, classes: matrix, k: 2, threads: 2 })
      } finally {
        await matrix.close()
      }
    },
  },
  attention: { run: () => kernels.attention(attended) },
  causalAttention: { run: () => kernels.causalAttention(attended) },
  cosineSoftmax: { run: () => kernels.cosineSoftmax(bank) },
  cosineTopK: { run: () => kernels.cosineTopK({ ...bank, k: 2 }) },
  'cosineTopK, reference': { run: () => kernels.cosineTopK({ ...bank, k: 2, backend: 'reference' }) },
  infoNCE: {
    run: () => kernels.infoNCE({ images: queries, texts: normal(9, rows * dim), rows, dim, threads: 2 }),
  },
  softmaxCrossEntropy: {
    run: () =>
      kernels.softmaxCrossEntropy({
        logits: queries,
        targets: new Int32Array(rows),
        rows,
        cols: dim,
        threads: 2,
      }),
  },
  linear: { run: () => kernels.linear(product) },
  'linear, bfloat16': { run: () => kernels.linear({ ...product, dtype: 'bfloat16' }) },
  'linear, int8': { run: () => kernels.linear({ ...product, dtype: 'int8' }) },
  layerNorm: {
    run: () =>
      kernels.layerNorm({
        x: queries,
        weight: normal(10, dim),
        bias: normal(11, dim),
        rows,
        cols: dim,
        threads: 2,
      }),
  },
  resizeBicubic: {
    run: () => kernels.resizeBicubic({ ...image(12, 20), outWidth: 7, outHeight: 9, threads: 2 } as never),
  },
}
