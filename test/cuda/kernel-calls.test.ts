/**
 * Single kernels on the backend 'cuda', their arrays copied to the device and back, through the stand-in for NVIDIA's
 * driver: the tests of test/kernels run again in a process of their own, as they run on a machine with a GPU.
 */

import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { all, missing, sanitize } from './program.js'
import { buildStandIn } from './stand-in.js'

const ava = join(packageRoot, 'node_modules', 'ava', 'entrypoints', 'cli.mjs')
const work = mkdtempSync(join(tmpdir(), 'clip-native-kernel-calls-'))
test.after.always(() => rmSync(work, { recursive: true, force: true }))

/** Files of test/kernels, and at least how many of their tests run on the stand-in. */
const quick: [file: string, tests: number][] = [
  ['golden', 16],
  ['layer-norm', 22],
  ['rows', 27],
  ['softmax-cross-entropy', 18],
]
const long: [file: string, tests: number][] = [
  ['attention', 115],
  ['attention-bfloat16', 110],
  ['attention-tree', 30],
  ['conv', 40],
  ['cosine', 30],
  ['cosine-dtypes', 10],
  ['dtypes', 60],
  ['info-nce', 10],
  ['linear', 40],
]

const lacking =
  missing ?? (process.arch !== 'x64' ? 'needs x64' : sanitize ? 'left to the plain build' : undefined)
if (lacking) {
  test.skip(`tests of kernels on the stand-in driver are skipped (${lacking})`, () => {})
} else {
  let standIn = ''
  test.before('the stand-in for the driver can be built', async t => {
    t.timeout(30 * 60_000)
    standIn = await buildStandIn()
  })
  for (const [file, least] of all ? [...quick, ...long] : quick)
    test.serial(`test/kernels/${file} passes on the backend cuda`, async t => {
      t.timeout(60 * 60_000)
      const report = join(work, file)
      writeFileSync(report, '')
      const { CLIP_NATIVE_BACKEND: _, CLIP_NATIVE_CPU_FEATURES: __, ...rest } = process.env
      const env = { ...rest, CLIP_NATIVE_LIBCUDA: standIn, CLIP_STANDIN_REPORT: report }
      const args = [
        ava,
        '--tap',
        '--timeout=60m',
        '--match=* on cuda: *',
        `dist/test/kernels/${file}.test.js`,
      ]
      const { failed, output } = await new Promise<{ failed: boolean; output: string }>(resolve => {
        execFile(
          process.execPath,
          args,
          { cwd: packageRoot, env, maxBuffer: 1 << 26 },
          (error, stdout, stderr) => resolve({ failed: error !== null, output: stdout + stderr }),
        )
      })
      const lines = output.split('\n')
      t.deepEqual(
        lines.filter(line => /^ *not ok/.test(line)),
        [],
      )
      t.false(failed, output.slice(-2000))
      const ran = lines.filter(line => /^ *ok(?!.*# SKIP)/.test(line)).length
      t.true(ran >= least, `${ran} tests`)
      t.is(readFileSync(report, 'utf8'), '', 'misuse of the driver, and leaks')
    })
}
