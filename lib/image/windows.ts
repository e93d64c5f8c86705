/**
 * Decodes many images in order and in bounded memory: window by window, the next one while the caller encodes the current
 * one.
 *
 *   for await (const { start, images, release } of decodeWindows(inputs, { threads, gate, signal })) {
 *     // images[i] is an image, or a ClipError that says why it could not be read
 *     await native.encodeImage(job, images.filter(...), ...)
 *     release() // its pixels are no longer needed; the next window may already wait for the room
 *   }
 *
 * Asking for the next window releases the previous one, so a loop can't wait for room that it holds itself. A window waits
 * only for its first image, and closes as soon as no other image fits immediately. So two calls can't wait for each other's
 * half-filled windows.
 */

import { onAbort, untilAborted } from '../base/abort.js'
import { argumentError, ClipError, describeShape, got } from '../base/errors.js'
import { type DecodeOptions, type PendingImage, prepareImage } from './decode.js'
import type { DecodeGate, Permit } from './gate.js'
import type { ImageInput } from './input.js'
import type { NativeImage } from './pixels.js'

export interface WindowOptions extends Omit<DecodeOptions, 'index' | 'opening'> {
  /** Images that need decoding per window. */
  threads: number
  /** The model's gate, shared by all its calls. */
  gate: DecodeGate
  /** Side of the model's images in pixels: preprocessed images must have it. */
  size?: number
  /** The call got a single image, not a list: messages say `image` and have no index. */
  single?: boolean
}

export interface ImageWindow {
  /** Position of the first image in the result. A Preprocessed of n images takes n positions. */
  start: number
  /** Images in order, with a ClipError (ERR_CLIP_IMAGE) in place of an image that can't be read. */
  images: (NativeImage | ClipError)[]
  /** For each image, the index of the input it came from. */
  inputs: number[]
  /** Releases the room of the images. Call it when the native job has settled; it may be called more than once. */
  release(): void
}

/** Maximum number of images in a window that need no decoding. */
const READY_IMAGES = 64

interface Slot {
  image: Promise<NativeImage | ClipError> | NativeImage | ClipError
  input: number
}

/**
 * The window of a call with a single image. It avoids the overhead for many images, which would be most of the cost of such a
 * call on the JavaScript thread. The input must not be a Preprocessed of several images. Throws as {@link decodeWindows} does.
 */
export function decodeOne(input: ImageInput, options: WindowOptions): Promise<ImageWindow> {
  const window = openOne(input, options)
  if (!options.signal) return window
  return untilAborted(window, options.signal).catch(error => {
    window.then(late => late.release()).catch(() => {})
    throw error
  })
}

async function openOne(input: ImageInput, options: WindowOptions): Promise<ImageWindow> {
  const { gate, signal, single } = options
  let permit: Permit | undefined
  let opened = () => {}
  const window = (image: NativeImage | ClipError): ImageWindow => ({
    start: 0,
    images: [image],
    inputs: [0],
    release: () => permit?.leave(),
  })
  try {
    const prepared = await prepareImage(input, {
      ...options,
      opening: gate.opening,
      ...(single ? {} : { index: 0 }),
    })
    if (prepared.kind === 'ready') {
      checkPlanes(prepared.images, input, 0, options)
      return window(prepared.images[0]!)
    }
    opened = prepared.opened
    permit = gate.tryEnter(prepared.bytes) ?? (await gate.enter(prepared.bytes, signal))
    opened()
    const image = await gate.decode(permit, prepared, signal)
    signal?.throwIfAborted()
    return window(image)
  } catch (error) {
    if (error instanceof ClipError) return window(error)
    permit?.leave()
    throw error
  } finally {
    opened()
  }
}

/** Throws a RangeError if planes don't have the model's size. */
function checkPlanes(
  images: readonly NativeImage[],
  input: ImageInput,
  index: number,
  { size, single }: WindowOptions,
): void {
  for (const image of images)
    if ('planes' in image && size !== undefined && image.planes.length !== 3 * size * size)
      throw argumentError(
        `${single ? 'image' : `images[${index}]`}.shape`,
        `be [n, 3, ${size}, ${size}], as this model's images are`,
        got(describeShape((input as { shape?: unknown }).shape)),
        'range',
      )
}

/**
 * Throws a TypeError or RangeError if an input is not an ImageInput, `signal.reason` on abort, and whatever the iterable of
 * inputs throws. Images that can't be read become ClipErrors in their window.
 */
