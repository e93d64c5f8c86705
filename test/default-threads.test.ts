/** How many threads there are: no more than the processors that this process may use, however many models it has. */

import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { packageRoot } from '../lib/base/package.js'
import { load } from '../lib/index.js'
import { binding } from '../lib/native/addon.js'
import { red } from './api/helpers.js'

const exec = promisify(execFile)

function taskset(): boolean {
  try {
    execFileSync('taskset', ['--version'])
    return process.platform === 'linux'
  } catch {
    return false
  }
}

const url = JSON.stringify(pathToFileURL(join(packageRoot, 'dist/lib/native/addon.js')).href)
const script = `const { binding } = await import(${url}); console.log(binding().defaultThreads())`

/** A control group of half a processor, or why there can't be one. */
function halfAProcessor(): { folder: string } | { why: string } {
  const named = `clip-native-test-${process.pid}`
  const why: string[] = []
  for (const [root, limit] of [
    ['/sys/fs/cgroup', 'cpu.max'],
    ['/sys/fs/cgroup/cpu', 'cpu.cfs_quota_us'],
  ] as const) {
    if (!existsSync(root) || (limit === 'cpu.max' && !existsSync(join(root, 'cgroup.controllers')))) continue
    const folder = join(root, named)
    try {
      mkdirSync(folder)
      writeFileSync(join(folder, limit), limit === 'cpu.max' ? '50000 100000' : '50000')
      return { folder }
    } catch (error) {
      why.push((error as Error).message)
      if (existsSync(folder)) rmdirSync(folder)
    }
  }
  return { why: why.join('; ') || 'this system has no control groups' }
}
const group = halfAProcessor()

if ('why' in group) test.skip(`half a processor in the control group is one thread: ${group.why}`, () => {})
else {
  test('half a processor in the control group is one thread', async t => {
    const inGroup = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    const node = [process.execPath, '--input-type=module', '-e', script]
    const { stdout } = await exec('sh', ['-c', inGroup, group.folder, ...node])
    t.is(stdout.trim(), '1')
  })
  test.after.always(() => rmdirSync(group.folder))
}

;(process.platform === 'linux' ? test : test.skip)('four models share the threads of one', async t => {
  const threads = 3
  const alive = () => readdirSync('/proc/self/task').length
  const encode = async (clip: Awaited<ReturnType<typeof load>>) => {
    await Promise.all([clip.encodeImage([red, red]), clip.encodeText(['a dog', 'two cats'])])
  }
  const first = await load(undefined, { threads })
  await encode(first)
  const before = alive()
  const more = await Promise.all([
    load(undefined, { threads }),
    load(undefined, { threads: 1 }),
    load(undefined, { threads, dtype: 'int8' }),
  ])
  for (let i = 0; i < 3; i++) await Promise.all([first, ...more].map(encode))
  t.is(alive(), before)
  await Promise.all([first, ...more].map(clip => clip.dispose()))
})

test('the default number of threads is an integer of at least one', t => {
  const n = binding().defaultThreads()
  t.true(Number.isInteger(n) && n >= 1, String(n))
})

;(taskset() ? test : test.skip)('one processor in the affinity mask is one thread', async t => {
  const { stdout: mask } = await exec('taskset', ['-cp', String(process.pid)])
  const first = /: (\d+)/.exec(mask)![1]!
  const { stdout } = await exec('taskset', [
    ...['-c', first, process.execPath, '--input-type=module', '-e', script],
  ])
  t.is(stdout.trim(), '1')
})
