/**
 * The background of transparent images. OpenAI's `preprocess` ends with convert('RGB'), which drops the alpha channel, so
 * transparent pixels are usually black. With a background, the image is first composited on that colour, at its own size, as
 * `Image.alpha_composite(Image.new('RGBA', image.size, colour), image.convert('RGBA')).convert('RGB')` does in Pillow.
 */

import { allocate } from '../base/allocate.js'
import { argumentError } from '../base/errors.js'
import type { Steps } from '../base/slices.js'
import type { DecodedImage } from './pixels.js'

/** Red, green and blue, 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number]

const NAMES: Record<string, Colour> = { white: [255, 255, 255], black: [0, 0, 0] }

/** `#fff`, `#ffffff`, `white` or `black`. */
export function colourOf(field: string, value: unknown): Colour | undefined {
  if (value === undefined) return undefined
  const expected = "be a colour as '#ffffff' or '#fff', or 'white' or 'black'"
  if (typeof value !== 'string') throw argumentError(field, expected, value)
  const text = value.toLowerCase()
  const named = NAMES[text]
  if (Object.hasOwn(NAMES, text)) return named
  const digits = /^#([0-9a-f]{3}|[0-9a-f]{6})$/.exec(text)?.[1]
  if (digits === undefined) throw argumentError(field, expected, value)
  const long = digits.length === 3 ? [...digits].map(d => d + d).join('') : digits
  return [0, 2, 4].map(i => Number.parseInt(long.slice(i, i + 2), 16)) as unknown as Colour
}

/** Pixels processed between two checks of the clock. */
const PIECE = 8192

/** Pillow's arithmetic for an opaque background (AlphaComposite.c), bit for bit. Modes LA and RGBA become RGB. */
export function* compose(image: DecodedImage, colour: Colour): Steps<DecodedImage> {
  const { data, width, height, mode } = image
  const samples = mode === 'LA' ? 2 : 4
  const [green, blue] = mode === 'LA' ? [0, 0] : [1, 2]
  const pixels = width * height
  const out = allocate(Uint8Array, 'the pixels', height, width, 3)
  const over = (value: number, alpha: number, below: number) => {
    const t = 128 * (value * alpha + below * (255 - alpha)) + 16384
    return (((t >> 8) + t) >> 8) >> 7
  }
  for (let start = 0; start < pixels; start += PIECE) {
    const end = Math.min(pixels, start + PIECE)
    for (let i = start, from = samples * start, to = 3 * start; i < end; i++, from += samples, to += 3) {
      const alpha = data[from + samples - 1]!
      out[to] = over(data[from]!, alpha, colour[0])
      out[to + 1] = over(data[from + green]!, alpha, colour[1])
      out[to + 2] = over(data[from + blue]!, alpha, colour[2])
    }
    yield
  }
  return { data: out, width, height, mode: 'RGB', ours: true }
}

/** Number of pixels sampled to estimate how much of an image is transparent. */
const SAMPLED = 4096
let warned = false

/** Warns, once per process, if most of an image is transparent and no background was set. */
export function warnOfTransparency(image: DecodedImage, name: string): void {
  if (warned || (image.mode !== 'RGBA' && image.mode !== 'LA')) return
  const samples = image.mode === 'LA' ? 2 : 4
  const pixels = image.data.length / samples
  const step = Math.max(1, Math.floor(pixels / SAMPLED))
  let [seen, clear] = [0, 0]
  for (let i = 0; i < pixels; i += step, seen++) if (image.data[samples * i + samples - 1] === 0) clear++
  if (2 * clear <= seen) return
  warned = true
  process.emitWarning(
    `${name} is mostly transparent, and transparent pixels become black, as in OpenAI's preprocess, so a dark icon disappears. ` +
      "Set `background` (for example '#fff') to composite such images onto a colour. This warning is shown once.",
    { code: 'CLIP_TRANSPARENT' },
  )
}
