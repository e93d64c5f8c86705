/**
 * What execution.test.ts has done by a process of its own, whose NVIDIA driver is the stand-in (cuda/emulator/libcuda):
 * `node scenarios.js NAME ARGUMENT` prints what came out as JSON. The stand-in reads the environment at each call, so a
 * scenario lets calls fail as it goes.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Dtype } from '../../lib/base/dtypes.js'
import { embeddedModel } from '../../lib/hub/resolve-model.js'
import { type Clip, devices, type Embeddings, type ImageInput, load } from '../../lib/index.js'
import { randomBytes } from '../helpers/random.js'

export interface Failure {
  code: string
  message: string
  field?: string
  expected?: string
  actual?: string
}

export interface Encoded {
  shape: readonly number[]
  data: number[]
}

const encoded = (e: Embeddings<readonly number[]>): Encoded => ({ shape: e.shape, data: Array.from(e.data) })

const failureOf = (error: unknown): Failure => {
  const { code, message, field, expected, actual } = error as Failure
  return {
    code,
    message,
    ...(field ? { field } : {}),
    ...(expected ? { expected } : {}),
    ...(actual ? { actual } : {}),
  }
}

/** What the stand-in was asked to do so far. */
const calls = (): string[] => readFileSync(process.env.CLIP_STANDIN_LOG!, 'utf8').trim().split('\n')
const count = (name: string) => calls().filter(line => line === name).length
const failAt = (text: string) => {
  process.env.CLIP_STANDIN_FAIL = text
}

const examples = readdirSync(join(embeddedModel, 'examples'))
  .filter(name => name.endsWith('.png'))
  .sort()
  .map(name => join(embeddedModel, 'examples', name))

/** Texts with common beginnings: a trie with branches. */
export const labels = ['a photo of a dog', 'a photo of a cat', 'a photo', 'an icon of a key', 'rain']

const image = (seed: number, side: number) => ({
  data: randomBytes(seed, side * side * 3),
  width: side,
  height: side,
  channels: 3 as const,
})

/** Images and texts in batches of several sizes. `model`: the embedded one if empty. */
export interface Towers {
  backend: string
  /** The first images: n of each batch. */
  images: Record<string, Encoded>
  texts: Record<string, Encoded>
  /** Graphs that were made, and started, by the time that each batch was through. */
  made: Record<string, number>
  started: Record<string, number>
}

async function towers(dtype: Dtype, model: string, batches: readonly number[]): Promise<Towers> {
  const result: Towers = { backend: '', images: {}, texts: {}, made: {}, started: {} }
  await using clip = await load(model || undefined, {
    device: 'cuda',
    dtype,
    ...(/resnet|clipa|siglip|-pe|eva02|convnext|mobileclip/.test(model) ? { towers: ['image'] } : {}),
  })
  result.backend = clip.info.backend
  const side = clip.info.imageSize ?? 0
  let inputs: ImageInput[] = model ? Array.from({ length: 8 }, (_, i) => image(i + 1, side)) : examples
  // How files are split into passes depends on how fast they decode.
  if (process.env.PREPROCESSED) inputs = await Promise.all(inputs.map(one => clip.preprocess(one)))
  const note = (name: string) => {
    result.made[name] = count('cuGraphInstantiate')
    result.started[name] = count('cuGraphLaunch')
  }
  for (const [i, n] of batches.entries()) {
    if (clip.info.towers.includes('image')) {
      result.images[`${i}: ${n}`] = encoded(await clip.encodeImage(inputs.slice(0, n)))
      note(`${i}: ${n}`)
    }
  }
  if (!clip.info.towers.includes('text')) return result
  // Small vocabularies make more tokens than a small context has.
  result.texts.trie = encoded(await clip.encodeText(labels, { truncate: true }))
  result.texts.again = encoded(await clip.encodeText(labels, { truncate: true }))
  result.texts.one = encoded(await clip.encodeText(labels[0]!, { truncate: true }))
  note('texts')
  if (process.env.BRIEF) return result
  result.texts.third = encoded(await clip.encodeText(labels, { truncate: true }))
  result.texts.pooled = encoded(
    await clip.encodeText(labels.slice(0, 2), { output: 'pooled', truncate: true }),
  )
  result.texts.tokens = encoded(
    await clip.encodeText(labels.slice(0, 2), { output: 'tokens', truncate: true }),
  )
  return result
}

