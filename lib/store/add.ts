/** Embeds images into a store: items that are already there are skipped, the others are appended batch by batch. */

import { stat } from 'node:fs/promises'
import { abortable, untilAborted } from '../base/abort.js'
import { argumentError, type ClipError, describeShape, got } from '../base/errors.js'
import { checkPath, nameOfPath } from '../base/file-name.js'
import { checkOptions, fields, listOf } from '../base/options.js'
import { Slices } from '../base/slices.js'
import { holds, isArray, isIterable, isObject, isUrl } from '../base/values.js'
import type { Call } from '../encode/admission.js'
import { type CallSettings, encodeImages, imageList } from '../encode/image.js'
import type { Loaded } from '../encode/loaded-model.js'
import { checkEncode } from '../encode/result.js'
import { type ImageInput, isOneImage, type Preprocessed } from '../image/input.js'
import type { Known } from './known.js'
import { longestId } from './log.js'
import type { AddProgress } from './types.js'
import type { NewItem } from './writer.js'

/** A path (which is also its id), a file: URL, or an image with an id of your choice. */
export type StoreInput = string | URL | { id: string; image: ImageInput }

/** Result of `store.add`. */
export interface AddResult {
  /** Number of new items. */
  added: number
  /** Number of items embedded again, because the size or modification time of their file has changed. */
  updated: number
  /** Number of items that were already in the store. */
  skipped: number
  /** With `errors: 'collect'`: the inputs that could not be embedded. The next `add` tries them again. */
  errors: { id: string; error: ClipError }[]
}

/** Images per batch: the most that is lost if the process is killed. */
const batchSize = 64

interface Waiting {
  item: NewItem
  image: ImageInput
  known: boolean
}

function checkId(id: unknown, field: string): string {
  if (typeof id !== 'string' || id === '') throw argumentError(field, 'be a non-empty string', id)
  if (id.length > longestId)
    throw argumentError(field, `have at most ${longestId} characters`, got(id.length), 'range')
  if (/\p{Surrogate}/u.test(id)) throw argumentError(field, 'be well-formed Unicode', id)
  return id
}

/** The path of an image that is a file, to look up its size and modification time. */
function pathOf(image: ImageInput, field: string): string | Buffer | undefined {
  if (isUrl(image)) return image.protocol === 'file:' ? checkPath(field, image) : undefined
  if (typeof image !== 'string') return undefined
  if (/^file:/i.test(image) && URL.canParse(image)) return checkPath(field, image)
  return /^(https?|data):/i.test(image) ? undefined : image
}

/** The id of a path whose bytes are not UTF-8 is its file: URL. */
const idOf = (path: string | Buffer) => (typeof path === 'string' ? path : nameOfPath(path))

function checkInput(input: StoreInput, index: number): { id: string; image: ImageInput } {
  const field = `images[${index}]`
  if (typeof input === 'string' || isUrl(input))
    return { id: checkId(idOf(pathOf(input, field) ?? String(input)), field), image: input }
  if (!isObject(input) || !holds(input, 'id'))
    throw argumentError(field, 'be a path, a file: URL or { id, image }', input)
  const { id, image } = checkOptions(input, ['id', 'image'], field)
  if (!isOneImage(image)) throw argumentError(`${field}.image`, 'be one image', image)
  const { shape } = isObject(image) ? fields(`${field}.image`, image as Partial<Preprocessed>, ['shape']) : {}
  if (isArray(shape) && shape[0] !== 1)
    throw argumentError(`${field}.image`, 'be one image', got(describeShape(shape)))
  return { id: checkId(id, `${field}.id`), image: image as ImageInput }
}

/** The inputs of `add` as an iterable. */
export function inputsOf(images: unknown): Iterable<StoreInput> | AsyncIterable<StoreInput> {
  if (typeof images === 'string' || isUrl(images)) return [images]
  if (isArray(images)) return listOf('images', 'be an array', images) as StoreInput[]
  if (isIterable(images)) return images as Iterable<StoreInput> | AsyncIterable<StoreInput>
  if (isObject(images) && holds(images, 'id')) return [images as unknown as StoreInput]
  throw argumentError('images', 'be paths or { id, image }, one, an array or an iterable of them', images)
}

export interface AddCall {
  loaded: Loaded
  /** All encoding belongs to one call, which is admitted once. */
  call: Call
  known: Known
  collect: boolean
  settings: CallSettings
  signal: AbortSignal | undefined
  onProgress: ((progress: AddProgress) => void) | undefined
  total: number | undefined
  /** Writes a batch to disk. */
  append(items: readonly NewItem[], rows: Float32Array): Promise<void>
}

export async function addAll(
  inputs: Iterable<StoreInput> | AsyncIterable<StoreInput>,
  add: AddCall,
): Promise<AddResult> {
  const { loaded, call, known, collect, settings, signal, onProgress, total } = add
  const encoding = checkEncode<'embedding'>({ errors: 'collect', ...(signal ? { signal } : {}) })
  const result: AddResult = { added: 0, updated: 0, skipped: 0, errors: [] }
  let batch: Waiting[] = []
  let inBatch = new Set<string>()
  let index = 0

  const report = () =>
    onProgress?.({
      done: result.added + result.updated + result.skipped + result.errors.length,
      total,
      added: result.added + result.updated,
      skipped: result.skipped,
      failed: result.errors.length,
    })

  const flush = async () => {
    if (batch.length === 0) return
    const all = batch
    batch = []
    inBatch = new Set()
    const images = all.map(w => w.image)
    const { data, errors = [] } = await encodeImages(
      loaded,
      call,
      imageList(loaded, images, settings),
      encoding,
    )
    const dim = loaded.spec.embedDim
    const good = all.filter((_, i) => !errors[i])
    const rows = new Float32Array(good.length * dim)
    let at = 0
    for (let i = 0; i < all.length; i++)
      if (!errors[i]) rows.set(data.subarray(i * dim, (i + 1) * dim), dim * at++)
    if (good.length > 0)
      await add.append(
        good.map(w => w.item),
        rows,
      )
    for (const w of good) w.known ? result.updated++ : result.added++
    for (const [i, error] of errors.entries()) {
      if (!error) continue
      if (!collect) throw error
      result.errors.push({ id: all[i]!.item.id, error })
    }
    report()
  }

  const slices = new Slices()
  const source = Symbol.asyncIterator in inputs ? abortable(inputs, signal) : inputs
  for await (const input of source) {
    signal?.throwIfAborted()
    if (slices.due()) await slices.pause(signal)
    const { id, image } = checkInput(input, index++)
    const path = pathOf(image, `images[${index - 1}]`)
    // Looked up before the image is read, so that the next call notices if the file changes in between.
    const stats =
      path === undefined ? undefined : await untilAborted(stat(path), signal).catch(() => undefined)
    signal?.throwIfAborted()
    const stamp = stats?.isFile() ? { size: stats.size, mtimeMs: stats.mtimeMs } : undefined
    if (inBatch.has(id) || known.isCurrent(id, stamp, path !== undefined)) {
      result.skipped++
      if (result.skipped % 1024 === 0) report()
      continue
    }
    batch.push({ item: { id, ...stamp }, image, known: known.row(id) !== undefined })
    inBatch.add(id)
    if (batch.length === batchSize) await flush()
  }
  await flush()
  report()
  return result
}
