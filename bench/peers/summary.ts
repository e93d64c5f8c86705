/**
 * README's chart of speed, drawn from the rows of a committed run:
 *
 *   node dist/bench/peers/summary.js bench/results/peers-DATE-COMMIT.jsonl
 *
 * writes the SVG beside it, `-summary.svg`.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { argv } from 'node:process'
import { pathToFileURL } from 'node:url'
import { xml } from '../plot.js'

interface Figure {
  what: string
  threads: number
  measured: number
  machine: { cpu: string; cores: number; ort: string; date: string }
}

/** The rows that are shown, with their titles for readers. */
const shown: readonly (readonly [title: string, what: string])[] = [
  ['one image, float32', 'image fp32, batch 1, times ORT fp32'],
  ['one image, bfloat16 against float32', 'image bf16, times ORT fp32'],
  ['one image, int8 against int8', 'image int8, times ORT int8'],
  ['one text of 10 tokens, float32', 'one text of 10, fp32, times ORT fp32 fed 10'],
  ['one text of 10 tokens, bfloat16 against float32', 'one text of 10, bf16, times ORT fp32 fed 10'],
  ['one text of 10 tokens, int8 against int8', 'one text of 10, int8, times ORT int8 fed 10'],
]
const colours = ['#4c8bd0', '#1f4e87']

/** An SVG with a bar for each row and number of threads; throws if the run lacks a row. */
export function summary(jsonLines: string): string {
  const figures = jsonLines
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Figure)
  const { machine } = figures[0]!
  const [left, unit, bar] = [300, 110, 14]
  const x = (value: number) => (left + value * unit).toFixed(1)
  const parts: string[] = []
  let y = 40
  for (const [title, what] of shown) {
    parts.push(`<text x="${left - 10}" y="${y + bar + 4}" text-anchor="end">${xml(title)}</text>`)
    for (const [i, threads] of [1, 2].entries()) {
      const row = figures.find(figure => figure.what === what && figure.threads === threads)
      if (!row) throw new Error(`The run has no row "${what}" with ${threads} threads`)
      const top = y + i * bar
      parts.push(
        `<rect x="${left}" y="${top}" width="${(row.measured * unit).toFixed(1)}" height="${bar - 2}" fill="${colours[i]}"/>`,
        `<text x="${Number(x(row.measured)) + 6}" y="${top + 10}">${row.measured.toFixed(2)}</text>`,
      )
    }
    y += 2 * bar + 10
  }
  const legend = [1, 2].map(
    (threads, i) =>
      `<rect x="${left + 110 * i}" y="8" width="12" height="12" fill="${colours[i]}"/><text x="${left + 110 * i + 18}" y="18">${threads} thread${threads > 1 ? 's' : ''}</text>`,
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" width="680" height="${y + 40}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
${legend.join('\n')}
${parts.join('\n')}
<line x1="${x(1)}" x2="${x(1)}" y1="32" y2="${y}" stroke="#c2571a" stroke-dasharray="4 3"/>
<text x="${x(1)}" y="${y + 14}" text-anchor="middle" fill="#c2571a">onnxruntime-node = 1</text>
<text x="8" y="${y + 32}" font-size="10" fill="#555">ViT-B/32; ${xml(machine.cpu)}, ${machine.cores} cores; onnxruntime-node ${xml(machine.ort)}; ${machine.date.slice(0, 10)}</text>
</svg>
`
}

if (argv[1] && import.meta.url === pathToFileURL(argv[1]).href) {
  const [file] = argv.slice(2)
  if (!file?.endsWith('.jsonl')) throw new Error('Expected the .jsonl file of a run')
  writeFileSync(file.replace(/\.jsonl$/, '-summary.svg'), summary(readFileSync(file, 'utf8')))
}
