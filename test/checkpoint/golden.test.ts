/** Checkpoints of every family, written by the original libraries: their embeddings, on every backend of this machine. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { binding } from '../../lib/native/addon.js'
import type { GoldenEmbeddings } from './embed-goldens.js'
import { goldens } from './goldens.js'

const script = join(packageRoot, 'dist/test/checkpoint/embed-goldens.js')

function closeTo(t: ExecutionContext, what: string, actual: number[], rows: number[][]): void {
  const dim = rows[0].length
  t.is(actual.length, rows.length * dim, `${what}: floats`)
  rows.forEach((expected, r) => {
    const row = actual.slice(r * dim, (r + 1) * dim)
    const norm = (v: ArrayLike<number>) => Math.sqrt(Array.from(v).reduce((s, x) => s + x * x, 0))
    const scale = norm(expected)
    let worst = 0
    let dot = 0
    for (let i = 0; i < dim; ++i) {
      // Differences of the normalized embeddings; written so that NaN and null fail.
      const difference = typeof row[i] === 'number' ? Math.abs(row[i] / norm(row) - expected[i] / scale) : NaN
      if (!(difference <= worst)) worst = difference
      dot += row[i] * expected[i]
    }
    t.true(worst <= 1e-5, `${what} ${r}: largest difference ${worst}`)
    t.true(dot / (scale * norm(row)) >= 0.999999, `${what} ${r}: cosine ${dot / (scale * norm(row))}`)
    t.true(Math.abs(norm(row) / scale - 1) <= 1e-5, `${what} ${r}: length ${norm(row)}, expected ${scale}`)
  })
}

const backends = binding()
  .backends()
  .filter(backend => backend.available && backend.device !== 'cuda')
  .map(backend => backend.name)

test('the reference backend is available, and there are golden values of every family', t => {
  t.true(backends.includes('reference'))
  const names = Object.keys(goldens).join()
  for (const family of [
    'hf-4',
    'hf-5',
    'openai-vit',
    'openai-resnet',
    'openclip-80',
    'openclip-resnet',
    'openclip-clipa',
  ])
    t.true(names.includes(family), family)
})

for (const backend of backends) {
  const all: Promise<Record<string, GoldenEmbeddings>> = promisify(execFile)(
    process.execPath,
    [script, backend === 'reference' ? 'reference' : 'auto'],
    {
      env: { ...process.env, CLIP_NATIVE_BACKEND: backend, CLIP_NATIVE_CPU_FEATURES: '' },
      maxBuffer: 1 << 26,
    },
  ).then(({ stdout }) => JSON.parse(stdout))
  all.catch(() => {}) // each test rejects with it
  for (const [name, golden] of Object.entries(goldens))
    test(`${name} gives the embeddings of ${golden.madeBy} on ${backend}`, async t => {
      const actual = (await all)[name]
      t.is(actual.backend.split('+')[0], backend)
      t.true(Math.abs(actual.logitScale / Math.exp(2.75) - 1) < 1e-6)
      t.is(actual.imageSize, golden.imageSize)
      closeTo(t, 'image', actual.image, golden.image)
      closeTo(t, 'text', actual.text, golden.text)
    })
}
