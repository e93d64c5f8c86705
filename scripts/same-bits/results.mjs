// Computes the results of one tree for scripts/same-bits.mjs, through the public API of the tree's own dist/,
// so that it works whatever the tree looks like inside. Writes the bytes of all results to `<to>.bin` and
// their names and lengths to `<to>.json`.
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const { tree, models, only, to } = JSON.parse(process.argv[2])
const require = createRequire(join(tree, 'package.json'))
const { devices, load } = require(join(tree, 'dist/lib/index.js'))
const kernels = require(join(tree, 'dist/lib/kernels.js'))
const dtypes = ['float32', 'bfloat16', 'int8']

const index = []
const parts = []
/** Stores a result: an array of numbers, or a value that JSON can represent. */
function keep(name, value) {
  let bytes = Buffer.from(ArrayBuffer.isView(value) ? [] : JSON.stringify(value))
  if (ArrayBuffer.isView(value)) {
    const bits =
      value instanceof Float32Array
        ? value.map(x => (Number.isNaN(x) ? Number.NaN : x))
        : value instanceof Uint16Array
          ? value.map(half => ((half & 0x7fff) > 0x7f80 ? 0x7fc0 : half))
          : value
    bytes = Buffer.from(bits.buffer, bits.byteOffset, bits.byteLength)
  }
  index.push([name, bytes.length])
  parts.push(bytes)
}
const wanted = name => only.every(word => name.includes(word))

