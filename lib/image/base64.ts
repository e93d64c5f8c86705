/** Images that were given as base64 without `data:` before it. */

/** How the first bytes of a format look in base64. */
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
/** Names of files are rarely as long, and images hardly ever shorter. */
const LEAST = 40

/** The format that a text is probably of, or undefined when it is no base64 of an image. */
export function looksLikeBase64(text: string): string | undefined {
  const head = text
    .slice(0, 400)
    .replace(/^[\s"']*(?:[\w/+.-]+;)?(?:base64,)?/i, '')
    .replace(/\s/g, '')
  if (text.length < LEAST || !/^[A-Za-z0-9+/_-]+[='"]*$/.test(head)) return undefined
  // The first four bytes of AVIF and HEIC say how long their first box is.
  if (/^AAAA.{1,2}Z0eX/.test(head)) return 'AVIF'
  const url = head.replace(/_/g, '/').replace(/-/g, '+')
  return STARTS.find(([start]) => url.startsWith(start))?.[1]
}
