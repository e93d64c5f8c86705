/** Images of millions of pixels a side: the table of resize coefficients would be 16 to 80 times as large as they. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../../lib/base/package.js'
import { binding } from '../../lib/native/addon.js'
import { entriesTest as test } from '../helpers/entries-test.js'
import { patience } from '../helpers/patience.js'
import type { WideGrowth } from './wide-growth.js'

const script = join(packageRoot, 'dist/test/image/wide-growth.js')
const SIDE = 12_000_000

const cases: [mode: string, width: number, height: number, fit: string, grey: number][] = [
  ['L', SIDE, 1, 'squash', 77],
  ['L', 1, SIDE, 'longest', 77],
  ['RGB', 1, SIDE, 'squash', 77],
  ['RGBA', SIDE, 1, 'longest', 76], // through 77 * 77 / 255
  ['RGBA', 1, SIDE, 'squash', 76],
  ['I;16', SIDE, 1, 'squash', 255],
]
const backends = binding()
  .backends()
  .filter(backend => backend.available && backend.device !== 'cuda')
  .map(backend => backend.name)

for (const backend of backends)
  for (const [mode, width, height, fit, grey] of cases)
    test.serial(
      `preprocessing ${mode} ${width} x ${height} (${fit}) needs no more than 48 MB on ${backend}`,
      async t => {
        t.timeout(patience * 120_000)
        const { stdout } = await promisify(execFile)(process.execPath, [
          script,
          backend,
          mode,
          String(width),
          String(height),
          fit,
        ])
        const result = JSON.parse(stdout) as WideGrowth
        t.true(Math.abs(result.largest - grey) < 1e-3, `${result.largest}`)
        t.true(result.grownBytes <= 48e6, `grew by ${result.grownBytes}, more than 48 MB`)
      },
    )
