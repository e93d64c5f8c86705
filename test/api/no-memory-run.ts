/**
 * Run by no-memory.test.ts: calls whose results take a gigabyte, in a process that may have little more memory than it
 * has. Writes a line of JSON for each: the error's code, name and message.
 */

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Embeddings, load } from '../../lib/index.js'
import {
  attention,
  cosineSoftmax,
  cosineTopK,
  infoNCE,
  linear,
  openMatrix,
  resizeBicubic,
  softmaxCrossEntropy,
} from '../../lib/kernels.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

const width = 16
/** A matrix of side x side float32 takes a gigabyte. */
const side = 16_384
const folder = await mkdtemp(join(tmpdir(), 'clip-no-memory-'))
const clip = await load(await writeTinyModel(join(folder, 'model')), { threads: 1 })
const some = new Embeddings(new Float32Array(side * width).fill(1), [side, width] as const)
const queries = new Float32Array(side).fill(1)
const matrix = await openMatrix(await written('matrix', queries), { rows: side, dim: 1 })
const classifier = await clip.classifier(Array.from({ length: 4096 }, (_, i) => `${i}`))
const image = { data: new Uint8Array(16 * 16 * 3), width: 16, height: 16, channels: 3 } as const
/** Never touched, so no memory of the machine: its pages are not there before they are written. */
const large = new Float32Array(side * side)
/** So many that no array has room for all pairs of them. */
const countless = new Embeddings(new Float32Array(large.buffer, 0, 2 ** 23 * width), [
  2 ** 23,
  width,
] as const)
const bytes = Uint8Array.of(1)
const fill = <T>(n: number, value: T): T[] => new Array<T>(n).fill(value)

async function written(name: string, data: Float32Array): Promise<string> {
  const file = join(folder, name)
  await writeFile(file, data)
  return file
}

const calls: Record<string, () => Promise<unknown>> = {
  similarity: () => clip.similarity(some, some),
  'similarity over images': () => clip.similarity(some, some, { over: 'images' }),
  'similarity beyond the length of any array': () => clip.similarity(countless, countless),
  classify: () =>
    classifier.classify(new Embeddings(new Float32Array(4 * side * width), [4 * side, width]), {
      topK: 4096,
    }),
  'classify with a threshold': () =>
    classifier.classify(new Embeddings(new Float32Array(4 * side * width), [4 * side, width]), {
      threshold: 0,
    }),
  tokenize: () => clip.tokenize(fill(4_000_000, 'a')),
  encodeText: () => clip.encodeText(fill(16_000_000, 'a')),
  encodeImage: () => clip.encodeImage(fill(16_000_000, image)),
  'encodeImage, every token': () => clip.encodeImage(fill(4_000_000, image), { output: 'tokens' }),
  preprocess: () => clip.preprocess(fill(400_000, image)),
  linearProbe: () =>
    clip.linearProbe(
      { images: some, labels: Array.from({ length: side }, (_, i) => `${i}`) },
      { output: 'embedding', maxIterations: 1 },
    ),
  cosineSoftmax: () =>
    cosineSoftmax({ queries, classes: queries, rows: side, classCount: side, dim: 1, threads: 1 }),
  cosineTopK: () =>
    cosineTopK({ queries, classes: queries, rows: side, classCount: side, dim: 1, k: side, threads: 1 }),
  'cosineTopK in a file': () => cosineTopK({ queries, classes: matrix, k: side, threads: 1 }),
  linear: () =>
    linear({ x: queries, weight: queries, rows: side, inFeatures: 1, outFeatures: side, threads: 1 }),
  attention: () =>
    attention({
      q: large,
      k: large,
      v: large,
      sequences: side,
      length: side,
      heads: 1,
      headDim: 1,
      threads: 1,
    }),
  softmaxCrossEntropy: () =>
    softmaxCrossEntropy({ logits: large, targets: new Int32Array(side), rows: side, cols: side, threads: 1 }),
  infoNCE: () => infoNCE({ images: large, texts: large, rows: side, dim: side, threads: 1 }),
  resizeBicubic: () =>
    resizeBicubic({
      data: bytes,
      width: 1,
      height: 1,
      channels: 1,
      outWidth: 2 * side,
      outHeight: 2 * side,
      threads: 1,
    }),
}

/** Kilobytes of address space that the process has. */
const held = Number(/^VmSize:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1])
const limit = (held + 600 * 1024) * 1024
const limited = spawnSync('prlimit', ['--pid', String(process.pid), `--as=${limit}`], { encoding: 'utf8' })
if (limited.error || limited.status !== 0) throw limited.error ?? new Error(limited.stderr)

for (const [name, call] of Object.entries(calls)) {
  let result: object
  try {
    await call()
    result = {}
  } catch (error) {
    const { name: kind, code, message } = error as NodeJS.ErrnoException
    result = { kind, code, message }
  }
  process.stdout.write(`${JSON.stringify({ name, ...result })}\n`)
}
const { shape } = await clip.encodeText(['still here'])
process.stdout.write(`${JSON.stringify({ name: 'afterwards', shape })}\n`)
await matrix.close()
await rm(folder, { recursive: true, force: true })
