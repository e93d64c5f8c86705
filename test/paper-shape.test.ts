/** docs/paper-shape.md: two runs of its command give the same bytes, whatever the number of threads; its words fit its tables. */

import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { cardFigures } from '../bench/paper-shape/card.js'
import { packageRoot } from '../lib/base/package.js'
import { nightly } from './helpers/nightly.js'
import { patience } from './helpers/patience.js'

const folder = await mkdtemp(join(tmpdir(), 'clip-paper-'))
test.after.always(() => rm(folder, { recursive: true, force: true }))

/** One of its six data sets: the whole takes a minute. */
async function run(name: string, threads: number): Promise<Map<string, string>> {
  const out = join(folder, name)
  const script = join(packageRoot, 'dist/bench/paper-shape/main.js')
  const args = ['--out', out, '--only', 'fewshot', '--threads', String(threads)]
  await promisify(execFile)(process.execPath, [script, ...args])
  const files = new Map<string, string>()
  for (const entry of await readdir(out, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) files.set(entry.name, await readFile(join(entry.parentPath, entry.name), 'utf8'))
  return files
}

nightly('two runs give the same page byte for byte', async t => {
  t.timeout(patience * 180_000)
  const [one, two] = [await run('one', 1), await run('two', 2)]
  t.deepEqual([...one.keys()].sort(), [
    'ensemble-gain.svg',
    ...[1, 2, 3, 4, 5].map(n => `fewshot-${n}.png`),
    'paper-shape.md',
    'prompt-gain.svg',
    'shots-fewshot.svg',
  ])
  t.deepEqual(two, one)
  t.regex(one.get('paper-shape.md')!, /185 of the 185 have palettes/)
})

test("the page states how far its figures are from those of the model's card", async t => {
  const page = await readFile(join(packageRoot, 'docs/paper-shape.md'), 'utf8')
  const card = await cardFigures()
  const number = String.raw` ([\d.]+) \|`
  const rows = [
    ...page.matchAll(new RegExp(String.raw`^\| ([\w-]+) \| \`[^\`]+\` \|${number}${number}${number}`, 'gm')),
  ]
  t.deepEqual(
    rows.map(([, name]) => name),
    ['noto', 'lucide', 'flat-color-icons', 'fewshot', 'styles', 'digits'],
  )
  let most = 0
  for (const [, name, bare, prompt, ensemble] of rows) {
    const written = card.get(name!)!
    if (name === 'digits') {
      // Without palettes, so the same images: the same figures.
      t.deepEqual({ bare: Number(bare), prompt: Number(prompt), ensemble: Number(ensemble) }, written)
    } else
      most = Math.max(
        most,
        Math.abs(Number(bare) - written.bare),
        Math.abs(Number(prompt) - written.prompt),
        Math.abs(Number(ensemble) - written.ensemble),
      )
  }
  t.is(/differ by up to ([\d.]+) points/.exec(page)?.[1], most.toFixed(1))
})
