/** docs/paper-shape.md: two runs of its command give the same bytes, whatever the number of threads. */

import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { packageRoot } from '../lib/binding.js'
import { nightly } from './helpers/nightly.js'

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

nightly('two runs, byte for byte', async t => {
  t.timeout(180_000)
  const [one, two] = [await run('one', 1), await run('two', 2)]
  t.deepEqual([...one.keys()].sort(), [
    ...['ensemble-gain.svg', 'paper-shape.md', 'prompt-gain.svg', 'shots-fewshot.svg'],
  ])
  t.deepEqual(two, one)
  t.regex(one.get('paper-shape.md')!, /185 of the 185 have palettes/)
})
