/**
 * One side of a comparison in its own process: opens a model and runs bursts of one case on request, so that
 * the driver can alternate between the sides. Started by arena.ts.
 */

import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packageRoot } from '../../lib/base/package.js'
import { type Clip, load } from '../../lib/index.js'
import type { OnnxDtype } from './onnx-clip.js'
import type { OrtModule, OrtSession, OrtTensor } from './ort.js'
import { pixels } from './pixels.js'
import type { TransformersModule } from './transformers.js'

export interface Opening {
  side: 'ours' | 'ort' | 'transformers'
  /** For ours a checkpoint folder, for onnxruntime an ONNX file, for transformers.js a folder in its own layout. */
  source: string
  tower: 'image' | 'text'
  dtype: 'float32' | 'bfloat16' | OnnxDtype
  threads: number
}

export type Case =
  /** For ours and transformers.js: everything from the file's name to the embedding. */
  | { kind: 'file'; file: string }
  /** The same of many files in one call. transformers.js reads and encodes `together` of them at a time. */
  | { kind: 'folder'; files: string[]; decode: 'exact' | 'fast'; together: number }
  | { kind: 'image'; batch: number; size: number }
  /** Ours gets the strings; onnxruntime gets their ids, padded to `length`. */
  | { kind: 'text'; texts: string[]; ids: number[][]; length: number }

export type Request =
  | { id: number; do: 'open'; opening: Opening }
  | { id: number; do: 'once'; case: Case }
  | { id: number; do: 'burst'; case: Case; milliseconds: number }
  | { id: number; do: 'close' }

export interface Answer {
  id: number
  error?: { code?: string; message: string }
  /** ms for opening, or for each run of a burst. */
  times?: number[]
  /** ms of processor time (all threads) per run of a burst. */
  cpu?: number
  /** Embeddings, not normalized. */
  values?: number[]
  rss?: number
}

type Runner = (c: Case) => () => Promise<Float32Array>

async function openOurs(o: Opening): Promise<Runner> {
  const dtype = o.dtype
  const clip: Clip = await load(o.source, { dtype, threads: o.threads, towers: [o.tower] })
  return c => {
    const options = { normalize: false }
    if (c.kind === 'file') return async () => (await clip.encodeImage(c.file, options)).data
    if (c.kind === 'folder')
      return async () => (await clip.encodeImage(c.files, { ...options, decode: c.decode })).data
    if (c.kind === 'image') {
      const image = {
        data: pixels(c.batch, c.size),
        shape: [c.batch, 3, c.size, c.size] as [number, number, number, number],
      }
      return async () => (await clip.encodeImage(image, options)).data
    }
    return async () => (await clip.encodeText(c.texts, options)).data
  }
}

async function openOrt(o: Opening): Promise<Runner> {
  const require = createRequire(join(packageRoot, 'bench/peers/package.json'))
  const ort = require('onnxruntime-node') as OrtModule
  const session: OrtSession = await ort.InferenceSession.create(o.source, {
    intraOpNumThreads: o.threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    executionMode: 'sequential',
  })
  return c => {
    if (c.kind === 'file' || c.kind === 'folder') throw new Error('onnxruntime-node reads no images')
    const output = c.kind === 'image' ? 'image_embeds' : 'text_embeds'
    const feeds: Record<string, OrtTensor> =
      c.kind === 'image'
        ? { pixel_values: new ort.Tensor('float32', pixels(c.batch, c.size), [c.batch, 3, c.size, c.size]) }
        : { input_ids: new ort.Tensor('int64', padded(c.ids, c.length), [c.ids.length, c.length]) }
    return async () => (await session.run(feeds))[output]!.data as Float32Array
  }
}

function padded(ids: number[][], length: number): BigInt64Array {
  const all = new BigInt64Array(ids.length * length)
  for (const [i, one] of ids.entries()) for (const [j, id] of one.entries()) all[i * length + j] = BigInt(id)
  return all
}

/** As in its documentation: a processor or tokenizer, then the model; it gets strings and files, like our side. */
async function openTransformers(o: Opening): Promise<Runner> {
  const require = createRequire(join(packageRoot, 'bench/peers/package.json'))
  const { env, AutoProcessor, AutoTokenizer, RawImage, ...models } = (await import(
    pathToFileURL(require.resolve('@huggingface/transformers')).href
  )) as TransformersModule
  env.allowRemoteModels = false
  const options = {
    dtype: 'fp32',
    device: 'cpu',
    local_files_only: true,
    session_options: { intraOpNumThreads: o.threads, interOpNumThreads: 1 },
  }
  if (o.tower === 'image') {
    const processor = await AutoProcessor.from_pretrained(o.source, options)
    const vision = await models.CLIPVisionModelWithProjection.from_pretrained(o.source, options)
    return c => {
      if (c.kind === 'folder')
        return async () => {
          const rows: number[] = []
          for (let i = 0; i < c.files.length; i += c.together) {
            const images = await Promise.all(
              c.files.slice(i, i + c.together).map(file => RawImage.read(file)),
            )
            rows.push(...(await vision(await processor(images))).image_embeds!.data)
          }
          return Float32Array.from(rows)
        }
      if (c.kind !== 'file') throw new Error('transformers.js is given files')
      return async () => (await vision(await processor(await RawImage.read(c.file)))).image_embeds!.data
    }
  }
  const tokenizer = await AutoTokenizer.from_pretrained(o.source, options)
  const text = await models.CLIPTextModelWithProjection.from_pretrained(o.source, options)
  return c => {
    if (c.kind !== 'text') throw new Error('transformers.js is given texts')
    return async () => (await text(tokenizer(c.texts, { padding: true, truncation: true }))).text_embeds!.data
  }
}

let runner: Runner | undefined
const runs = new Map<string, () => Promise<Float32Array>>()

function runOf(c: Case): () => Promise<Float32Array> {
  const key = JSON.stringify(c)
  let run = runs.get(key)
  if (!run) {
    run = runner!(c)
    runs.set(key, run)
  }
  return run
}

async function answer(r: Request): Promise<Omit<Answer, 'id'>> {
  if (r.do === 'open') {
    const start = performance.now()
    runner = await { ours: openOurs, ort: openOrt, transformers: openTransformers }[r.opening.side](r.opening)
    return { times: [performance.now() - start] }
  }
  if (r.do === 'once') return { values: [...(await runOf(r.case)())], rss: process.memoryUsage().rss }
  if (r.do === 'burst') {
    const run = runOf(r.case)
    const times: number[] = []
    let total = 0
    const before = process.cpuUsage()
    do {
      const start = performance.now()
      await run()
      times.push(performance.now() - start)
      total += times[times.length - 1]!
    } while (total < r.milliseconds)
    const { user, system } = process.cpuUsage(before)
    return { times, cpu: (user + system) / 1000 / times.length }
  }
  setImmediate(() => process.exit(0))
  return {}
}

if (process.send)
  process.on('message', (r: Request) => {
    answer(r).then(
      a => process.send!({ id: r.id, ...a }),
      (e: Error & { code?: string }) =>
        process.send!({ id: r.id, error: { code: e.code, message: e.message } }),
    )
  })
