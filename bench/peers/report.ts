/** The table in readable form. */

import { columns, duration } from '../stats.js'
import { type Row, verdict } from './row.js'

const number = (x: number | undefined, unit: Row['unit']): string => {
  if (x === undefined || Number.isNaN(x)) return '-'
  if (unit === 'percent') return `${(100 * x).toFixed(0)} %`
  if (unit === 'ms') return `${x.toPrecision(2)} ms`
  return x.toPrecision(3)
}

const side = (x: number | undefined, row: Row): string =>
  x === undefined ? '-' : row.group === 'memory' ? `${(x / 2 ** 20).toFixed(0)} MB` : duration(x)

export function table(rows: readonly Row[]): string {
  return columns([
    [
      'case',
      'threads',
      'required',
      'goal',
      'limit',
      'measured',
      'middle half',
      'in cpu time',
      'ours',
      'rival',
      'cosine',
      '',
    ],
    ...rows.map(r => [
      r.what,
      String(r.threads),
      number(r.bar.required, r.unit),
      number(r.bar.goal, r.unit),
      number(r.bar.limit, r.unit),
      number(r.measured, r.unit),
      r.spread ? `${number(r.spread[0], r.unit)} to ${number(r.spread[1], r.unit)}` : '-',
      r.cpuRatio === undefined ? '-' : r.cpuRatio.toPrecision(3),
      side(r.ours, r),
      side(r.rival, r),
      r.cosine === undefined ? '-' : r.cosine.toFixed(6),
      verdict(r),
    ]),
  ])
}

/** The same as a Markdown table. */
export function markdown(rows: readonly Row[]): string {
  const cells = (list: string[]) => `| ${list.join(' | ')} |`
  return [
    cells([
      'case',
      'threads',
      'required',
      'goal',
      'measured (middle half)',
      'in cpu time',
      'ours',
      'rival',
      'verdict',
    ]),
    '|---|---|---|---|---|---|---|---|---|',
    ...rows.map(r =>
      cells([
        r.what,
        String(r.threads),
        number(r.bar.required, r.unit),
        number(r.bar.goal, r.unit),
        r.measured === undefined
          ? '-'
          : `**${number(r.measured, r.unit)}**${r.spread ? ` (${number(r.spread[0], r.unit)} to ${number(r.spread[1], r.unit)})` : ''}`,
        r.cpuRatio === undefined ? '-' : r.cpuRatio.toPrecision(3),
        side(r.ours, r),
        side(r.rival, r),
        verdict(r),
      ]),
    ),
  ].join('\n')
}
