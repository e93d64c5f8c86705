/** Recognises images that were passed as base64 without a `data:` prefix. */

/** The first bytes of each format in base64. */
const STARTS: [start: string, format: string][] = [
  ['iVBORw0KGgo', 'PNG'],
  ['/9j/', 'JPEG'],
  ['UklGR', 'WebP'],
  ['R0lGOD', 'GIF'],
  ['SUkqA', 'TIFF'],
  ['TU0AK', 'TIFF'],
  ['Qk', 'BMP'],
  ['PHN2Z', 'SVG'],
  ['PD94b', 'SVG'],
]
/** File names are rarely this long, and images hardly ever shorter. */
const LEAST = 40

/** The probable image format of a base64 text, or undefined if it is not an image in base64. */
export function looksLikeBase64(text: string): string | undefined {
  const head = text
    .slice(0, 400)
    .replace(/^[\s"']*(?:[\w/+.-]+;)?(?:base64,)?/i, '')
    .replace(/\s/g, '')
  if (text.length < LEAST || !/^[A-Za-z0-9+/_-]+[='"]*$/.test(head)) return undefined
  // The first four bytes of AVIF and HEIC are the length of the first box.
  if (/^AAAA.{1,2}Z0eX/.test(head)) return 'AVIF'
  const url = head.replace(/_/g, '/').replace(/-/g, '+')
  return STARTS.find(([start]) => url.startsWith(start))?.[1]
}
