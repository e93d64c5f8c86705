/**
 * Decodes images to pixels in the mode in which Pillow opens the same file, because that is the mode in which OpenAI's
 * `preprocess` resizes them. sharp (libvips) decodes on its own threads; its global settings are not changed. JPEG, PNG, WebP,
 * GIF, TIFF and BMP (which is decoded here) give the same bytes as Pillow 12. AVIF uses a different decoder than Pillow and
 * may differ by a few levels. SVG, which Pillow can't read, is rendered at its own size in a separate process.
 *
 * No decoder gets any data before the header has been checked here: the format must be one of these, and its dimensions and
 * the memory of its decoder must be within the limits.
 */

import type { Sharp, SharpOptions } from 'sharp'
import { type TimeLimit, untilAborted } from '../base/abort.js'
import { allocateBytes } from '../base/allocate.js'
import { ClipError } from '../base/errors.js'
import { copySlices, inSlices } from '../base/slices.js'
import { type Colour, compose, warnOfTransparency } from './background.js'
import type { DecodeMode, ScaledDecoder } from './decode-mode.js'
import { exhausted } from './exhausted.js'
import { decodeBmp } from './formats/bmp.js'
import { describeOther, FORMATS } from './formats/recognise.js'
import type { Decodable, Semaphore } from './gate.js'
import { type Header, readHeader } from './header.js'
import { checkPixels, checkStillThere, type ImageInput, openInput, origin, type SharpLike } from './input.js'
import { checkDecoder, checkScans, editedBytes } from './limits.js'
import type { DecodedImage, ImagePart, NativeImage, PixelMode } from './pixels.js'
import { type DecodePlan, planDecode } from './plan.js'
import { regroup } from './samples.js'
import { decodeScaled, planScaled, type ScaledPlan, webpResize } from './scaled.js'
import { loadSharp } from './sharp.js'
import { type ImageOrigin, imageError, nameOf, tooSlow } from './source.js'
import { renderSvg, svgSize } from './svg.js'

export const DEFAULT_MAX_PIXELS = 100_000_000
export const DEFAULT_DECODE_TIMEOUT = 30_000

/** How images are read: the options of `load`. */
export interface ImageSettings {
  /** Width x height above this is refused (ERR_CLIP_IMAGE) before anything is decoded. Default 100 million. */
  maxPixels?: number
  /** Turn the image as its EXIF orientation says. Off by default: OpenAI's `preprocess` ignores it. */
  orient?: boolean
  /** Render SVG, which nothing bounds but the time limit. Off by default. */
  svg?: boolean
  /** Background of transparent images. Default none, as in OpenAI's `preprocess`, where transparent pixels are usually black. */
  background?: Colour
  /** Milliseconds that reading and decoding one image may take. Default 30 000. */
  decodeTimeout?: number
  /** 'fast' decodes large JPEG files at a fraction of their size. Default 'exact'. */
  decode?: DecodeMode
}

export interface DecodeOptions extends ImageSettings {
  /** The part of an image of that size that is needed; if it saves work, only that part is decoded. Default the whole image. */
  part?: (width: number, height: number) => ImagePart
  /** Decodes at a fraction of the size, with `decode: 'fast'`. */
  scaled?: ScaledDecoder
  signal?: AbortSignal
  /** Index in the caller's array, for messages. */
  index?: number
  /** Limits the number of files that are read at a time. */
  opening?: Semaphore
}

/** An image whose size is known and that is not decoded yet, or needs no decoding. */
export type Prepared = { kind: 'ready'; images: NativeImage[] } | PendingImage

export interface PendingImage extends Decodable<DecodedImage> {
  kind: 'pending'
  /** Memory that it needs while it is decoded: the decoder's, the pixels and the encoded bytes. */
  bytes: number
  /** Releases the place in which its file was read: there is room to decode it now, or it is not needed. */
  opened(): void
}

interface Context {
  from: ImageOrigin
  limit: TimeLimit
  maxPixels: number
  orient: boolean
  options: DecodeOptions
}

/** Decodes one image to pixels or planes. Refuses a Preprocessed with several images: see {@link prepareImage}. */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<NativeImage> {
  const { signal } = options
  const prepared = await prepareImage(input, options)
  if (prepared.kind === 'pending') {
    prepared.opened()
    return untilAborted(prepared.decode(signal), signal, prepared.limit)
  }
  const from = origin(input, options.index)
  if (prepared.images.length !== 1)
    throw imageError(`holds ${prepared.images.length} images, but one is expected`, from, {
      expected: '1 image',
      actual: `${prepared.images.length} images`,
    })
  return prepared.images[0]!
}

