/** The table as a chart: one bar per row, with marks at the required value, the goal and the limit. */

import { xml } from '../plot.js'
import { better, type Row, verdict } from './row.js'

const colours: Record<string, string> = { goal: '#1a7f37', required: '#4c8bd0', below: '#c2571a' }

/**
 * The value of each bar, where 1 is the required value: measured / required if more is better, required /
 * measured if less is.
 */
export function plotRows(rows: readonly Row[], caption: string): string {
  const scale = (row: Row, x: number) =>
    better(row) === 'higher' ? x / row.bar.required : row.bar.required / x
  const left = 470
  const width = 420
  const line = 20
  const shown = rows.filter(r => r.measured !== undefined)
  const most = Math.max(1.5, ...shown.flatMap(r => [scale(r, r.measured!), scale(r, r.bar.goal)]))
  const top = Math.min(most, 3)
  const x = (value: number) => left + (Math.min(value, top) / top) * width
  const height = 64 + line * rows.length + 20
  const parts: string[] = []
  for (const [i, row] of rows.entries()) {
    const y = 56 + i * line
    parts.push(
      `<text x="${left - 8}" y="${y + 12}" text-anchor="end">${xml(row.what)}, ${row.threads} t</text>`,
    )
    if (row.measured === undefined) {
      parts.push(`<text x="${left + 4}" y="${y + 12}" fill="#777">${xml(row.missing ?? '-')}</text>`)
      continue
    }
    const value = scale(row, row.measured)
    const unit = row.unit === 'percent' ? `${(100 * row.measured).toFixed(0)} %` : row.measured.toPrecision(3)
    parts.push(
      `<rect x="${left}" y="${y + 3}" width="${(x(value) - left).toFixed(1)}" height="${line - 8}" fill="${colours[verdict(row)] ?? '#777'}"/>`,
    )
    const goal = x(scale(row, row.bar.goal)).toFixed(1)
    parts.push(
      `<line x1="${goal}" x2="${goal}" y1="${y + 1}" y2="${y + line - 3}" stroke="#000" stroke-dasharray="2 2"/>`,
    )
    if (row.spread)
      parts.push(
        `<line x1="${x(scale(row, row.spread[0])).toFixed(1)}" x2="${x(scale(row, row.spread[1])).toFixed(1)}" y1="${y + 9}" y2="${y + 9}" stroke="#222"/>`,
      )
    parts.push(`<text x="${left + width + 8}" y="${y + 12}">${unit}${row.unit === 'ms' ? ' ms' : ''}</text>`)
  }
  const one = x(1).toFixed(1)
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 90}" height="${height}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
<text x="8" y="16" font-size="10">${xml(caption.slice(0, 170))}</text>
<text x="8" y="30" font-size="10">${xml(caption.slice(170))}</text>
<text x="${one}" y="48" text-anchor="middle">required</text>
<line x1="${one}" x2="${one}" y1="52" y2="${height - 20}" stroke="#888"/>
${parts.join('\n')}
<text x="8" y="${height - 6}">bar: measured over required (longer is better); dashed: the goal; thin line: middle half of the ratios</text>
</svg>
`
}
