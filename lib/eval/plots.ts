/** The plots of a report as self-contained SVG strings without scripts. */

import type { Calibration, ClassAccuracy, Confusion, Recall } from './metrics.js'

export const xml = (text: string): string =>
  text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')

const short = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 1)}…` : text)
export const percent = (x: number) => `${(100 * x).toFixed(1)} %`
/** Width of 11 px sans-serif letters, including wide ones. */
const letter = 6.4

const svg = (width: number, height: number, title: string, body: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${xml(title)}" font-family="system-ui, sans-serif" font-size="11" fill="#222">
<rect width="${width}" height="${height}" fill="#fff"/>
${body}
</svg>`

/** The classes in a heat map: all of them if they fit, otherwise those with the most wrong answers. */
export function mostConfused(
  confusion: readonly Confusion[],
  labels: readonly string[],
  most: number,
): string[] {
  if (labels.length <= most) return [...labels]
  const wrong = new Map<string, number>()
  for (const { label, predicted, count } of confusion)
    if (label !== predicted)
      for (const one of [label, predicted]) wrong.set(one, (wrong.get(one) ?? 0) + count)
  const chosen = new Set(
    [...wrong]
      .sort((a, b) => b[1] - a[1])
      .slice(0, most)
      .map(([label]) => label),
  )
  return labels.filter(label => chosen.has(label))
}

/** Rows are true labels, columns are predictions; darker cells are larger shares of their row. */
export function confusionPlot(
  confusion: readonly Confusion[],
  perClass: readonly ClassAccuracy[],
  shown: readonly string[],
): string {
  const cell = Math.max(13, Math.min(34, Math.floor(560 / shown.length)))
  const name = (label: string) => xml(short(label, 22))
  const margin = Math.ceil(letter * Math.max(6, ...shown.map(l => Math.min(22, l.length)))) + 16
  const side = cell * shown.length
  const at = new Map(shown.map((label, i) => [label, i]))
  const total = new Map(perClass.map(c => [c.label, c.count]))
  const cells = confusion.flatMap(({ label, predicted, count }) => {
    const [row, column] = [at.get(label), at.get(predicted)]
    if (row === undefined || column === undefined) return []
    const part = count / total.get(label)!
    const [x, y] = [margin + column * cell, margin + row * cell]
    const colour = row === column ? '31,111,180' : '196,64,40'
    const text =
      cell >= 20
        ? `<text x="${x + cell / 2}" y="${y + cell / 2 + 4}" text-anchor="middle" font-size="${count > 99 ? 9 : 11}" fill="${part > 0.55 ? '#fff' : '#222'}">${count}</text>`
        : ''
    return `<g><title>${xml(`${label}, predicted as ${predicted}: ${count} of ${total.get(label)}`)}</title><rect x="${x}" y="${y}" width="${cell}" height="${cell}" fill="rgba(${colour},${(0.08 + 0.92 * part).toFixed(3)})"/>${text}</g>`
  })
  // Shade the diagonal, so that empty cells on it are visible.
  const diagonal = shown.map((_, i) => `M${margin + i * cell} ${margin + i * cell}h${cell}v${cell}h${-cell}z`)
  const names = shown.map((label, i) => {
    const middle = margin + i * cell + cell / 2
    return `<text x="${margin - 6}" y="${middle + 4}" text-anchor="end">${name(label)}</text><text transform="translate(${middle + 4} ${margin - 6}) rotate(-90)">${name(label)}</text>`
  })
  return svg(
    margin + side + 8,
    margin + side + 8,
    'Confusion matrix',
    `${names.join('\n')}
<path d="${diagonal.join('')}" fill="#eef1f4"/>
<rect x="${margin}" y="${margin}" width="${side}" height="${side}" fill="none" stroke="#bbb"/>
${cells.join('\n')}`,
  )
}

