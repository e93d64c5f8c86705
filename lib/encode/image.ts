/** Encodes images: from what callers pass to the output of the image tower. */

import { ClipError } from '../base/errors.js'
import { checkOptions, checkSignal, listOf, oneOf } from '../base/options.js'
import { inSlices, type Steps } from '../base/slices.js'
import { isArray } from '../base/values.js'
import { colourOf } from '../image/background.js'
import type { ImageSettings } from '../image/decode.js'
import { type DecodeMode, decodeModes } from '../image/decode-mode.js'
import { takeGiven } from '../image/given.js'
import type { ImageInput, Preprocessed } from '../image/input.js'
import type { NativeImage } from '../image/pixels.js'
import { decodeOne, decodeWindows, type ImageWindow } from '../image/windows.js'
import { scaledDecoder } from '../native/scaled-decoder.js'
import type { Call } from './admission.js'
import type { EmbeddingsOf } from './embeddings.js'
import { type Loaded, needProjection, towerMissing } from './loaded-model.js'
import { type CheckedEncode, checkEncode, type EncodeOptions, type Output, Rows } from './result.js'

/** How transparent images are handled. */
export interface BackgroundOption {
  /** Colour that transparent images are composited onto, as in the option of `load`: '#fff', '#ffffff', 'white' or 'black'. */
  background?: string
}

/** How images are decoded. */
export interface DecodeOption {
  /** How images are decoded, as in the option of `load`, whose value is the default. */
  decode?: DecodeMode
}

/** Options of `encodeImage`. */
export interface EncodeImageOptions<O extends Output = Output>
  extends EncodeOptions<O>,
    BackgroundOption,
    DecodeOption {}

/** Settings of a call, in place of the model's. */
export type CallSettings = Pick<ImageSettings, 'background' | 'decode'>

/** The settings that a call's options have. */
export function checkCallSettings(o: BackgroundOption & DecodeOption): CallSettings {
  const background = colourOf('background', o.background)
  return {
    ...(background ? { background } : {}),
    ...(o.decode === undefined ? {} : { decode: oneOf('decode', o.decode, decodeModes) }),
  }
}

/** The caller's images, and the number of rows that they result in. */
export interface ImageList {
  inputs: readonly ImageInput[]
  /** One image was passed instead of an array, so messages call it `image`. */
  single: boolean
  /** Number of rows; a Preprocessed of n images counts as n. For a very long list, `rowsOf` determines it. */
  total: number
  rest: Steps<number> | undefined
  /** Settings of the call, which replace those that the model was loaded with. */
  settings: CallSettings
}

export function imageList(
  loaded: Loaded,
  input: ImageInput | readonly ImageInput[],
  settings: CallSettings = {},
): ImageList {
  const missing = towerMissing(loaded, 'image')
  if (missing) throw missing
  const single = !isArray(input)
  const given = single ? [input as ImageInput] : (listOf('images', 'be an array', input) as ImageInput[])
  const taken = takeGiven(given, single, loaded.checkpoint.preprocess.size)
  return { ...taken, single, settings }
}

/** The number of rows that all the images result in. */
const rowsOf = async ({ total, rest }: ImageList, signal: AbortSignal | undefined): Promise<number> =>
  rest ? inSlices(rest, signal) : total

/** Decodes window after window; `run` gets the images that could be read and the rows they belong to. */
async function eachWindow(
  loaded: Loaded,
  call: Call,
  { inputs, single, total, settings }: ImageList,
  fail: (row: number, error: ClipError) => void,
  run: (images: NativeImage[], rows: number[]) => Promise<void>,
  progress: (items: number) => void,
): Promise<void> {
  const options = {
    threads: loaded.model.threads,
    gate: loaded.gate,
    size: loaded.checkpoint.preprocess.size,
    ...loaded.imageSettings,
    ...settings,
    scaled: scaledDecoder(loaded.checkpoint.preprocess),
    part: (width: number, height: number) => loaded.model.reachingPart(width, height),
    single,
    ...(call.signal ? { signal: call.signal } : {}),
  }
  const take = async ({ start, images, release }: ImageWindow) => {
    const good: NativeImage[] = []
    const rows: number[] = []
    images.forEach((image, i) => {
      if (image instanceof ClipError) fail(start + i, image)
      else {
        good.push(image)
        rows.push(start + i)
      }
    })
    if (good.length > 0) await run(good, rows)
    release()
    progress(images.length)
  }
  if (inputs.length === 1 && total === 1) {
    const window = await decodeOne(inputs[0]!, options)
    try {
      await take(window)
    } finally {
      window.release()
    }
    return
  }
  // The next window is decoded while this one is encoded; requesting it releases the room of this one.
  for await (const window of decodeWindows(inputs, options)) await take(window)
}

/** The part of encodeImage that follows checks and admission. */
export async function encodeImages<O extends Output = 'embedding'>(
  loaded: Loaded,
  call: Call,
  list: ImageList,
  options?: CheckedEncode<O>,
): Promise<EmbeddingsOf<O>> {
  const checked = options ?? (checkEncode<O>({ signal: call.signal }) as CheckedEncode<O>)
  if (checked.output === 'embedding') needProjection(loaded, 'image')
  const { embedDim, image } = loaded.model.shapes
  const tokens = checked.output === 'tokens' ? image!.tokens : 0
  const width = checked.output === 'embedding' ? embedDim : image!.width
  const rows = new Rows(checked, await rowsOf(list, call.signal), width, tokens)
  await eachWindow(
    loaded,
    call,
    list,
    (row, error) => rows.fail(row, error),
    async (images, at) =>
      rows.add(
        at,
        await call.submit((model, job) => model.encodeImage(job, images, checked.output, checked.normalize)),
      ),
    items => rows.progress(items),
  )
  return rows.finish()
}

export async function encodeImage<O extends Output = 'embedding'>(
  loaded: Loaded,
  input: ImageInput | readonly ImageInput[],
  options: EncodeImageOptions<O> | undefined,
): Promise<EmbeddingsOf<O>> {
  const checked = checkEncode<O>(options, ['background', 'decode'])
  const list = imageList(loaded, input, checkCallSettings(options ?? {}))
  return loaded.calls.run(checked.signal, call => encodeImages(loaded, call, list, checked))
}

export async function preprocess(
  loaded: Loaded,
  input: ImageInput | readonly ImageInput[],
  options: ({ signal?: AbortSignal } & BackgroundOption & DecodeOption) | undefined,
): Promise<Preprocessed> {
  const checked = checkOptions(options, ['signal', 'background', 'decode'])
  const signal = checkSignal(checked.signal)
  const list = imageList(loaded, input, checkCallSettings(checked))
  const { size } = loaded.checkpoint.preprocess
  return loaded.calls.run(signal, async call => {
    const total = await rowsOf(list, signal)
    const rows = new Rows(checkEncode({ signal }), total, 3 * size * size)
    await eachWindow(
      loaded,
      call,
      list,
      (row, error) => rows.fail(row, error),
      async (images, at) => rows.add(at, await call.submit((model, job) => model.preprocess(job, images))),
      () => {},
    )
    return { data: (await rows.finish()).data, shape: [total, 3, size, size] }
  })
}