export async function* decodeWindows(
  inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  options: WindowOptions,
): AsyncGenerator<ImageWindow, void, undefined> {
  const stopped = new AbortController() // aborted by the caller's signal, or when the caller leaves the loop
  const { signal } = stopped
  const stop = () => stopped.abort(options.signal?.reason)
  if (options.signal?.aborted) stop()
  const deaf = onAbort(options.signal, stop)
  const source = new Source(inputs, { ...options, signal })
  let current: ImageWindow | undefined
  let next: Promise<ImageWindow | undefined> | undefined
  try {
    next = fill(source, options, signal)
    for (;;) {
      next.catch(() => {}) // awaited below, but perhaps much later
      current = await untilAborted(next, signal)
      next = undefined
      if (!current) return
      next = fill(source, options, signal)
      yield current
      current.release()
    }
  } finally {
    deaf()
    current?.release()
    stopped.abort(options.signal?.reason ?? new Error('no more images are wanted'))
    next?.then(
      window => window?.release(),
      () => {},
    )
    source.close()
  }
}

/** One window, or undefined at the end. It never waits for room while it holds room. */
async function fill(
  source: Source,
  options: WindowOptions,
  signal: AbortSignal,
): Promise<ImageWindow | undefined> {
  const { gate, threads } = options
  const slots: Slot[] = []
  const permits: Permit[] = []
  const start = source.position
  const release = () => {
    for (const permit of permits.splice(0)) permit.leave()
  }
  try {
    while (slots.length < READY_IMAGES && permits.length < Math.max(1, threads)) {
      const item = await source.peek(slots.length > 0)
      if (!item) break
      if (item.image) {
        slots.push({ image: item.image, input: item.input })
      } else {
        const { pending } = item
        const { bytes } = pending
        const permit =
          gate.tryEnter(bytes) ?? (slots.length === 0 ? await gate.enter(bytes, signal) : undefined)
        if (!permit) break
        permits.push(permit)
        pending.opened()
        const image = gate.decode(permit, pending, signal).catch(asClipError)
        image.catch(() => {}) // handled below, after the other images of this window
        slots.push({ image, input: item.input })
      }
      source.take()
    }
    if (slots.length === 0) return undefined
    const images = await Promise.all(slots.map(slot => slot.image))
    signal.throwIfAborted()
    return { start, images, inputs: slots.map(slot => slot.input), release }
  } catch (error) {
    // Abandoned decoders that are still running release their room themselves.
    void Promise.allSettled(slots.map(slot => slot.image)).then(release)
    throw error
  }
}

function asClipError(error: unknown): ClipError {
  if (error instanceof ClipError) return error
  throw error
}

type Item = { input: number } & (
  | { image: NativeImage | ClipError; pending?: undefined }
  | { image?: undefined; pending: PendingImage }
)

/** Reads the headers of the inputs one by one, and splits Preprocessed ones into images; keeps at most one in advance. */
class Source {
  /** Position of the next image in the result. */
  position = 0
  #iterator: Iterator<ImageInput> | AsyncIterator<ImageInput>
  #items: Item[] = []
  #input = 0
  #ended = false
  #pulling: Promise<void> | undefined

  constructor(
    inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    private readonly options: WindowOptions & { signal: AbortSignal },
  ) {
    this.#iterator =
      Symbol.asyncIterator in inputs ? inputs[Symbol.asyncIterator]() : inputs[Symbol.iterator]()
  }

  /**
   * The next image, or undefined at the end. With `have`, a window already holds images, which must not wait for a slow
   * iterable; undefined then means "none for now".
   */
  async peek(have: boolean): Promise<Item | undefined> {
    while (this.#items.length === 0 && !this.#ended) {
      this.#pulling ??= this.#pull().finally(() => {
        this.#pulling = undefined
      })
      const pulled = untilAborted(this.#pulling, this.options.signal)
      if (!have) await pulled
      else if ((await Promise.race([pulled.then(() => true), later()])) === false) {
        pulled.catch(() => {})
        return undefined
      }
    }
    return this.#items[0]
  }

  take(): void {
    this.#items.shift()
    this.position++
  }

  async #pull(): Promise<void> {
    const { signal, single } = this.options
    const result = await this.#iterator.next()
    if (result.done) {
      this.#ended = true
      return
    }
    signal.throwIfAborted()
    const input = this.#input++
    try {
      const prepared = await prepareImage(result.value, {
        ...this.options,
        opening: this.options.gate.opening,
        ...(single ? {} : { index: input }),
      })
      if (prepared.kind === 'pending') {
        if (this.#ended) prepared.opened()
        else this.#items.push({ input, pending: prepared })
      } else {
        checkPlanes(prepared.images, result.value, input, this.options)
        for (const image of prepared.images) this.#items.push({ input, image })
      }
    } catch (error) {
      if (!(error instanceof ClipError)) throw error
      this.#items.push({ input, image: error })
    }
  }

  /** Lets a generator or stream of inputs clean up. Not awaited, because it may never answer. */
  close(): void {
    for (const item of this.#items) item.pending?.opened()
    if (this.#ended) return
    this.#ended = true
    try {
      void Promise.resolve(this.#iterator.return?.()).then(undefined, () => {})
    } catch {
      // ignore a failed clean-up: the caller's own result or error is more important
    }
  }
}

/** Long enough to read a header, and short enough not to delay decoded images. */
const later = (): Promise<false> => new Promise(resolve => setTimeout(resolve, 20, false))
