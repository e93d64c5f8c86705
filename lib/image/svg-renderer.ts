/** The process that renders SVG for svg.ts. It exits when its parent disconnects. */

import type { Sharp, SharpOptions } from 'sharp'
import type { SvgAnswer, SvgRequest } from './svg.js'

const sharp = require('sharp') as (input: Uint8Array, options: SharpOptions) => Sharp

async function render({ bytes, maxPixels }: SvgRequest): Promise<SvgAnswer> {
  const { width, height, format } = await sharp(bytes, { limitInputPixels: false }).metadata()
  if (format !== 'svg') throw new Error('it is not an SVG')
  if (maxPixels === undefined) return { width, height }
  const { data, info } = await sharp(bytes, { limitInputPixels: maxPixels })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, channels: info.channels, data }
}

process.on('disconnect', () => process.exit())
process.on('message', (request: SvgRequest) => {
  render(request).then(
    answer => process.send!(answer),
    error =>
      process.send!({ width: 0, height: 0, fault: String(error.message).slice(0, 2000) } satisfies SvgAnswer),
  )
})
