/**
 * npm run test:full -- FOLDER [--threads N] [--only PART]
 *
 * Compares every full-size checkpoint of a folder with stored outputs of the original libraries, and with published
 * values where the real weights are there. Prints a table; exits 1 when anything differs, or when nothing was compared.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { packageRoot } from '../../lib/base/package.js'
import { entryOf, type Found, findCheckpoints, readStored, sha256 } from './checkpoints.js'
import type { Difference, Measured, Task } from './measure.js'
import { type Published, published } from './published.js'

const MAX_ABS = 1e-5
const COSINE = 0.999999
const LENGTH = 1e-4

const howTo = `Stored outputs for your own checkpoints (vocabularies of 49408 entries) are made with Python:
  python test/golden/full/make.py outputs FOLDER          # writes FOLDER/expected.json
and checkpoints with random weights, whose outputs are stored in test/golden/full, with:
  python test/golden/full/make.py weights FOLDER [NAME ...]`

const child = join(fileURLToPath(new URL('.', import.meta.url)), 'measure.js')

/** The child's answer, or why there is none. */
async function measure(task: Task): Promise<Measured | string> {
  const process_ = spawn(process.execPath, [child], { stdio: ['pipe', 'pipe', 'pipe'] })
  process_.stdin.end(JSON.stringify(task))
  const ended = new Promise<string>(resolve =>
    process_.on('close', (code, signal) => resolve(signal ?? `exit status ${code}`)),
  )
  const [out, err, how] = await Promise.all([text(process_.stdout), text(process_.stderr), ended])
  if (how !== 'exit status 0') return `${how}: ${err.trim().split('\n').slice(0, 12).join('\n')}`
  return JSON.parse(out, (_, v) => (v === 'NaN' ? Number.NaN : v)) as Measured
}

/** Published values for these weights; a value whose image is missing is not among them. */
function publishedFor(folder: string, found: Found, sha: string): Task['published'] {
  return published.flatMap(p => {
    if (p.weights.sha256 !== sha && p.weights.folder !== found.name) return []
    if (!p.image) return [p]
    const imagePath = join(folder, p.image.file)
    return existsSync(imagePath) ? [{ ...p, imagePath }] : []
  })
}

function skipReason(p: Published): string {
  const weights = `${p.weights.file} of OpenAI's or a folder ${p.weights.folder}`
  return p.image ? `needs ${weights}, and ${p.image.file} (${p.image.where})` : `needs ${weights}`
}

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: 'string', default: '1' }, only: { type: 'string', default: '' } },
  })
  const folder = positionals[0]
  const threads = Number(values.threads)
  if (!folder || positionals.length > 1 || !existsSync(folder) || !(threads >= 1)) {
    console.error(`npm run test:full -- FOLDER [--threads N] [--only PART_OF_A_NAME]\n\n${howTo}`)
    return false
  }
  const stored = readStored([
    join(folder, 'expected.json'),
    join(packageRoot, 'test/golden/full/expected.json'),
  ])
  let compared = 0
  const failures: string[] = []
  const skipped: string[] = []
  const checked = new Set<string>()
  console.log(
    '| checkpoint | backend | max abs diff | inputs apart | cosine | length | load s | RSS MB | peak MB | |',
  )
  console.log('|---|---|---|---|---|---|---|---|---|---|')
  for (const found of findCheckpoints(folder)) {
    if (!found.name.includes(values.only)) continue
    const sha = await sha256(found.weights)
    const match = entryOf(stored, found.name, sha)
    const values_ = publishedFor(folder, found, sha)
    if (!match && values_.length === 0) {
      skipped.push(`${found.name}: no stored outputs, neither by sha256 nor by name`)
      continue
    }
    const measured = await measure({
      path: found.path,
      threads,
      published: values_,
      ...(match ? { entry: match.entry, inputs: match.stored } : {}),
    })
    if (typeof measured === 'string') {
      failures.push(`${found.name}: ${measured}`)
      continue
    }
    const mistakes: string[] = []
    const { differences } = measured
    for (const d of differences) {
      if (!(d.maxAbs <= MAX_ABS)) mistakes.push(`${d.what}: largest difference ${d.maxAbs}`)
      if (!(d.cosine >= COSINE)) mistakes.push(`${d.what}: cosine ${d.cosine}`)
      if (!(d.length <= LENGTH)) mistakes.push(`${d.what}: length differs by ${d.length}`)
    }
    if (match && match.entry.parameters !== measured.parameters)
      mistakes.push(`${measured.parameters} parameters instead of ${match.entry.parameters}`)
    for (const p of measured.published) {
      checked.add(p.name)
      const { tolerance, values: want, source } = published.find(q => q.name === p.name)!
      if (!(p.difference <= tolerance))
        mistakes.push(`${p.name} (${source}): ${p.actual} instead of ${want}, tolerance ${tolerance}`)
    }
    if (mistakes.length && match && !match.sameFile)
      mistakes.push(
        `sha256 ${sha} is not ${match.entry.sha256}: other weights than the stored outputs were made of?`,
      )
    failures.push(...mistakes.map(mistake => `${found.name}: ${mistake}`))
    compared += differences.length + measured.published.length
    const worst = (of: (d: Difference) => number, pick: (...n: number[]) => number) =>
      differences.length ? pick(...differences.map(of)) : Number.NaN
    const cells = [
      found.name,
      measured.backend,
      worst(d => d.maxAbs, Math.max).toExponential(1),
      worst(d => d.apart, Math.min).toExponential(1),
      worst(d => d.cosine, Math.min).toFixed(9),
      worst(d => d.length, Math.max).toExponential(1),
      measured.loadSeconds.toFixed(1),
      measured.rss.toFixed(0),
      measured.peak.toFixed(0),
      mistakes.length ? 'DIFFERS' : 'same',
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
  for (const p of published)
    if (!checked.has(p.name)) skipped.push(`published value "${p.name}": ${skipReason(p)}`)
  for (const one of skipped) console.log(`skipped: ${one}`)
  for (const one of failures) console.log(`FAILED: ${one}`)
  if (compared === 0) console.log(`Nothing was compared.\n${howTo}`)
  return compared > 0 && failures.length === 0
}

process.exitCode = (await main()) ? 0 : 1
