/** How sharp is asked for the pixels that Pillow gives. */

import type { Sharp } from 'sharp'
import type { Facts, Header } from './header.js'
import type { PixelMode } from './pixels.js'

export interface DecodePlan {
  mode: PixelMode
  nearest: boolean
  bytesPerPixel: number
  pipeline(sharp: Sharp): Sharp
}

/**
 * The mode in which Pillow 12 opens such a file, and the sharp calls that give its bytes. `composed`: the picture will be
 * laid on a colour, so transparent colours are an alpha channel, as in Pillow's convert('RGBA').
 */
export function planDecode(metadata: Facts, header: Header, composed: boolean): DecodePlan {
  const { space, depth, channels, isPalette, bitsPerSample } = metadata
  const plan = (
    mode: PixelMode,
    bytesPerPixel: number,
    pipeline: (sharp: Sharp) => Sharp,
    nearest = false,
  ): DecodePlan => ({ mode, nearest, bytesPerPixel, pipeline })

  const transparent = header.transparentColours || header.gif?.transparent
  if (composed && transparent && depth === 'uchar')
    return plan('RGBA', 4, s => s.toColourspace('srgb').raw({ depth: 'uchar' }))

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
  if (isPalette || header.pngColourType === 3 || header.tiff?.photometric === 3)
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
