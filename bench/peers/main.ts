/**
 * `npm run bench:peers -- [group...] [--threads 1,2] [--quick] [--json] [--out FOLDER]`: every row of the
 * comparison with onnxruntime-node, with the required value, the goal, and the measured value. The exit code
 * is 0 whatever the figures are, because a person has to judge them.
 */

import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { packageRoot } from '../../lib/base/package.js'
import { loadNow, type Machine, machine, machineLine, versionOf } from '../machine.js'
import type { Effort } from './arena.js'
import { classifierRows } from './classifier.js'
import { modelRows } from './models.js'
import { blockingRows, jpegRows, topKRows } from './others.js'
import { plotRows } from './plot.js'
import { markdown, table } from './report.js'
import type { Row } from './row.js'
import { startRows } from './start.js'
import { imageRows, textRows } from './towers.js'
import { folderRows, transformersRows } from './transformers.js'

const groups = [
  'image',
  'text',
  'classifier',
  'topk',
  'folder',
  'jpeg',
  'start',
  'cold',
  'blocking',
  'transformers',
  'models',
] as const
type Group = (typeof groups)[number]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: 'string', default: '1,2' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    sweeps: { type: 'string' },
    labels: { type: 'string' },
    out: { type: 'string' },
  },
})

const folder = join(packageRoot, 'bench/peers')
if (!existsSync(join(folder, 'node_modules/onnxruntime-node'))) {
  process.stderr.write(`The rivals are not installed: npm ci --ignore-scripts --prefix ${folder}\n`)
  process.exit(1)
}
for (const name of positionals)
  if (!groups.includes(name as Group)) {
    process.stderr.write(`No group '${name}': ${groups.join(', ')}\n`)
    process.exit(2)
  }

const quick = values.quick
const effort: Effort & { labels: number; prompts: number } = {
  rounds: Number(values.rounds ?? (quick ? 1 : 3)),
  sweeps: Number(values.sweeps ?? (quick ? 3 : 7)),
  milliseconds: quick ? 100 : 400,
  labels: Number(values.labels ?? (quick ? 20 : 1000)),
  prompts: quick ? 64 : 512,
}
const log = (text: string) => process.stderr.write(`${text}\n`)
const where: Machine & { ort: string } = { ...machine(), ort: versionOf(folder, 'onnxruntime-node') }
const threadCounts = values.threads.split(',').map(Number)
const chosen = new Set<Group>(
  positionals.length > 0 ? (positionals as Group[]) : groups.filter(g => g !== 'models' && g !== 'cold'),
)
const rows: Row[] = []

const add = (more: Row[]) => {
  for (const row of more) {
    rows.push(row)
    if (values.json) process.stdout.write(`${JSON.stringify({ ...row, load: loadNow(), machine: where })}\n`)
  }
}

log(`${machineLine(where)}; onnxruntime-node ${where.ort}`)
for (const threads of threadCounts) {
  for (const weights of ['float16', 'float32'] as const) {
    if (chosen.has('image')) add(await imageRows(threads, effort, log, weights))
    if (chosen.has('text')) add(await textRows(threads, effort, log, weights))
  }
  if (chosen.has('topk')) add(await topKRows(threads, effort, log))
  if (chosen.has('start')) add(await startRows(threads, effort, log))
  if (chosen.has('cold')) add(await startRows(threads, effort, log, true))
}
const transformers = versionOf(folder, '@huggingface/transformers')
if (chosen.has('transformers'))
  for (const threads of threadCounts) add(await transformersRows(threads, transformers, effort, log))
if (chosen.has('folder'))
  for (const threads of threadCounts) add(await folderRows(threads, transformers, effort, log))
if (chosen.has('jpeg')) add(await jpegRows(effort, log))
if (chosen.has('blocking')) add(await blockingRows(effort, log))
if (chosen.has('models')) for (const threads of threadCounts) add(await modelRows(threads, effort, log))
if (chosen.has('classifier'))
  for (const threads of threadCounts) add(await classifierRows(threads, effort, log))
where.loadAfter = loadNow()

const settings = [...new Set(rows.map(r => `  ${r.rivalSettings}${r.note ? ` (${r.note})` : ''}`))]
const head = `${machineLine(where)}; onnxruntime-node ${where.ort}; ${effort.rounds} rounds of fresh processes x ${effort.sweeps} sweeps, order alternated`
const busy =
  Math.max(where.load, where.loadAfter) > where.cores
    ? `BUSY MACHINE: load average ${where.load} to ${where.loadAfter} on ${where.cores} cores. Others took the processor meanwhile: not figures to publish, least of all those with ${where.cores} threads.`
    : ''
if (!values.json)
  process.stdout.write(
    `\n${head}\n${busy}\n\n${table(rows)}\n\nThe rival's settings\n${settings.join('\n')}\n`,
  )
if (values.out) {
  await mkdir(values.out, { recursive: true })
  const name = join(values.out, `peers-${where.date.slice(0, 10)}-${where.commit.replace('+', 'x')}`)
  await writeFile(`${name}.jsonl`, rows.map(r => `${JSON.stringify({ ...r, machine: where })}\n`).join(''))
  await writeFile(
    `${name}.md`,
    `# Against onnxruntime-node ${where.ort}\n\n${head}\n\n${busy ? `**${busy}**\n\n` : ''}${markdown(rows)}\n`,
  )
  await writeFile(
    `${name}.svg`,
    plotRows(
      rows.filter(r => !Number.isNaN(r.bar.required)),
      busy ? `BUSY MACHINE, not to be quoted. ${head}` : head,
    ),
  )
  log(`Written: ${name}.jsonl, .md, .svg`)
}
