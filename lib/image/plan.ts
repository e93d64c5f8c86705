/** Plans the sharp calls that give the same pixels as Pillow. */

import type { Sharp } from 'sharp'
import type { TiffHeader } from './formats/facts.js'
import type { Facts, Header } from './header.js'
import type { PixelMode } from './pixels.js'
import type { Regroup } from './samples.js'

export interface DecodePlan {
  mode: PixelMode
  nearest: boolean
  bytesPerPixel: number
  /** Selects the samples of the image from those that sharp returns, if they differ. */
  regroup?: Regroup
  pipeline(sharp: Sharp): Sharp
}

/**
 * The mode in which Pillow 12 opens such a file, and the sharp calls that give the same bytes. `composed`: the image will be
 * composited on a background, so transparent colours become an alpha channel, as in Pillow's convert('RGBA').
 */
export function planDecode(metadata: Facts, header: Header, composed: boolean): DecodePlan {
  const { space, depth, channels, isPalette, bitsPerSample } = metadata
  const plan = (
    mode: PixelMode,
    bytesPerPixel: number,
    pipeline: (sharp: Sharp) => Sharp,
    nearest = false,
  ): DecodePlan => ({ mode, nearest, bytesPerPixel, pipeline })

  const tiff = header.tiff && planTiff(header.tiff)
  if (tiff) return tiff

  const transparent = header.transparentColours || header.gif?.transparent
  if (composed && transparent && depth === 'uchar')
    return plan('RGBA', 4, s => s.toColourspace('srgb').raw({ depth: 'uchar' }))

  // Palette images (P): NEAREST on the colours themselves. Pillow's P -> RGB drops transparency, so a transparent
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
  if (isPalette || header.pngColourType === 3 || header.tiff?.photometric === 3)
    return plan('RGB', 3, s => s.removeAlpha().toColourspace('srgb').raw(), true)

  if (space === 'cmyk') return plan('CMYK', 4, s => s.pipelineColourspace('cmyk').toColourspace('cmyk').raw())

  // Pillow does not treat a tRNS chunk as an alpha channel. Grey with a real alpha channel (LA; RGBA if it has 16 bits) is
  // read as RGBA: with three equal colours, the result is that of Pillow's La arithmetic.
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

/** The plan for images with extra samples, and for 16-bit CMYK; undefined for all others. */
function planTiff({ photometric, bits, extraSamples }: TiffHeader): DecodePlan | undefined {
  const samples = bits.length
  const wide = bits[0] === 16
  // An extra sample that is declared as unspecified (0) is not alpha; a fourth sample without a declaration is.
  const first = extraSamples[0] ?? (samples === 4 ? 2 : 0)
  if (photometric <= 1 && samples > 1 && extraSamples[0] === 0 && !wide)
    return {
      mode: 'L',
      nearest: false,
      bytesPerPixel: 1,
      pipeline: s => s.toColourspace('b-w').extractChannel(0).raw({ depth: 'uchar' }),
    }
  if (photometric === 2 && samples > 3 && (first < 2 || samples > 4)) {
    const alpha = first !== 0
    return {
      mode: alpha ? 'RGBA' : 'RGB',
      nearest: false,
      bytesPerPixel: samples,
      pipeline: s => s.toColourspace('srgb').raw({ depth: 'uchar' }),
      regroup: { keep: alpha ? 4 : 3, premultiplied: first === 1 },
    }
  }
  if (photometric === 5 && (samples > 4 || (wide && samples === 4)))
    return {
      mode: 'CMYK',
      nearest: false,
      bytesPerPixel: wide ? 8 : samples,
      pipeline: s =>
        s
          .pipelineColourspace('cmyk')
          .toColourspace('cmyk')
          .raw({ depth: wide ? 'ushort' : 'uchar' }),
      regroup: { keep: 4, wide },
    }
  return undefined
}