/** Everything that takes memory, once. */
async function everything(folder: string): Promise<Clip> {
  const clip = await load(folder, { device: 'cuda', dtype: 'bfloat16' })
  try {
    const side = clip.info.imageSize!
    for (let i = 0; i < 3; i++) {
      await clip.encodeImage([image(1, side), image(2, side)])
      await clip.encodeText(['a dog', 'a cat'])
    }
    return clip
  } catch (error) {
    await clip.dispose()
    throw error
  }
}

/** What still works while and after a GPU fails. */
async function cpuWorks(folder: string): Promise<boolean> {
  await using clip = await load(folder, { device: 'cpu' })
  return (await clip.encodeText('a dog')).data.every(Number.isFinite)
}

/** No memory at the first, second, ... allocation, until there is always some. */
async function memory(folder: string): Promise<{ failures: Failure[]; cpu: boolean; after: number[] }> {
  const failures: Failure[] = []
  // Keeps the kernels loaded.
  await using _other = await load(folder, { device: 'cuda', dtype: 'bfloat16', towers: ['text'] })
  for (let n = 1; n < 200; n++) {
    failAt(`allocation:${n}=CUDA_ERROR_OUT_OF_MEMORY`)
    try {
      await using _clip = await everything(folder)
      break
    } catch (error) {
      failures.push(failureOf(error))
    }
  }
  failAt('')
  const cpu = await cpuWorks(folder)
  await using clip = await everything(folder)
  return { failures, cpu, after: Array.from((await clip.encodeText('a dog')).data) }
}

/** A call of the driver, or a kernel, fails: what that call says, what the next one says, and a new model after it. */
async function fault(
  folder: string,
  what: string,
): Promise<{ first?: Failure; second?: Failure; cpu: boolean; renewed?: Failure }> {
  const clip = await everything(folder)
  const attempt = (c: Clip) => c.encodeText('a dog').then(() => undefined, failureOf)
  failAt(what)
  const first = await attempt(clip)
  const cpu = await cpuWorks(folder)
  const second = await attempt(clip)
  failAt('')
  await clip.dispose()
  const renewed = await everything(folder).then(c => c.dispose().then(() => undefined), failureOf)
  return { ...(first ? { first } : {}), ...(second ? { second } : {}), cpu, ...(renewed ? { renewed } : {}) }
}

/** Loads, and says why not; what was called. */
async function loading(folder: string): Promise<{ failure?: Failure; kernels: string[]; devices: unknown }> {
  const failure = await load(folder || undefined, { device: 'cuda', dtype: 'bfloat16' }).then(
    clip => clip.dispose().then(() => undefined),
    failureOf,
  )
  const kernels = process.env.CLIP_STANDIN_LOG ? calls().filter(line => line.startsWith('kernel ')) : []
  return { ...(failure ? { failure } : {}), kernels, devices: devices().find(d => d.name === 'cuda') }
}

/** What `load` says of each "dtype folder"; null where it succeeds. */
async function refusals(models: readonly string[]): Promise<(Failure | null)[]> {
  const said: (Failure | null)[] = []
  for (const model of models) {
    const [dtype, ...folder] = model.split(' ')
    const loaded = load(folder.join(' '), { device: 'cuda', dtype: dtype as Dtype })
    said.push(await loaded.then(clip => clip.dispose().then(() => null), failureOf))
  }
  return said
}

const [name, argument = '', second = '', ...others] = process.argv.slice(2)
const run: Record<string, () => Promise<unknown>> = {
  towers: () =>
    towers(argument as Dtype, second, (process.env.BATCHES ?? '1,3,5,4,1').split(',').map(Number)),
  memory: () => memory(argument),
  fault: () => fault(argument, second),
  loading: () => loading(argument),
  refusals: () => refusals([argument, second, ...others]),
}
if (process.argv[1] === fileURLToPath(import.meta.url))
  process.stdout.write(JSON.stringify((await run[name!]!()) ?? null))