/**
 * Reads the image's header, determines its mode and checks its size. Throws a TypeError or RangeError if it is not an
 * ImageInput, a ClipError ERR_CLIP_IMAGE (file, field, index, cause) if it is not a valid image.
 */
export async function prepareImage(input: ImageInput, options: DecodeOptions = {}): Promise<Prepared> {
  const { signal, maxPixels = DEFAULT_MAX_PIXELS, orient = false, background } = options
  const { decodeTimeout = DEFAULT_DECODE_TIMEOUT, opening } = options
  const from = origin(input, options.index)
  const limit = tooSlow(decodeTimeout, from, 'was not decoded')
  const opened = await openInput(input, from, { maxPixels, decodeTimeout, signal, opening })
  if (opened.kind === 'ready') {
    const images = await Promise.all(
      opened.images.map(image => ('planes' in image ? image : finished(image, background, from, signal))),
    )
    return { kind: 'ready', images }
  }
  const context: Context = { from, limit, maxPixels, orient, options }
  if (opened.kind === 'sharp') return prepareSharp(opened.sharp, context)
  const { bytes, length, owned, close } = opened
  const own = async () => (owned ? bytes : ownBytes(bytes, length, from))
  try {
    const pending = await prepareBytes(bytes, own, context)
    checkStillThere(bytes, length, from.field)
    const decode = async (stop?: AbortSignal) => finished(await pending.decode(stop), background, from, stop)
    return {
      ...pending,
      kind: 'pending',
      bytes: pending.bytes + length + (background ? pending.bytes : 0),
      decode,
      opened: close,
    }
  } catch (error) {
    close()
    checkStillThere(bytes, length, from.field)
    throw error
  }
}

/**
 * Copies encoded bytes to memory that nothing else uses, for a decoder. Decoders read on other threads, and if the caller's
 * buffer is transferred in the meantime, its memory may be freed.
 */
async function ownBytes(bytes: Uint8Array, length: number, from: ImageOrigin): Promise<Uint8Array> {
  const copy: Uint8Array = allocateBytes(`a copy of \`${from.field}\``, length)
  await copySlices(copy, bytes, 0)
  checkStillThere(bytes, length, from.field)
  return copy
}

/** Composites the image on the background, if one is set and the image is not opaque. */
async function finished(
  image: DecodedImage,
  background: Colour | undefined,
  from: ImageOrigin,
  signal?: AbortSignal,
): Promise<DecodedImage> {
  if (image.mode !== 'RGBA' && image.mode !== 'LA') return image
  if (background) return inSlices(compose(image, background), signal)
  warnOfTransparency(image, nameOf(from))
  return image
}

type Pending = Omit<PendingImage, 'kind' | 'opened'>