/** Accuracy against confidence per bin; on the diagonal, the model is perfectly calibrated. */
export function reliabilityPlot({ bins }: Calibration): string {
  const [left, top, side] = [46, 12, 320]
  const x = (v: number) => left + v * side
  const y = (v: number) => top + (1 - v) * side
  const most = Math.max(1, ...bins.map(b => b.count))
  const bars = bins.map(bin => {
    if (bin.accuracy === null) return ''
    const width = side / bins.length - 2
    const text = `${bin.count} predictions from ${percent(bin.from)} to ${percent(bin.to)}: mean probability ${percent(bin.confidence!)}, accuracy ${percent(bin.accuracy)}`
    return `<g><title>${xml(text)}</title><rect x="${(x(bin.from) + 1).toFixed(1)}" y="${y(bin.accuracy).toFixed(1)}" width="${width.toFixed(1)}" height="${(bin.accuracy * side).toFixed(1)}" fill="#1f6fb4" fill-opacity="${(0.25 + 0.75 * Math.sqrt(bin.count / most)).toFixed(2)}"/><circle cx="${x(bin.confidence!).toFixed(1)}" cy="${y(bin.accuracy).toFixed(1)}" r="3" fill="#c44028"/></g>`
  })
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].map(
    v =>
      `<line x1="${left}" x2="${left + side}" y1="${y(v)}" y2="${y(v)}" stroke="#e4e4e4"/><text x="${left - 6}" y="${y(v) + 4}" text-anchor="end">${(100 * v).toFixed(0)}</text><text x="${x(v)}" y="${top + side + 16}" text-anchor="middle">${(100 * v).toFixed(0)}</text>`,
  )
  return svg(
    left + side + 20,
    top + side + 40,
    'Reliability diagram',
    `${ticks.join('\n')}
${bars.join('\n')}
<line x1="${x(0)}" y1="${y(0)}" x2="${x(1)}" y2="${y(1)}" stroke="#333" stroke-dasharray="4 4"/>
<rect x="${left}" y="${top}" width="${side}" height="${side}" fill="none" stroke="#bbb"/>
<text x="${left + side / 2}" y="${top + side + 34}" text-anchor="middle">probability, %</text>
<text transform="translate(12 ${top + side / 2}) rotate(-90)" text-anchor="middle">accuracy, %</text>`,
  )
}

/** Recall at 1, 5 and 10 in both directions, side by side. */
export function recallPlot(directions: readonly { name: string; recall: Recall }[]): string {
  const [left, top, height, bar] = [46, 24, 180, 64]
  const y = (v: number) => top + (1 - v) * height
  const group = 3 * bar + 48
  const bars = directions.flatMap(({ name, recall }, d) => {
    const from = left + 24 + d * group
    const three = [
      ['1', recall.recall1],
      ['5', recall.recall5],
      ['10', recall.recall10],
    ] as const
    return [
      ...three.map(([k, part], i) => {
        const x = from + i * bar
        return `<rect x="${x + 8}" y="${y(part).toFixed(1)}" width="${bar - 16}" height="${(part * height).toFixed(1)}" fill="${d === 0 ? '#1f6fb4' : '#d07a1e'}"/><text x="${x + bar / 2}" y="${(y(part) - 5).toFixed(1)}" text-anchor="middle">${percent(part)}</text><text x="${x + bar / 2}" y="${top + height + 16}" text-anchor="middle">@${k}</text>`
      }),
      `<text x="${from + 1.5 * bar}" y="${top + height + 34}" text-anchor="middle" font-weight="600">${xml(name)}</text>`,
    ]
  })
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    v =>
      `<line x1="${left}" x2="${left + 2 * group}" y1="${y(v)}" y2="${y(v)}" stroke="#e4e4e4"/><text x="${left - 6}" y="${y(v) + 4}" text-anchor="end">${(100 * v).toFixed(0)}</text>`,
  )
  return svg(
    left + 2 * group + 20,
    top + height + 46,
    'Recall',
    `${ticks.join('\n')}\n${bars.join('\n')}\n<text transform="translate(12 ${top + height / 2}) rotate(-90)" text-anchor="middle">recall, %</text>`,
  )
}

/** The worst classes first; at most `most` of them. */
export function classPlot(perClass: readonly ClassAccuracy[], most = 60): string {
  const seen = perClass.filter(c => c.count > 0).sort((a, b) => a.accuracy! - b.accuracy!)
  const shown = seen.slice(0, most)
  const line = 18
  const left = Math.ceil(letter * Math.max(6, ...shown.map(c => Math.min(26, c.label.length)))) + 14
  const width = 300
  const rows = shown.map((c, i) => {
    const y = 6 + i * line
    return `<text x="${left - 6}" y="${y + 12}" text-anchor="end">${xml(short(c.label, 26))}</text><rect x="${left}" y="${y + 2}" width="${width}" height="${line - 6}" fill="#eef1f4"/><rect x="${left}" y="${y + 2}" width="${(c.accuracy! * width).toFixed(1)}" height="${line - 6}" fill="#1f6fb4"/><text x="${left + width + 8}" y="${y + 12}">${percent(c.accuracy!)} of ${c.count}</text>`
  })
  return svg(left + width + 120, 12 + line * shown.length, 'Accuracy of each class', rows.join('\n'))
}
