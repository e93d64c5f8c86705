/**
 * `npm run test:families`: every model configuration of open_clip 3.3.0, made by the original libraries at reduced size with
 * random weights, opened here and compared on the reference and on the best CPU backend, in every dtype. Writes table.md:
 * each configuration is equal, or refused by name. Exits with 1 if one opens with other numbers, or if one that the committed
 * table calls equal does not open any more.
 *
 *   npm run test:families -- [--python PYTHON] [--folder FOLDER] [NAME...]
 *
 * Needs Python with open_clip_torch 3.3.0, timm 1.0.29, transformers 5.17.0 and safetensors. FOLDER keeps what Python makes
 * (1 GB); a folder that is there already is used as it is.
 */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ClipError } from '../../lib/base/errors.js'
import { packageRoot } from '../../lib/base/package.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { binding } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'

interface Expected {
  imageSize: number
  pixels: number[]
  texts: number[][]
  image: number[][]
  text: number[][]
}

interface Result {
  name: string
  outcome: 'equal' | 'different' | 'refused' | 'not built'
  /** Why it is refused or not built. */
  why?: string
  /** The largest differences of normalized float32 embeddings: reference, then the best backend. */
  differences?: [number, number]
  /** The smallest cosines in bfloat16 and int8. */
  cosines?: [number, number]
}

const here = join(packageRoot, 'test/families')
const unit = (row: ArrayLike<number>): number[] => {
  const norm = Math.sqrt(Array.from(row).reduce((sum, v) => sum + v * v, 0))
  return Array.from(row, v => v / norm)
}

/** The embeddings of the inputs, images then texts, each of length 1. */
async function embed(
  folder: string,
  expected: Expected,
  device: 'reference' | 'auto',
  dtype: 'float32' | 'bfloat16' | 'int8',
): Promise<number[][]> {
  const { model: spec, preprocess } = await readCheckpoint(folder)
  const options = { device, dtype, threads: 1, maxBatchRows: 512 } as const
  const model = await binding().loadModel(nextJob(), spec, preprocess, options)
  try {
    const floats = 3 * expected.imageSize ** 2
    const images = expected.image.map((_, i) => ({
      planes: Float32Array.from(expected.pixels.slice(i * floats, (i + 1) * floats)),
    }))
    const ids = Int32Array.from(expected.texts.flat())
    const lengths = Int32Array.from(expected.texts.map(text => text.length))
    const rows: number[][] = []
    for (const data of [
      await model.encodeImage(nextJob(), images, 'embedding', false),
      await model.encodeText(nextJob(), ids, lengths, 'embedding', false),
    ])
      for (let r = 0; r * model.shapes.embedDim < data.length; r++)
        rows.push(unit(data.subarray(r * model.shapes.embedDim, (r + 1) * model.shapes.embedDim)))
    return rows
  } finally {
    await model.dispose()
  }
}

/** Written so that NaN counts as the largest difference. */
const difference = (rows: number[][], want: number[][]): number =>
  Math.max(
    ...rows.flatMap((row, r) =>
      row.map((v, i) =>
        Math.abs(v - want[r]![i]!) >= 0 ? Math.abs(v - want[r]![i]!) : Number.POSITIVE_INFINITY,
      ),
    ),
  )
const cosine = (rows: number[][], want: number[][]): number =>
  Math.min(...rows.map((row, r) => row.reduce((sum, v, i) => sum + v * want[r]![i]!, 0)))

async function compare(folder: string, name: string): Promise<Result> {
  const reason = join(folder, 'not-built.txt')
  if (existsSync(reason))
    return { name, outcome: 'not built', why: readFileSync(reason, 'utf8').split('\n')[0]! }
  const expected: Expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8'))
  const want = [...expected.image, ...expected.text].map(unit)
  try {
    const differences: [number, number] = [
      difference(await embed(folder, expected, 'reference', 'float32'), want),
      difference(await embed(folder, expected, 'auto', 'float32'), want),
    ]
    const cosines: [number, number] = [
      cosine(await embed(folder, expected, 'auto', 'bfloat16'), want),
      cosine(await embed(folder, expected, 'auto', 'int8'), want),
    ]
    const right = Math.max(...differences) <= 1e-5 && cosines[0] >= 0.999 && cosines[1] >= 0.99
    return { name, outcome: right ? 'equal' : 'different', differences, cosines }
  } catch (error) {
    if (!(error instanceof ClipError)) throw error
    // Without the path of the folder.
    const why = error.message.replaceAll(`${folder}/`, '').replace(/^open_clip_config\.json: /, '')
    return { name, outcome: 'refused', why }
  }
}

function tableOf(results: readonly Result[]): string {
  const count = (outcome: Result['outcome']) => results.filter(result => result.outcome === outcome).length
  const cell = (text: string) => text.replaceAll('|', '\\|')
  const lines = results.map(({ name, outcome, why, differences, cosines }) =>
    differences && cosines
      ? `| ${name} | ${outcome} | ${Math.max(...differences).toExponential(0)} | ${cosines[0].toFixed(4)} | ${cosines[1].toFixed(4)} | |`
      : `| ${name} | ${outcome} | | | | ${cell(why ?? '')} |`,
  )
  return `# The model configurations of open_clip 3.3.0

Written by \`npm run test:families\`: each configuration at reduced size with random weights, against the original libraries in
float64. Equal: embeddings of images and texts differ by at most 1e-5 (normalized, float32, on the reference and the best CPU
backend), with cosines of at least 0.999 in bfloat16 and 0.99 in int8.

${count('equal')} equal, ${count('refused')} refused by name, ${count('different')} different, ${count('not built')} not built, of ${results.length}.

| configuration | outcome | largest difference | bfloat16 | int8 | why |
|---|---|---|---|---|---|
${lines.join('\n')}
`
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { python: { type: 'string', default: 'python3' }, folder: { type: 'string' } },
})
const folder = values.folder ?? mkdtempSync(join(tmpdir(), 'clip-families-'))
try {
  mkdirSync(folder, { recursive: true })
  if (readdirSync(folder).length === 0)
    execFileSync(values.python, [join(here, 'make_families.py'), folder, ...positionals], {
      stdio: 'inherit',
    })
  const names = positionals.length > 0 ? positionals : readdirSync(folder).sort()
  const results: Result[] = []
  for (const name of names) {
    const result = await compare(join(folder, name), name)
    results.push(result)
    console.log(
      `${name}: ${result.outcome}${result.differences ? ` ${result.differences} ${result.cosines}` : ''}`,
    )
  }
  const file = join(here, 'table.md')
  const before = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const lost = results.filter(r => r.outcome !== 'equal' && before.includes(`| ${r.name} | equal |`))
  for (const { name, outcome, why } of lost)
    console.error(`${name} was equal and is ${outcome}: ${why ?? ''}`)
  const wrong = results.filter(({ outcome }) => outcome === 'different')
  if (positionals.length === 0) writeFileSync(file, tableOf(results))
  console.log(`${results.filter(({ outcome }) => outcome === 'equal').length} of ${results.length} are equal`)
  if (lost.length > 0 || wrong.length > 0) process.exitCode = 1
} finally {
  if (values.folder === undefined) rmSync(folder, { recursive: true, force: true })
}