/** `own`: the bytes for a decoder. */
async function prepareBytes(
  bytes: Uint8Array,
  own: () => Promise<Uint8Array>,
  context: Context,
): Promise<Pending> {
  const { from, limit, maxPixels, orient, options } = context
  const { signal } = options
  const header = readHeader(bytes)
  if (!header) throw unreadable(from, describeOther(bytes))
  if (header.format === 'SVG') return prepareSvg(bytes, own, context)
  if (header.size) checkDecoder(header.size, header, maxPixels, from)
  if (header.refused !== undefined) throw unreadable(from, `${header.format}: ${header.refused}`)
  if (header.format === 'BMP') {
    const { width, height } = header.size!
    const decode = async (stop?: AbortSignal) => {
      const readable = await own()
      return inSlices(decodeBmp(readable), stop).catch(cause => {
        throw stop?.aborted ? cause : unreadable(from, cause)
      })
    }
    return { bytes: header.decoderBytes(width, height), limit, decode }
  }
  await checkScans(bytes, header, from, signal)
  const sharp = await loadSharp(from)
  const edited = await editedBytes(bytes, header, orient, signal)
  const readable = async () => (edited === bytes ? own() : edited)
  const settings: SharpOptions = { ignoreIcc: true, failOn: 'error', sequentialRead: true, pages: 1 }
  let { facts } = header
  if (!facts) {
    const mine = await readable()
    try {
      facts = await untilAborted(
        withItsReason(() => sharp(mine, { ...settings, limitInputPixels: false }).metadata(), signal),
        signal,
        limit,
      )
    } catch (cause) {
      throw cause instanceof ClipError || signal?.aborted ? cause : unreadable(from, cause, header)
    }
  }
  const { width, height } = facts
  if (!(width > 0 && height > 0)) throw unreadable(from, 'it has no size')
  checkDecoder({ width, height }, header, maxPixels, from)
  const plan = planDecode(facts, header, options.background !== undefined)
  const turn = orient || header.format === 'TIFF'
  const turned = turn && !(header.tiff && header.tiff.orientation === 1)
  const fast = options.decode === 'fast' ? options.scaled : undefined
  const scaled = planScaled(facts, header, plan.mode, turned, fast)
  const part = turned || scaled ? undefined : usefulPart(plan, width, height, options)
  const decoded = part ?? scaled ?? { width, height }
  const seconds = Math.min(3600, Math.ceil(limit.ms / 1000))
  const whole = header.decoderBytes(width, height)
  if (fast && scaled?.format === 'JPEG')
    return {
      bytes: scaled.bytes,
      limit,
      async decode(stop) {
        const mine = await own()
        const image = await decodeScaled(mine, scaled, header, fast, turned, limit.ms)
        if (image) return { ...image, mode: plan.mode }
        stop?.throwIfAborted()
        throw unreadable(from, await reasonOfScaled(sharp(mine, settings), scaled, seconds), header)
      },
    }
  return {
    // A decoder that works row by row needs only the part; others need the whole image.
    bytes: scaled
      ? scaled.bytes
      : part
        ? Math.min(whole, memoryOfPart(part, plan, header, width, height))
        : whole,
    limit,
    async decode(stop) {
      const mine = await readable()
      try {
        const { data: given, info } = await withItsReason(() => {
          // libvips checks the time limit too, so that a decoding that no call waits for comes to an end.
          let pipeline = sharp(mine, {
            ...settings,
            limitInputPixels: maxPixels,
            autoOrient: turned,
          }).timeout({ seconds })
          if (part) pipeline = pipeline.extract(part)
          if (scaled) pipeline = pipeline.resize(webpResize(scaled))
          return plan.pipeline(pipeline).toBuffer({ resolveWithObject: true })
        }, stop)
        const { regroup: how } = plan
        const data = how ? await inSlices(regroup(given, info.width * info.height, how), stop) : given
        if (how) info.channels = how.keep as 3 | 4
        // A rotated image has swapped dimensions; otherwise they are those of the header.
        // The shorter side of a scaled WebP is rounded.
        const most = scaled ? 1 : 0
        const differs = (one: 'width' | 'height') => Math.abs(info[one] - decoded[one]) > most
        if (!turned && (differs('width') || differs('height')))
          throw new Error(`its size differs from that in its header`)
        const image = checked(data, info, plan, from)
        return part ? { ...image, width, height, part } : image
      } catch (cause) {
        if (/^timeout: /.test((cause as Error).message)) throw limit.fault()
        throw cause instanceof ClipError || stop?.aborted ? cause : unreadable(from, cause, header)
      }
    },
  }
}

/** Why a file can't be decoded at a scale: what sharp says of it, in about the same memory. */
async function reasonOfScaled(
  sharp: Sharp,
  { scale, width, height }: ScaledPlan,
  seconds: number,
): Promise<unknown> {
  try {
    await sharp.timeout({ seconds }).resize({ width, height, fit: 'fill' }).raw().toBuffer()
    return `it could not be decoded at 1/${scale} of its size: read it with \`decode: 'exact'\``
  } catch (cause) {
    return cause
  }
}

/** Memory of the part's pixels, and what the decoder needs beyond the pixels of the image. */
function memoryOfPart(
  part: ImagePart,
  plan: DecodePlan,
  header: Header,
  width: number,
  height: number,
): number {
  const beyond = Math.max(0, header.decoderBytes(width, height) - width * height * plan.bytesPerPixel)
  return part.width * part.height * plan.bytesPerPixel + beyond
}

/** Modes in which native code accepts a part of an image. */
const PARTIAL = new Set<PixelMode>(['L', 'RGB', 'CMYK'])

/** The part of the image that the model's crop keeps; undefined if that is (nearly) all of it. */
function usefulPart(
  { mode, nearest }: DecodePlan,
  width: number,
  height: number,
  { part }: DecodeOptions,
): ImagePart | undefined {
  if (!part || nearest || !PARTIAL.has(mode)) return undefined
  const needed = part(width, height)
  return needed.width * needed.height < 0.95 * width * height ? needed : undefined
}

const SAMPLES: Record<PixelMode, number> = { L: 1, LA: 2, RGB: 3, RGBA: 4, CMYK: 4, 'I;16': 1 }

function checked(
  data: Uint8Array,
  info: { width: number; height: number; channels: number },
  plan: { mode: PixelMode; nearest: boolean },
  from: ImageOrigin,
): DecodedImage {
  const { width, height, channels } = info
  const { mode, nearest } = plan
  const bytes = width * height * SAMPLES[mode] * (mode === 'I;16' ? 2 : 1)
  if (channels !== SAMPLES[mode] || data.length !== bytes)
    throw imageError(`decoded to ${channels} channels and ${data.length} bytes`, from, {
      expected: `${width} x ${height} ${mode}, ${bytes} bytes`,
      actual: `${channels} channels, ${data.length} bytes`,
    })
  return { data, width, height, mode, ours: true, ...(nearest ? { nearest } : {}) }
}

