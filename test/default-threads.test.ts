/** How many threads are used by default: no more than the processors that this process may run on. */

import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { binding, packageRoot } from '../lib/binding.js'

const exec = promisify(execFile)

function taskset(): boolean {
  try {
    execFileSync('taskset', ['--version'])
    return process.platform === 'linux'
  } catch {
    return false
  }
}

test('a whole number of at least one', t => {
  const n = binding().defaultThreads()
  t.true(Number.isInteger(n) && n >= 1, String(n))
})

;(taskset() ? test : test.skip)('one processor in the affinity mask is one thread', async t => {
  const { stdout: mask } = await exec('taskset', ['-cp', String(process.pid)])
  const first = /: (\d+)/.exec(mask)![1]!
  const url = JSON.stringify(pathToFileURL(join(packageRoot, 'dist/lib/binding.js')).href)
  const script = `const { binding } = await import(${url}); console.log(binding().defaultThreads())`
  const { stdout } = await exec('taskset', [
    ...['-c', first, process.execPath, '--input-type=module', '-e', script],
  ])
  t.is(stdout.trim(), '1')
})
