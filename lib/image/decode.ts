/**
 * Encoded pictures become pixels in the mode in which Pillow opens the same file, because that is the mode in which
 * OpenAI's `preprocess` resizes them. Decoded by sharp (libvips) on its own threads; nothing here touches its global
 * settings. JPEG, PNG, WebP, GIF and 8-bit or 16-bit grey TIFF give the bytes that Pillow 12 gives; AVIF and HEIC
 * come from other decoders than Pillow's and differ by a few levels; SVG is rendered at its own size (Pillow can't).
 */

import type { Sharp, SharpOptions } from 'sharp'
import { ClipError } from '../errors.js'
import { type Facts, type Header, readHeader } from './header.js'
import { checkPixels, type ImageInput, openInput, origin, type SharpLike } from './input.js'
import type { DecodedImage, NativeImage, PicturePart, PixelMode } from './pixels.js'
import { imageError, type Origin } from './source.js'

export const DEFAULT_MAX_PIXELS = 100_000_000

export interface DecodeOptions {
  /** Width x height above this is refused (ERR_CLIP_IMAGE) before anything is decoded. Default 100 million. */
  maxPixels?: number
  /** Turn the picture as its EXIF orientation says. Off by default: OpenAI's `preprocess` ignores it. */
  orient?: boolean
  /** What of a picture of that size is needed: more is not decoded where that saves something. Default all of it. */
  part?: (width: number, height: number) => PicturePart
  signal?: AbortSignal
  /** Which element of the caller's array, for messages. */
  index?: number
}

/** A picture whose size is known and whose pixels are not there yet, or that needs no decoding. */
export type Prepared =
  | { kind: 'ready'; images: NativeImage[] }
  | {
      kind: 'pending'
      /** Memory it takes while it is decoded: its pixels and the encoded bytes that we read. */
      bytes: number
      decode(): Promise<DecodedImage>
    }

type SharpModule = (input: Uint8Array, options: SharpOptions) => Sharp
let sharpModule: Promise<SharpModule> | undefined

/** sharp, imported when the first encoded picture comes; ERR_CLIP_IMAGE with what to do when it is not installed. */
async function loadSharp(from: Origin): Promise<SharpModule> {
  try {
    sharpModule ??= Promise.resolve().then(() => require('sharp') as SharpModule)
    return await sharpModule
  } catch (cause) {
    sharpModule = undefined
    throw imageError(
      'is an encoded picture, and sharp, which decodes them, could not be loaded: run `npm install sharp`, or pass raw pixels { data, width, height, channels }',
      from,
      { cause, expected: 'sharp to be installed', actual: (cause as Error).message },
    )
  }
}

/** One picture to pixels or planes. A Preprocessed with several pictures is refused here: see {@link prepareImage}. */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<NativeImage> {
  const prepared = await prepareImage(input, options)
  if (prepared.kind === 'pending') {
    const image = await prepared.decode()
    options.signal?.throwIfAborted()
    return image
  }
  const from = origin(input, options.index)
  if (prepared.images.length !== 1)
    throw imageError(`holds ${prepared.images.length} pictures where one is wanted`, from, {
      expected: '1 picture',
      actual: `${prepared.images.length} pictures`,
    })
  return prepared.images[0]
}

/**
 * Reads the picture's header, decides its mode and checks its size. Throws TypeError / RangeError for what is no
 * ImageInput, ClipError ERR_CLIP_IMAGE (file, field, index, cause) for what is no picture.
 */
export async function prepareImage(input: ImageInput, options: DecodeOptions = {}): Promise<Prepared> {
  const { signal, maxPixels = DEFAULT_MAX_PIXELS, orient = false } = options
  const from = origin(input, options.index)
  const opened = await openInput(input, from, maxPixels, signal)
  if (opened.kind === 'ready') return opened
  if (opened.kind === 'sharp') return prepareSharp(opened.sharp, from, maxPixels)

  const sharp = await loadSharp(from)
  const { bytes } = opened
  const header = readHeader(bytes)
  const settings: SharpOptions = { ignoreIcc: true, failOn: 'error', sequentialRead: true, pages: 1 }
  let { facts } = header
  if (!facts) {
    try {
      facts = await sharp(bytes, { ...settings, limitInputPixels: false }).metadata()
    } catch (cause) {
      throw unreadable(from, cause)
    }
    signal?.throwIfAborted()
  }
  const { width, height } = facts
  if (!(width > 0 && height > 0)) throw unreadable(from, new Error('it has no size'))
  checkPixels(width, height, maxPixels, from)
  const plan = planDecode(facts, header)
  const part = orient ? undefined : usefulPart(plan, width, height, options)
  const decoded = part ?? facts
  const owned = bytes === input || bytes.buffer === input ? 0 : bytes.length
  return {
    kind: 'pending',
    bytes: decoded.width * decoded.height * plan.bytesPerPixel + owned,
    async decode() {
      try {
        let pipeline = sharp(bytes, { ...settings, limitInputPixels: maxPixels, autoOrient: orient })
        if (part) pipeline = pipeline.extract(part)
        const { data, info } = await plan.pipeline(pipeline).toBuffer({ resolveWithObject: true })
        // Turned, its sides are swapped; otherwise they are what the header said.
        if (!orient && (info.width !== decoded.width || info.height !== decoded.height))
          throw new Error(`it has other sides than its header says`)
        const image = checked(data, info, plan, from)
        return part ? { ...image, width, height, part } : image
      } catch (cause) {
        throw cause instanceof ClipError ? cause : unreadable(from, cause)
      }
    },
  }
}

