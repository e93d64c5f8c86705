/**
 * worker.terminate() and process.exit() while native code runs: what runs stops at its next block. Every job here would
 * take minutes; a test that waits for one ends by ava's time limit.
 */

import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { linear } from '../lib/kernels.js'
import { child, lib } from './helpers/child.js'
import { lackingEntries } from './helpers/entries-test.js'
import { isNightly } from './helpers/nightly.js'
import { emulated } from './helpers/patience.js'

/** Runs in another thread or process: `job` starts something there that nobody waits for. */
const script = (job: string) => `
const { binding } = await import('${lib('native/addon')}')
const { load } = await import('${lib('index')}')
const { kernels, learn, openMatrix, measure } = binding()
const floats = n => new Float32Array(n).fill(0.01)
const labels = (n, most) => new Int32Array(n).map((_, i) => i % most)
const images = (n, size = 72) => Array.from({ length: n }, () => ({ data: new Uint8Array(size * size * 3), width: size, height: size, channels: 3 }))
const started = promise => promise.then(() => console.log('it ended by itself'), () => {})
${job}
`

const attention = (length: number, on: string) => `
const [q, k, v, out] = [0, 0, 0, 0].map(() => floats(${length} * 64))
started(kernels.attention({ q, k, v, out, sequences: 1, length: ${length}, heads: 1, headDim: 64, mask: 'full', ${on} }))`

const jobs: { name: string; quick?: boolean; job: string }[] = [
  ...[1, 2].map(threads => ({
    name: `linear of reference, threads ${threads}`,
    quick: threads === 1,
    job: `started(kernels.linear({ x: floats(8192 * 4096), weight: floats(4096 * 4096), out: floats(8192 * 4096), rows: 8192,
  inFeatures: 4096, outFeatures: 4096, activation: 'none', threads: ${threads}, backend: 'reference' }))`,
  })),
  {
    name: 'linear of one row, reference',
    job: `started(kernels.linear({ x: floats(32768), weight: floats(32768 * 8192), out: floats(8192), rows: 1,
  inFeatures: 32768, outFeatures: 8192, activation: 'none', threads: 2, backend: 'reference' }))`,
  },
  {
    name: 'attention, threads 1',
    quick: true,
    job: attention(1 << 18, 'threads: 1, backend: undefined'),
  },
  { name: 'attention, threads 2', job: attention(1 << 18, 'threads: 2, backend: undefined') },
  { name: 'attention of reference', job: attention(1 << 16, `threads: 2, backend: 'reference'`) },
  ...[1, 2].map(threads => ({
    name: `cosineTopK, threads ${threads}`,
    job: `started(kernels.cosineTopK({ queries: floats(65536 * 512), classes: floats(65536 * 512), rows: 65536, classCount: 65536,
  dim: 512, logitScale: 1, as: 'cosine', index: new Int32Array(65536), value: floats(65536), k: 1, threads: ${threads},
  backend: undefined }))`,
  })),
  {
    name: 'cosineSoftmax of reference',
    job: `started(kernels.cosineSoftmax({ queries: floats(4096 * 1024), classes: floats(16384 * 1024), rows: 4096, classCount: 16384,
  dim: 1024, logitScale: 1, as: 'probability', out: floats(4096 * 16384), threads: 2, backend: 'reference' }))`,
  },
  {
    name: 'infoNce',
    job: `started(kernels.infoNce({ images: floats(131072 * 64), texts: floats(131072 * 64), rows: 131072, dim: 64, logitScale: 1,
  values: new Float64Array(2), imagesGradient: floats(131072 * 64), textsGradient: floats(131072 * 64), threads: 1,
  backend: undefined }))`,
  },
  {
    name: 'many calls that wait',
    job: `const x = floats(4096 * 2048), weight = floats(2048 * 2048)
for (let i = 0; i < 20; i++) started(kernels.linear({ x, weight, out: floats(4096 * 2048), rows: 4096, inFeatures: 2048,
  outFeatures: 2048, activation: 'none', threads: 1, backend: 'reference' }))`,
  },
  {
    name: 'logistic regression',
    quick: true,
    job: `started(learn.logistic(1, { features: floats(20000 * 1024).map((v, i) => Math.sin(i)), labels: labels(20000, 500), rows: 20000,
  width: 1024, classes: 500, c: 1e6, maxIterations: 1e6, weights: floats(500 * 1024), bias: floats(500), threads: 2 }))`,
  },
  {
    name: 'Tip-Adapter',
    job: `started(learn.tipAdapter(1, { features: floats(20000 * 512), labels: labels(20000, 100), classes: floats(100 * 512),
  keys: floats(5000 * 512), owners: labels(5000, 100), rows: 20000, dim: 512, classCount: 100, keyCount: 5000, logitScale: 100,
  alpha: 1, beta: 1, epochs: 1e6, batch: 256, rate: 0.001, weightDecay: 0, seed: 1, threads: 1 }))`,
  },
  {
    name: 'contrastive training',
    job: `const side = () => ({ features: floats(20000 * 768), width: 768, projection: floats(512 * 768) })
started(learn.contrastive(1, { images: side(), texts: side(), pairs: 20000, embedDim: 512, logitScale: 10, epochs: 1e6, batch: 20000,
  rate: 0.001, weightDecay: 0, seed: 1, threads: 2 }))`,
  },
  {
    name: 'a search of terabytes',
    quick: true,
    job: `const matrix = await openMatrix({ file: process.env.CLIP_TEST_MATRIX, offset: 0, rows: 2 ** 31 - 1, dim: 512, dtype: 'int8' })
started(matrix.topK({ job: 1, queries: floats(8 * 512), index: new Int32Array(8), value: floats(8), rows: 8, k: 1, logitScale: 1,
  as: 'cosine', threads: 2, backend: undefined }))`,
  },
  {
    name: 'images, a whole pass of reference',
    quick: true,
    job: `const clip = await load(undefined, { device: 'reference', maxBatchRows: 1e6, threads: 1 })
started(clip.encodeImage(images(4000)))`,
  },
  {
    name: 'texts, a whole pass of reference',
    job: `const clip = await load(undefined, { device: 'reference', maxBatchRows: 1e6, threads: 1 })
started(clip.encodeText(Array.from({ length: 5000 }, (_, i) => 'a picture of the number ' + i)))`,
  },
  {
    name: 'a benchmark of linear',
    job: `started(measure.linear({ rows: 512, inFeatures: 2048, outFeatures: 2048, dtype: 'float32', threads: 1, copies: 4,
  times: floats(1e6) }))`,
  },
]

