/**
 * Memory of learning and measuring grows with the pictures, never with pairs of them. The third of memory-growth.js, the
 * search for alpha and beta of a Tip-Adapter, takes long at sizes that show: 71 MB at 5000 examples and 5000 held out.
 */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { packageRoot } from '../../lib/binding.js'

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

test.serial('a linear probe: two and a half times its features, and two matrices of logits', async t => {
  const [rows, width, classes] = [12_000, 512, 50]
  const { measured, grownBytes, inputBytes } = await growthOf('probe', rows, width, classes)
  t.log(`${rows} x ${width}, ${classes} classes: ${(grownBytes / 1e6).toFixed(0)} MB`)
  if (measured) t.true(grownBytes < 2.5 * inputBytes + 8 * rows * classes + rest)
})

test.serial('retrieval: the embeddings of both sides', async t => {
  const { measured, grownBytes, inputBytes } = await growthOf('retrieval', 6000, 256, 10)
  t.log(`6000 pairs of 256: ${(grownBytes / 1e6).toFixed(0)} MB`)
  // A matrix of all with all would be 144 MB.
  if (measured) t.true(grownBytes < inputBytes + rest)
})
