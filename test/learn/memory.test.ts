/** Memory of learning and measuring grows with the images, never with pairs of them. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../../lib/base/package.js'
import { nightly } from '../helpers/nightly.js'

interface Growth {
  measured: boolean
  grownBytes: number
  inputBytes: number
}

async function growthOf(...args: (string | number)[]): Promise<Growth> {
  const script = join(packageRoot, 'dist/test/learn/memory-growth.js')
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script, ...args.map(String)])
  return JSON.parse(stdout)
}

const rest = 48 * 2 ** 20 // garbage not yet collected, code, threads' scratch

nightly(
  'a linear probe needs memory for two and a half times its features and two matrices of logits',
  async t => {
    const [rows, width, classes] = [50_000, 512, 100]
    const { measured, grownBytes, inputBytes } = await growthOf('probe', rows, width, classes)
    t.log(`${rows} x ${width}, ${classes} classes: ${(grownBytes / 1e6).toFixed(0)} MB`)
    if (measured) t.true(grownBytes < 2.5 * inputBytes + 8 * rows * classes + rest)
  },
)

nightly('retrieval needs memory for the embeddings of both sides only', async t => {
  const { measured, grownBytes, inputBytes } = await growthOf('retrieval', 10_000, 512, 10)
  t.log(`10 000 pairs of 512: ${(grownBytes / 1e6).toFixed(0)} MB`)
  // A matrix of all with all would be 400 MB.
  if (measured) t.true(grownBytes < inputBytes + rest)
})

nightly(
  'the search for alpha and beta of a Tip-Adapter does not keep the products of all pairs in memory',
  async t => {
    const { measured, grownBytes } = await growthOf('tip', 6000, 0, 10)
    t.log(`6000 examples, 6000 held out: ${(grownBytes / 1e6).toFixed(0)} MB`)
    // A matrix of all with all would be 144 MB.
    if (measured) t.true(grownBytes < rest + 50e6)
  },
)