/** Modes of which native code takes a part. */
const PARTIAL = new Set<PixelMode>(['L', 'RGB', 'CMYK'])

/** Only what survives the model's crop is worth its memory; undefined where that is (nearly) everything. */
function usefulPart(
  { mode, nearest }: DecodePlan,
  width: number,
  height: number,
  { part }: DecodeOptions,
): PicturePart | undefined {
  if (!part || nearest || !PARTIAL.has(mode)) return undefined
  const needed = part(width, height)
  return needed.width * needed.height < 0.95 * width * height ? needed : undefined
}

interface DecodePlan {
  mode: PixelMode
  nearest: boolean
  bytesPerPixel: number
  pipeline(sharp: Sharp): Sharp
}

/** The mode in which Pillow 12 opens such a file, and the sharp calls that give its bytes. */
function planDecode(metadata: Facts, header: Header): DecodePlan {
  const { space, depth, channels, isPalette, bitsPerSample } = metadata
  const plan = (
    mode: PixelMode,
    bytesPerPixel: number,
    pipeline: (sharp: Sharp) => Sharp,
    nearest = false,
  ): DecodePlan => ({ mode, nearest, bytesPerPixel, pipeline })

  // Palette pictures (P): NEAREST on the colours themselves. Pillow's P -> RGB drops transparency, so a transparent
  // pixel shows the palette's colour, which libvips keeps for PNG and loses for GIF.
  if (header.gif) {
    const { grey, background, frame } = header.gif
    const { width, height } = metadata
    const uncovered = frame && {
      top: frame.top,
      left: frame.left,
      bottom: height - frame.top - frame.height,
      right: width - frame.left - frame.width,
    }
    const edges = uncovered ? Object.values(uncovered) : []
    const partial = edges.some(edge => edge > 0) && edges.every(edge => edge >= 0)
    const filled = (s: Sharp) =>
      partial && frame
        ? s
            .extract(frame)
            .extend({ ...uncovered, background })
            .removeAlpha()
        : s.flatten({ background })
    return grey
      ? plan('L', 4, s => filled(s).extractChannel(0).raw())
      : plan('RGB', 4, s => filled(s).raw(), true)
  }
  if (isPalette || header.pngColourType === 3 || header.tiffPalette)
    return plan('RGB', 3, s => s.removeAlpha().toColourspace('srgb').raw(), true)

  if (space === 'cmyk') return plan('CMYK', 4, s => s.pipelineColourspace('cmyk').toColourspace('cmyk').raw())

  // Alpha that stems from a tRNS chunk is no channel to Pillow. Grey with a real alpha channel (LA; RGBA when it has
  // 16 bits) is read as RGBA: its three equal colours give what Pillow's La arithmetic gives.
  const alpha = header.pngColourType === undefined ? metadata.hasAlpha : header.pngColourType >= 4
  if (space === 'b-w' || space === 'grey16') {
    if (alpha) return plan('RGBA', 4, s => s.toColourspace('srgb').raw({ depth: 'uchar' }))
    if (space === 'grey16' && depth === 'ushort')
      return plan('I;16', 2, s => s.removeAlpha().toColourspace('grey16').raw({ depth: 'ushort' }))
    return plan(
      'L',
      1,
      s => s.removeAlpha().toColourspace('b-w').raw({ depth: 'uchar' }),
      bitsPerSample === 1,
    )
  }
  // 16-bit colour: libvips and Pillow both keep the high byte.
  if (alpha && channels >= 4) return plan('RGBA', 4, s => s.toColourspace('srgb').raw({ depth: 'uchar' }))
  return plan('RGB', 3, s => s.removeAlpha().toColourspace('srgb').raw({ depth: 'uchar' }))
}

const SAMPLES: Record<PixelMode, number> = { L: 1, LA: 2, RGB: 3, RGBA: 4, CMYK: 4, 'I;16': 1 }

function checked(
  data: Buffer,
  info: { width: number; height: number; channels: number },
  plan: { mode: PixelMode; nearest: boolean },
  from: Origin,
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

/** A sharp pipeline of the caller's: its result is taken as it comes, as 8-bit sRGB or grey with straight alpha. */
async function prepareSharp(sharp: SharpLike, from: Origin, maxPixels: number): Promise<Prepared> {
  let size: { width?: number; height?: number }
  try {
    size = await sharp.metadata()
  } catch (cause) {
    throw unreadable(from, cause)
  }
  const { width = 0, height = 0 } = size
  checkPixels(width, height, maxPixels, from)
  return {
    kind: 'pending',
    bytes: width * height * 4,
    async decode() {
      try {
        const { data, info } = await sharp
          .clone()
          .toColourspace('srgb')
          .raw({ depth: 'uchar' })
          .toBuffer({ resolveWithObject: true })
        checkPixels(info.width, info.height, maxPixels, from)
        const mode = (['L', 'LA', 'RGB', 'RGBA'] as const)[info.channels - 1] ?? 'RGB'
        return checked(data, info, { mode, nearest: false }, from)
      } catch (cause) {
        throw cause instanceof ClipError ? cause : unreadable(from, cause)
      }
    },
  }
}

function unreadable(from: Origin, cause: unknown): ClipError {
  const said = (cause as Error).message.split('\n')[0]
  return imageError(`is no picture that can be read: ${said}`, from, {
    cause,
    expected: 'a JPEG, PNG, WebP, GIF, TIFF, AVIF or SVG picture',
    actual: said,
  })
}