/** Runs the caller's sharp pipeline; its result must be 8-bit sRGB or grey, with straight alpha. */
async function prepareSharp(sharp: SharpLike, context: Context): Promise<PendingImage> {
  const { from, limit, maxPixels, options } = context
  const { signal, background } = options
  let size: { width?: number; height?: number }
  try {
    // A pipeline that a stream writes to waits for the end of the stream.
    size = await untilAborted(sharp.metadata(), signal, tooSlow(limit.ms, from, 'did not report its size'))
  } catch (cause) {
    throw cause instanceof ClipError || signal?.aborted ? cause : unreadable(from, cause)
  }
  const { width = 0, height = 0 } = size
  checkPixels(width, height, maxPixels, from)
  return {
    kind: 'pending',
    bytes: width * height * 4,
    limit,
    foreign: true,
    opened() {},
    async decode(stop) {
      try {
        const { data, info } = await sharp
          .clone()
          .toColourspace('srgb')
          .raw({ depth: 'uchar' })
          .toBuffer({ resolveWithObject: true })
        checkPixels(info.width, info.height, maxPixels, from)
        const mode = (['L', 'LA', 'RGB', 'RGBA'] as const)[info.channels - 1] ?? 'RGB'
        return await finished(checked(data, info, { mode, nearest: false }, from), background, from, stop)
      } catch (cause) {
        throw cause instanceof ClipError || stop?.aborted ? cause : unreadable(from, cause)
      }
    },
  }
}

/** The renderer determines the size too, because only it reads the file. */
async function prepareSvg(
  bytes: Uint8Array,
  own: () => Promise<Uint8Array>,
  { from, limit, maxPixels, options }: Context,
): Promise<Pending> {
  if (!options.svg)
    throw imageError(
      'is an SVG or other markup, which is not rendered unless `svg: true` is set: do that only for files that you trust, since a few bytes of SVG can require any amount of work',
      from,
      { expected: FORMATS, actual: 'SVG or other markup' },
    )
  await loadSharp(from)
  const wrong = (message: string) => unreadable(from, `SVG: ${message}`)
  const { width, height } = await svgSize(bytes, { limit, signal: options.signal, wrong })
  checkPixels(width, height, maxPixels, from)
  return {
    bytes: 8 * width * height,
    limit,
    async decode(signal) {
      const { data, channels, ...size } = await renderSvg(await own(), { limit, signal, wrong, maxPixels })
      const mode = channels === 4 ? 'RGBA' : 'RGB'
      return checked(data, { ...size, channels }, { mode, nearest: false }, from)
    },
  }
}

/** Why this build of sharp can't read HEIC, which is not the fault of the file. */
const NO_HEVC =
  'is a HEIC image, and this build of sharp has no decoder for its coding (HEVC), like every build that npm installs: convert it to JPEG or AVIF, or build sharp with a libvips whose libheif has libde265 (https://sharp.pixelplumbing.com/install#building-from-source)'

/** The error for an image that a decoder could not read: ERR_CLIP_IMAGE, unless the decoder blames the system. */
function unreadable(from: ImageOrigin, cause: unknown, header?: Header): ClipError {
  const lack = exhausted(cause, from)
  if (lack) return lack
  const said =
    cause === undefined ? undefined : reasonOf(cause instanceof Error ? cause.message : String(cause))
  const actual = header?.format === 'HEIC' ? 'HEIC' : (said ?? 'bytes of no known format')
  const more = { expected: FORMATS, actual, cause: cause instanceof Error ? cause : new Error(actual) }
  if (header?.format === 'HEIC') return imageError(NO_HEVC, from, more)
  return imageError(`is not a readable image: ${actual}`, from, more)
}

/**
 * Returns the result of `run`, or throws an error with the reason. libvips has one error buffer for all threads: if several
 * images fail at the same time, one can get the message of another, which is then run again.
 */
async function withItsReason<T>(run: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await run()
  } catch (error) {
    const said = reasonOf((error as Error).message)
    if (signal?.aborted || !/^(unknown error|source: bad seek)/i.test(said)) throw error
    return run()
  }
}

/** The line with the reason. Before it, libvips reports each place where libheif read past the end of a file. */
function reasonOf(message: string): string {
  const lines = message.split('\n').filter(line => line !== '')
  return (lines.find(line => !line.startsWith('source: bad seek')) ?? lines[0] ?? '').slice(0, 200)
}