let folder: string
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'clip-native-terminate-'))
  // Without blocks on the disk.
  const file = await open(join(folder, 'matrix'), 'w')
  await file.truncate((2 ** 31 - 1) * 512)
  await file.close()
  process.env.CLIP_TEST_MATRIX = join(folder, 'matrix')
})
test.after.always(async () => {
  delete process.env.CLIP_TEST_MATRIX
  await rm(folder, { recursive: true })
})

// One after the other: they take memory.
const whenQuick = (quick?: boolean) => ((quick && !emulated) || isNightly ? test.serial : test.serial.skip)

for (const { name, quick, job } of jobs) {
  if (job.includes('measure.') && lackingEntries) {
    test.skip(`terminating a worker stops ${name} (${lackingEntries})`, () => {})
    continue
  }
  whenQuick(quick)(`terminating a worker stops ${name}`, async t => {
    const code = script(`
const { parentPort } = await import('node:worker_threads')
${job}
// By then a pool thread has begun it.
setTimeout(() => parentPort.postMessage('running'), 100)`)
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { stdout: true })
    let said = ''
    worker.stdout.on('data', piece => {
      said += piece
    })
    await new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    t.is(await worker.terminate(), 1)
    t.is(said, '')
    // The pool is free again.
    const x = Float32Array.of(1, 2)
    const weight = Float32Array.of(3, 4)
    t.is((await linear({ x, weight, rows: 1, inFeatures: 2, outFeatures: 1 }))[0], 11)
  })
}

for (const { name, job } of jobs.filter(one => /^(linear of reference|logistic|images)/.test(one.name)))
  whenQuick(name === 'logistic regression')(`process.exit stops ${name}`, async t => {
    const { end, stdout, stderr } = await child(
      script(`${job}\nsetTimeout(() => { console.log('leaving'); process.exit(3) }, 100)`),
    )
    t.is(end, 3, stderr)
    t.is(stdout, 'leaving')
  })
