/**
 * Decodes many images in order and in bounded memory. The caller gets those that are decoded, window by window; the next ones
 * are decoded while it encodes.
 *
 *   for await (const { start, images, release } of decodeWindows(inputs, { threads, gate, signal })) {
 *     // images[i] is an image, or a ClipError that says why it could not be read
 *     await native.encodeImage(job, images.filter(...), ...)
 *     release() // its pixels are no longer needed; the next window may already wait for the room
 *   }
 *
 * Asking for the next window releases the previous one, so a loop can't wait for room that it holds itself. A call
 * waits for room only while it holds none, so two calls can't wait for each other's images.
 */

import { onAbort, untilAborted } from '../base/abort.js'
import { argumentError, ClipError, describeShape, got } from '../base/errors.js'
import { type DecodeOptions, type PendingImage, prepareImage } from './decode.js'
import type { DecodeGate, Permit } from './gate.js'
import type { ImageInput } from './input.js'
import type { NativeImage } from './pixels.js'

export interface WindowOptions extends Omit<DecodeOptions, 'index' | 'opening'> {
  /** Images that need decoding per window, at least, if there are as many. */
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

/** Maximum number of images in a window. */
const READY_IMAGES = 64
/** Milliseconds that images that are ready wait for the next image of a source. */
const SLOW_SOURCE = 20

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
  const ahead = new Ahead(inputs, { ...options, signal })
  let current: ImageWindow | undefined
  try {
    for (;;) {
      current = await untilAborted(ahead.next(), signal)
      if (!current) return
      yield current
      current.release()
    }
  } finally {
    deaf()
    stopped.abort(options.signal?.reason ?? new Error('no more images are wanted'))
    current?.release()
    ahead.close()
  }
}

/** An image that is being decoded, or is ready. */
interface Slot {
  input: number
  /** Once it is decoded. */
  image?: NativeImage | ClipError
  permit?: Permit
}

/**
 * Decodes ahead of the caller, as far as there is room: as soon as an image or its room is free, the next one begins. So
 * there is work for every core while the caller encodes, however long each image takes.
 */
class Ahead {
  readonly #options: WindowOptions & { signal: AbortSignal }
  readonly #source: Source
  readonly #slots: Slot[] = []
  /** Permits of images that are decoded or decoding, or that the caller has not released. */
  #held = 0
  #start = 0
  #ended = false
  /** There is no room for the next image. */
  #full = false
  /** The source, or the machine, has failed. */
  #failure: { error: unknown } | undefined
  /** Called at the next change of anything above. */
  #waiting: (() => void)[] = []

  constructor(
    inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    options: WindowOptions & { signal: AbortSignal },
  ) {
    this.#options = options
    this.#source = new Source(inputs, options)
    this.#fill().catch(error => this.#fail(error))
  }

  /**
   * The images that are decoded, in order: waits for `threads` that needed decoding, for READY_IMAGES in all, or for those that
   * have begun if no others can begin or the source is slow. Undefined at the end.
   */
  async next(): Promise<ImageWindow | undefined> {
    const { threads, signal } = this.#options
    for (;;) {
      signal.throwIfAborted()
      if (this.#failure) throw this.#failure.error
      const first = this.#slots.findIndex(slot => slot.image === undefined)
      const ready = first < 0 ? this.#slots : this.#slots.slice(0, first)
      const full = ready.length >= READY_IMAGES || ready.filter(slot => slot.permit).length >= threads
      if (ready.length === 0 || (first >= 0 && !full)) {
        if (this.#ended && this.#slots.length === 0) return undefined
        await this.#changed()
      } else if (full || this.#ended || this.#full || !(await this.#changedSoon())) {
        return this.#window(ready.length)
      }
    }
  }

  /** Abandoned decoders that are still running release their room themselves. */
  close(): void {
    this.#source.close()
    for (const { permit, image } of this.#slots) if (image !== undefined) permit?.leave()
  }

  #window(count: number): ImageWindow {
    const slots = this.#slots.splice(0, count)
    const start = this.#start
    this.#start += count
    let held = true
    return {
      start,
      images: slots.map(slot => slot.image!),
      inputs: slots.map(slot => slot.input),
      release: () => {
        if (!held) return
        held = false
        for (const { permit } of slots) this.#leave(permit)
        this.#change()
      },
    }
  }

  #leave(permit: Permit | undefined): void {
    if (!permit) return
    permit.leave()
    this.#held--
  }

  #change(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #changed(): Promise<undefined> {
    return new Promise(resolve => {
      this.#waiting.push(() => resolve(undefined))
    })
  }

  /** Whether something changes before a slow source would make the images that are ready wait noticeably. */
  #changedSoon(): Promise<boolean> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, SLOW_SOURCE, false)
      this.#waiting.push(() => {
        clearTimeout(timer)
        resolve(true)
      })
    })
  }

  /** Waits for room. */
  async #waitForRoom<T>(room: () => Promise<T>): Promise<T> {
    this.#full = true
    this.#change() // the images that are ready are all that there will be for now
    try {
      return await room()
    } finally {
      this.#full = false
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#change()
  }

  /** Begins one image after the other. It never waits for room while it holds room that only the caller can free. */
  async #fill(): Promise<void> {
    const { gate, signal } = this.#options
    for (;;) {
      const item = await this.#source.peek()
      if (!item) break
      signal.throwIfAborted()
      if (this.#slots.length >= READY_IMAGES) {
        await this.#waitForRoom(() => untilAborted(this.#changed(), signal))
        continue
      }
      const { input, image, pending } = item
      if (image) this.#slots.push({ input, image })
      else {
        const { bytes } = pending
        const permit =
          gate.tryEnter(bytes) ??
          (await this.#waitForRoom<Permit | undefined>(() =>
            this.#held === 0 ? gate.enter(bytes, signal) : untilAborted(this.#changed(), signal),
          ))
        if (!permit) continue
        this.#held++
        this.#begin({ input, permit }, pending)
      }
      this.#source.take()
      this.#change()
    }
    this.#ended = true
    this.#change()
  }

  #begin(slot: Slot & { permit: Permit }, pending: PendingImage): void {
    const { gate, signal } = this.#options
    pending.opened()
    this.#slots.push(slot)
    const decoded = (image: NativeImage | ClipError) => {
      slot.image = image
      if (signal.aborted) slot.permit.leave()
      else this.#change()
    }
    gate.decode(slot.permit, pending, signal).then(decoded, error => {
      if (error instanceof ClipError) decoded(error)
      else {
        slot.permit.leave()
        this.#fail(error)
      }
    })
  }
}

type Item = { input: number } & (
  | { image: NativeImage | ClipError; pending?: undefined }
  | { image?: undefined; pending: PendingImage }
)

/** Reads the headers of the inputs one by one, and splits Preprocessed ones into images; keeps at most one in advance. */
class Source {
  #iterator: Iterator<ImageInput> | AsyncIterator<ImageInput>
  #items: Item[] = []
  #input = 0
  #ended = false

  constructor(
    inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    private readonly options: WindowOptions & { signal: AbortSignal },
  ) {
    this.#iterator =
      Symbol.asyncIterator in inputs ? inputs[Symbol.asyncIterator]() : inputs[Symbol.iterator]()
  }

  /** The next image, or undefined at the end. */
  async peek(): Promise<Item | undefined> {
    while (this.#items.length === 0 && !this.#ended) await untilAborted(this.#pull(), this.options.signal)
    return this.#items[0]
  }

  take(): void {
    this.#items.shift()
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
