/**
 * Seeded damage to everything that the public API opens: a success or a ClipError, within a time and a memory bound.
 * A hundred cases of each, each target in a process of its own; `npm run fuzz` runs ten thousand.
 */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { patience } from '../helpers/patience.js'
import type { Report } from './run.js'
import { targets } from './targets.js'

const COUNT = 100
const script = join(packageRoot, 'dist/test/hostile/run.js')

for (const name of Object.keys(targets))
  test.serial(`opening a damaged ${name} gives a result or a ClipError within the bounds`, async t => {
    t.timeout(patience * 120_000)
    const { stdout, stderr, end } = await new Promise<{ stdout: string; stderr: string; end: unknown }>(
      resolve => {
        const options = { timeout: patience * 110_000, killSignal: 'SIGKILL' as const, maxBuffer: 1 << 26 }
        execFile(process.execPath, [script, name, String(COUNT)], options, (error, stdout, stderr) =>
          resolve({ stdout, stderr, end: error?.signal ?? error?.code ?? 0 }),
        )
      },
    )
    if (stdout === '') return t.fail(`ended with ${end}: ${stderr}`)
    const report = JSON.parse(stdout) as Report
    t.deepEqual(report.faults, [])
    t.is(end, 0, stderr)
    t.is(report.taken + report.refused, COUNT)
    t.true(report.taken > 0 && report.refused > 0, 'some are taken, some refused')
    if (report.measured) t.true(report.mostBytes > 0, 'growth is measured')
    t.log(
      `${report.taken} taken, ${report.refused} refused, the slowest ${report.slowestMs} ms, at most ${(report.mostBytes / 1e6).toFixed(1)} MB`,
    )
  })
