/** Percent of the peak as bars, as a plain SVG string. */

import type { Result } from './suite.js'

export const xml = (text: string): string =>
  text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')

export function plotResults(results: readonly Result[], caption: string): string {
  const left = 400
  const width = 400
  const line = 18
  const height = 60 + line * results.length
  const bars = results.map((r, i) => {
    const y = 40 + i * line
    const part = Math.min(1, r.ofPeak!)
    return `<text x="${left - 8}" y="${y + 12}" text-anchor="end">${xml(r.name)}</text>
<rect x="${left}" y="${y + 2}" width="${(part * width).toFixed(1)}" height="${line - 6}" fill="#4c8bd0"/>
<text x="${left + width + 8}" y="${y + 12}">${(100 * r.ofPeak!).toFixed(0)} %</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 70}" height="${height}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
<text x="8" y="16" font-size="10">${xml(caption.slice(0, 160))}</text>
<text x="8" y="30" font-size="10">${xml(caption.slice(160))}</text>
${bars.join('\n')}
<line x1="${left + width}" x2="${left + width}" y1="38" y2="${height - 16}" stroke="#888"/>
<text x="${left + width}" y="${height - 4}" text-anchor="middle">peak measured in the same run</text>
</svg>
`
}