/** mulberry32: the same numbers for the same seed. */
function randomOf(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
const floats = (seed, length, scale = 1) => {
  const random = randomOf(seed)
  return Float32Array.from({ length }, () => (random() + random() + random() - 1.5) * scale)
}
const bytesOf = (seed, length) => {
  const random = randomOf(seed)
  return Uint8Array.from({ length }, () => random() * 256)
}
const halves = values => {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  return Uint16Array.from(bits, b => b >>> 16)
}
/**
 * Rows with rare values: subnormals, infinities, NaN, zeros, and numbers that differ by a factor of 2 ** 60.
 */
function odd(values, cols) {
  const rare = [1e-40, Number.POSITIVE_INFINITY, Number.NaN, 0, -0, 2 ** 30, 2 ** -30]
  for (const [i, x] of rare.entries()) if ((i + 1) * cols <= values.length) values[i * cols + (i % cols)] = x
  return values
}

/** Whether the version has an activation. What only the newer version has is not compared. */
async function knows(activation) {
  const one = new Float32Array(1)
  const size = { rows: 1, inFeatures: 1, outFeatures: 1 }
  return kernels.linear({ x: one, weight: one, ...size, activation }).then(
    () => true,
    error => {
      if (error.field !== 'activation') throw error
      return false
    },
  )
}

/** Linear layers and norms at sizes that fill tiles and at others, attention, cosines, the loss, resizes. */
async function runKernels(backend, options) {
  const name = what => `kernel | ${backend} | ${what}`
  const activations = ['none', 'quickGelu', 'gelu']
  if (await knows('geluTanh')) activations.push('geluTanh')
  const shapes = [
    [1, 8, 5],
    [3, 64, 33],
    [29, 100, 70],
    [50, 768, 96],
    [7, 1030, 64],
  ]
  for (const [rows, inFeatures, outFeatures] of shapes)
    for (const dtype of dtypes)
      for (const activation of activations)
        for (const extra of ['plain', 'odd', 'all']) {
          const title = name(`linear ${dtype} ${rows}x${inFeatures}x${outFeatures} ${activation} ${extra}`)
          if (!wanted(title)) continue
          const x = floats(1, rows * inFeatures)
          const size = { rows, inFeatures, outFeatures, dtype, activation, ...options }
          const weight = floats(2, outFeatures * inFeatures, 0.2)
          const more =
            extra === 'all' ? { bias: floats(3, outFeatures), residual: floats(4, rows * outFeatures) } : {}
          if (extra === 'odd') odd(x, inFeatures)
          keep(title, await kernels.linear({ x, weight, ...more, ...size }))
          if (extra !== 'all') continue
          const out = new Uint16Array(rows * outFeatures)
          keep(`${title} to bfloat16`, await kernels.linear({ x, weight, ...more, ...size, out }))
        }
  for (const [rows, cols] of [
    [5, 7],
    [9, 192],
    [4, 1280],
  ])
    for (const out of [new Float32Array(rows * cols), new Uint16Array(rows * cols)]) {
      const title = name(`layerNorm ${rows}x${cols} ${out.constructor.name}`)
      const a = { x: odd(floats(5, rows * cols), cols), weight: floats(6, cols), bias: floats(7, cols) }
      if (wanted(title)) keep(title, await kernels.layerNorm({ ...a, rows, cols, out, ...options }))
    }
  for (const [sequences, length, heads, headDim] of [
    [2, 5, 3, 8],
    [1, 50, 2, 64],
    [2, 77, 1, 80],
    [1, 257, 1, 104],
  ])
    for (const mask of ['attention', 'causalAttention'])
      for (const dtype of ['float32', 'bfloat16']) {
        const title = name(`${mask} ${dtype} ${sequences}x${length}x${heads}x${headDim}`)
        if (!wanted(title)) continue
        const count = sequences * length * heads * headDim
        const [q, k, v] = [8, 9, 10].map(seed => {
          const values = floats(seed, count, 2)
          return dtype === 'float32' ? values : halves(values)
        })
        keep(title, await kernels[mask]({ q, k, v, sequences, length, heads, headDim, ...options }))
      }
  for (const [rows, classCount, dim] of [
    [1, 1000, 512],
    [5, 37, 30],
    [3, 700, 192],
  ])
    for (const kind of ['float32', 'bfloat16', 'int8'])
      for (const as of ['probability', 'logit', 'cosine']) {
        const title = name(`cosine ${kind} ${rows}x${classCount}x${dim} ${as}`)
        if (!wanted(title)) continue
        const values = floats(11, classCount * dim)
        const classes =
          kind === 'float32'
            ? values
            : kind === 'bfloat16'
              ? halves(values)
              : new Int8Array(bytesOf(12, classCount * dim).buffer)
        const a = { queries: floats(13, rows * dim), classes, rows, classCount, dim, as, ...options }
        keep(title, await kernels.cosineSoftmax(a))
        const { index, value } = await kernels.cosineTopK({ ...a, k: Math.min(classCount, 7) })
        keep(`${title} best`, value)
        keep(`${title} indices`, index)
      }
  for (const [rows, dim] of [
    [3, 16],
    [70, 192],
    [180, 64],
  ]) {
    const title = name(`infoNCE ${rows}x${dim}`)
    if (!wanted(title)) continue
    const [images, texts] = [14, 15].map(seed => floats(seed, rows * dim, dim ** -0.5))
    const { loss, gradients } = await kernels.infoNCE({
      images,
      texts,
      rows,
      dim,
      logitScale: 20,
      ...options,
    })
    keep(title, [loss, gradients.logitScale])
    keep(`${title} of images`, gradients.images)
    keep(`${title} of texts`, gradients.texts)
  }
  for (const [width, height, outWidth, outHeight] of [
    [100, 80, 24, 31],
    [17, 9, 64, 40],
    [640, 427, 224, 149],
    [5, 700, 4, 40],
  ])
    for (const channels of [1, 2, 3, 4]) {
      const title = name(`resizeBicubic ${width}x${height}x${channels} to ${outWidth}x${outHeight}`)
      const data = bytesOf(16, width * height * channels)
      const a = { data, width, height, channels, outWidth, outHeight, ...options }
      if (wanted(title)) keep(title, await kernels.resizeBicubic(a))
    }
}

const raw = (seed, width, height, channels) => {
  // Smooth with a grain, like photographs: blocks of 8 pixels have the same high bits.
  const data = bytesOf(seed, width * height * channels)
  for (let i = 0; i < data.length; i++)
    data[i] = (data[i] & 31) + ((Math.floor(i / (8 * channels)) * 37) & 224)
  return { data, width, height, channels }
}
const images = [
  raw(20, 300, 200, 3),
  raw(21, 64, 90, 4),
  raw(22, 31, 500, 1),
  raw(23, 72, 72, 3),
  raw(24, 700, 90, 2),
  raw(25, 5, 1200, 3),
]
const files = ['dog.png', 'guitar.jpg', 'rocket.png'].map(file =>
  join(tree, 'models/icon-clip/examples', file),
)
const texts = [
  'a dog',
  'a photo of a cat on a red mat',
  'a photo of a cat on a blue mat',
  '',
  `a very long text ${'of many words '.repeat(40)}`,
  'Zażółć gęślą jaźń, 東京 and 🚀',
]

/** One model in one dtype: its results for images, for texts, and for both. */
async function runModel({ name, folder, textless }, backend, device, dtype) {
  const title = (what, which) => `${what} | ${backend} | ${name} ${dtype} ${which}`
  const embedded = folder === undefined
  if (!['images', 'texts', 'scores', 'pixels'].some(what => wanted(title(what, '')))) return
  const clip = await load(folder, { device, dtype, threads: 2 })
  try {
    // The plain loops need a second for an image in a model of full width.
    const some = embedded ? [...files, ...images] : images.slice(0, backend === 'reference' ? 1 : 3)
    for (const output of embedded ? ['embedding', 'pooled', 'tokens'] : ['embedding'])
      for (const normalize of [true, false])
        keep(
          title('images', `${output} ${normalize}`),
          (await clip.encodeImage(some, { output, normalize })).data,
        )
    keep(title('images', 'alone'), (await clip.encodeImage(some[0])).data)
    if (dtype === 'float32')
      for (const [i, image] of some.entries())
        keep(title('pixels', `image ${i}`), (await clip.preprocess(image)).data)
    if (textless) return
    for (const output of embedded ? ['embedding', 'pooled', 'tokens'] : ['embedding'])
      keep(title('texts', output), (await clip.encodeText(texts, { output, truncate: true })).data)
    keep(title('texts', 'alone'), (await clip.encodeText(texts[1], { normalize: false })).data)
    if (!embedded) return
    const classifier = await clip.classifier(['dog', 'cat', 'guitar', 'rocket'], {
      templates: ['an icon of {}', '{}'],
    })
    for (const as of ['probability', 'logit', 'cosine'])
      keep(title('scores', as), await classifier.classify(some, { as }))
    keep(title('scores', 'similarity'), await clip.similarity(files, texts.slice(0, 3)))
  } finally {
    await clip.dispose()
  }
}

/** Every way to compute on this machine: a backend, and the features that it must not use. */
async function variants() {
  const features = process.arch === 'arm64' ? ['dotprod', 'i8mm', 'bf16'] : ['vnni', 'bf16', 'amx']
  const cpus = devices()
    .find(device => device.name === 'cpu')
    .backends.filter(backend => backend.available)
  const found = new Map([['reference', { device: 'reference', env: {} }]])
  for (const { name } of cpus)
    for (let without = 0; without < 1 << features.length; without++) {
      const removed = features.filter((_, i) => without & (1 << i)).map(feature => `-${feature}`)
      const env = { CLIP_NATIVE_BACKEND: name, CLIP_NATIVE_CPU_FEATURES: removed.join() }
      Object.assign(process.env, env)
      const clip = await load(undefined, { device: 'cpu', threads: 1 })
      const { backend } = clip.info
      await clip.dispose()
      if (!found.has(backend)) found.set(backend, { device: 'cpu', env })
    }
  return found
}

for (const [backend, { device, env }] of await variants()) {
  delete process.env.CLIP_NATIVE_BACKEND
  delete process.env.CLIP_NATIVE_CPU_FEATURES
  Object.assign(process.env, env)
  await runKernels(backend, { backend: env.CLIP_NATIVE_BACKEND ?? 'reference', threads: 2 })
  for (const model of [{ name: 'icon-clip' }, ...models])
    for (const dtype of dtypes) await runModel(model, backend, device, dtype)
}
writeFileSync(`${to}.bin`, Buffer.concat(parts))
writeFileSync(`${to}.json`, JSON.stringify(index))
