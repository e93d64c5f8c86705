/**
 * The entries that a table takes where the CPU lacks AMX, VNNI, dot products or BF16, and 256-bit VNNI: native code reads
 * CLIP_NATIVE_CPU_FEATURES from the process, so these tests run again in processes of their own.
 */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { binding } from '../../lib/native/addon.js'
import { child, lib } from '../helpers/child.js'

const ava = join(packageRoot, 'node_modules', 'ava', 'entrypoints', 'cli.mjs')

const active = async (env: NodeJS.ProcessEnv): Promise<string> => {
  const script = `import { binding } from ${JSON.stringify(lib('native/addon'))}; console.log(binding().active())`
  const { end, stdout, stderr } = await child(script, { env })
  if (end !== 0) throw new Error(stderr)
  return stdout
}

const plain = { CLIP_NATIVE_BACKEND: '', CLIP_NATIVE_CPU_FEATURES: '' }
const backends = binding().backends()
/** What takes a feature's place where it is taken away. */
const instead: Record<string, string> = { i8mm: 'dotprod' }
/** What goes with a feature that is taken away. */
const besides: Record<string, string[]> = { vnni: ['amx'], bf16: ['amx'] }
/** Sets of features to do without; without the last, no entry of a table is replaced. */
const removals =
  process.arch === 'arm64'
    ? ['-i8mm', '-i8mm,-dotprod', '-bf16', '-i8mm,-dotprod,-bf16']
    : [...(binding().active().includes('+amx') ? ['-amx'] : []), '-vnni', '-bf16', '-vnni,-bf16']

for (const { name, available } of backends.filter(b => b.device === 'cpu')) {
  const title = `${name}: features can be taken away`
  if (!available) {
    test.skip(`${title}: not on this machine`, () => {})
    continue
  }
  test(title, async t => {
    const force = { ...plain, CLIP_NATIVE_BACKEND: name }
    const whole = await active(force)
    const [base, ...features] = whole.split('+')
    t.is(base, name)
    t.log(whole)
    for (const feature of features) {
      const rest = features.filter(f => f !== feature)
      const left = (await active({ ...force, CLIP_NATIVE_CPU_FEATURES: `-${feature}` })).split('+').slice(1)
      t.deepEqual(
        left.filter(f => f !== instead[feature]),
        rest.filter(f => !besides[feature]?.includes(f)),
      )
    }
    t.is(await active({ ...force, CLIP_NATIVE_CPU_FEATURES: removals.at(-1)! }), name)
  })
}

// One set at a time: they share the cores.
for (const removed of removals)
  test.serial(`the tests of bfloat16 and int8 pass with CLIP_NATIVE_CPU_FEATURES=${removed}`, async t => {
    const env = { ...process.env, ...plain, CLIP_NATIVE_CPU_FEATURES: removed }
    const { failed, output } = await new Promise<{ failed: boolean; output: string }>(resolve => {
      const files = ['dtypes', 'conv', 'attention-bfloat16', 'attention-tree'].map(
        name => `dist/test/kernels/${name}.test.js`,
      )
      const args = [ava, '--tap', ...files]
      execFile(
        process.execPath,
        args,
        { cwd: packageRoot, env, maxBuffer: 1 << 26 },
        (error, stdout, stderr) => resolve({ failed: error !== null, output: stdout + stderr }),
      )
    })
    const wrong = output.split('\n').filter(line => /^ *not ok/.test(line))
    t.deepEqual(wrong, [])
    t.false(failed, output.slice(-2000))
    const ran = output.split('\n').filter(line => /^ *ok/.test(line)).length
    t.true(ran > 100, `${ran} tests`)
  })
