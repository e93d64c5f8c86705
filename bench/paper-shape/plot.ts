/** The two plots of the page: curves over the number of shots, and bars around a centre line. Plain SVG. */

import { xml } from '../../lib/eval/plots.js'

export interface Point {
  shots: number
  /** 0 to 1. */
  value: number
  low: number
  high: number
}
export interface Curve {
  name: string
  colour: string
  points: Point[]
}

const left = 48
const top = 34
const [width, height] = [420, 250]

const open = (w: number, h: number, title: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" font-family="system-ui, sans-serif" font-size="11" fill="#222">
<rect width="${w}" height="${h}" fill="#fff"/>
<text x="8" y="18" font-size="13" font-weight="600">${xml(title)}</text>`

/** Accuracy over shots on a logarithmic axis; the zero-shot level is a dashed line over the whole width. */
export function curves(title: string, all: readonly Curve[], level: { name: string; value: number }): string {
  const shots = [...new Set(all.flatMap(c => c.points.map(p => p.shots)))].sort((a, b) => a - b)
  const x = (s: number) => left + 24 + (shots.indexOf(s) * (width - 48)) / Math.max(1, shots.length - 1)
  const y = (v: number) => top + (1 - v) * height
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].map(
    v =>
      `<line x1="${left}" x2="${left + width}" y1="${y(v)}" y2="${y(v)}" stroke="#e4e4e4"/><text x="${left - 6}" y="${y(v) + 4}" text-anchor="end">${Math.round(100 * v)}</text>`,
  )
  const labels = shots.map(s => `<text x="${x(s)}" y="${top + height + 16}" text-anchor="middle">${s}</text>`)
  const lines = all.map(({ colour, points }, i) => {
    // Shifted sideways, so that error bars do not cover each other.
    const at = (s: number) => x(s) + (i - (all.length - 1) / 2) * 6
    const bars = points.map(
      p =>
        `<line x1="${at(p.shots)}" x2="${at(p.shots)}" y1="${y(p.low).toFixed(1)}" y2="${y(p.high).toFixed(1)}" stroke="${colour}" stroke-width="1.5"/><circle cx="${at(p.shots)}" cy="${y(p.value).toFixed(1)}" r="3.5" fill="${colour}"/>`,
    )
    return `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points.map(p => `${at(p.shots)},${y(p.value).toFixed(1)}`).join(' ')}"/>${bars.join('')}`
  })
  const legend = [...all.map(c => [c.name, c.colour]), [level.name, '#555']].map(
    ([name, colour], i) =>
      `<rect x="${left + 8 + i * 140}" y="${top + height + 40}" width="14" height="3" fill="${colour}"/><text x="${left + 28 + i * 140}" y="${top + height + 45}">${xml(name!)}</text>`,
  )
  return `${open(left + width + 16, top + height + 58, title)}
${ticks.join('\n')}
${labels.join('')}
<line x1="${left}" x2="${left + width}" y1="${y(level.value).toFixed(1)}" y2="${y(level.value).toFixed(1)}" stroke="#555" stroke-width="1.5" stroke-dasharray="6 4"/>
${lines.join('\n')}
<text x="${left + width / 2}" y="${top + height + 31}" text-anchor="middle">examples of each class</text>
<text transform="translate(12 ${top + height / 2}) rotate(-90)" text-anchor="middle">top-1, %</text>
${legend.join('\n')}
</svg>
`
}

export interface Gain {
  name: string
  /** Difference of accuracies. */
  value: number
  low: number
  high: number
}

/** Differences in points, with their intervals, around zero. */
export function gains(title: string, all: readonly Gain[]): string {
  const names = 190
  const line = 24
  const reach = Math.max(0.02, ...all.flatMap(g => [Math.abs(g.low), Math.abs(g.high)])) * 1.08
  const x = (v: number) => names + ((v + reach) / (2 * reach)) * width
  const rows = all.map((g, i) => {
    const y = top + i * line
    const [from, to] = [Math.min(x(0), x(g.value)), Math.max(x(0), x(g.value))]
    return `<text x="${names - 8}" y="${y + 14}" text-anchor="end">${xml(g.name)}</text><rect x="${from.toFixed(1)}" y="${y + 4}" width="${(to - from).toFixed(1)}" height="${line - 10}" fill="${g.value < 0 ? '#c44028' : '#1f6fb4'}"/><line x1="${x(g.low).toFixed(1)}" x2="${x(g.high).toFixed(1)}" y1="${y + 11}" y2="${y + 11}" stroke="#222"/><text x="${names + width + 8}" y="${y + 14}">${points(g.value)}</text>`
  })
  const bottom = top + all.length * line
  return `${open(names + width + 70, bottom + 26, title)}
${rows.join('\n')}
<line x1="${x(0)}" x2="${x(0)}" y1="${top}" y2="${bottom}" stroke="#888"/>
<text x="${x(0)}" y="${bottom + 16}" text-anchor="middle">points of top-1; lines: 95 % bootstrap interval</text>
</svg>
`
}

export const points = (v: number): string => `${v >= 0 ? '+' : '−'}${Math.abs(100 * v).toFixed(1)}`
