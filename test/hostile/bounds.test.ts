/** Files made to grow stay within twice their size and 64 MB, and end in seconds; each in a process of its own. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { patience } from '../helpers/patience.js'
import { boundNames, type Growth } from './bounds.js'

const script = join(packageRoot, 'dist/test/hostile/bounds.js')

for (const name of boundNames)
  test.serial(`opening stays within the bounds of memory and time: ${name}`, async t => {
    t.timeout(patience * 90_000)
    const { stdout, stderr, end } = await new Promise<{ stdout: string; stderr: string; end: unknown }>(
      resolve => {
        const options = { timeout: patience * 80_000, killSignal: 'SIGKILL' as const }
        execFile(process.execPath, ['--expose-gc', script, name], options, (error, stdout, stderr) =>
          resolve({ stdout, stderr, end: error?.signal ?? error?.code ?? 0 }),
        )
      },
    )
    t.is(end, 0, stderr)
    const growth = JSON.parse(stdout) as Growth
    const bound = 2 * growth.fileBytes + (64 << 20)
    t.log(
      `${(growth.fileBytes / 1e6).toFixed(1)} MB grew by ${Math.round(growth.grownBytes / 1e6)} of ${Math.round(bound / 1e6)} MB in ${growth.ms} ms: ${growth.end.slice(0, 200)}`,
    )
    t.true(growth.grownBytes <= bound, `grew by ${growth.grownBytes}, more than ${bound}`)
    t.true(growth.ms < patience * 20_000, `took ${growth.ms} ms`)
    t.regex(growth.end, /^(ERR_CLIP_(CHECKPOINT|CONFIG) |loaded$)/)
  })
