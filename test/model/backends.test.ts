/**
 * The embedded model on every backend of this machine: against PyTorch, against the reference backend, and against
 * itself in other batches, threads and company.
 */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { devices } from '../../lib/index.js'
import { distance, floats, length, readGolden, rowsOf } from './golden.js'
import type { WholeModel } from './whole-model.js'

const golden = readGolden()
const script = join(packageRoot, 'dist', 'test', 'model', 'whole-model.js')

/** DESIGN.md, section 4: the float32 path against PyTorch's float32. */
const COSINE = 0.999999
const MAX_ABS = 1e-5

async function runOn(backend: string): Promise<WholeModel> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [script, backend === 'reference' ? 'reference' : 'auto'],
    {
      env: { ...process.env, CLIP_NATIVE_BACKEND: backend, CLIP_NATIVE_CPU_FEATURES: '' },
      maxBuffer: 1 << 28,
    },
  )
  return JSON.parse(stdout)
}

const running = new Map<string, Promise<WholeModel>>()
/** One child process per backend, one after the other: they share the cores. */
let last: Promise<unknown> = Promise.resolve()
function on(backend: string): Promise<WholeModel> {
  let result = running.get(backend)
  if (!result) {
    result = last.then(() => runOn(backend))
    last = result.catch(() => {})
    running.set(backend, result)
  }
  return result
}

const backends = devices()
  .filter(device => device.name !== 'cuda')
  .flatMap(device => device.backends)
const names = [...new Set(backends.filter(b => b.available && b.dtypes.includes('float32')).map(b => b.name))]

test('the reference backend is always available', t => {
  t.true(names.includes('reference'))
})

for (const name of names) {
  test(`the backend ${name} runs if it is chosen`, async t => {
    t.is((await on(name)).backend.split('+')[0], name)
  })

  test(`embeddings of images and texts agree with PyTorch on ${name}`, async t => {
    const { images, texts } = await on(name)
    t.is(images.length, golden.images.length)
    t.is(texts.length, golden.texts.length)
    let worst = 0
    const check = (what: string, got: ArrayLike<number>, want: ArrayLike<number>) => {
      const { cosine, maxAbs } = distance(got, want)
      t.true(cosine >= COSINE, `${what}: cosine ${cosine}`)
      t.true(maxAbs <= MAX_ABS, `${what}: differs by ${maxAbs}`)
      t.true(Math.abs(length(got) / length(want) - 1) <= MAX_ABS, `${what}: length`)
      worst = Math.max(worst, maxAbs)
    }
    const entries = [
      ...golden.images.map((want, i) => ({ what: want.file, want, got: images[i]! })),
      ...golden.texts.map((want, i) => ({ what: JSON.stringify(want.text), want, got: texts[i]! })),
    ]
    for (const { what, want, got } of entries) {
      check(`${what} embedding`, floats(got.embedding), floats(want.embedding))
      check(`${what} pooled`, floats(got.pooled), floats(want.pooled))
      const unit = floats(got.normalised)
      t.true(Math.abs(length(unit) - 1) <= 1e-6, `${what}: normalized to ${length(unit)}`)
      t.true(distance(unit, floats(want.embedding)).maxAbs <= MAX_ABS, `${what}: normalized`)
      if (!want.tokens) continue
      const width = floats(want.pooled).length
      const gotRows = rowsOf(floats(got.tokens), width)
      const wantRows = rowsOf(floats(want.tokens), width)
      t.is(gotRows.length, wantRows.length, `${what}: tokens`)
      for (const [j, row] of wantRows.entries()) check(`${what} token ${j}`, gotRows[j]!, row)
    }
    t.log(`largest difference of a normalized row: ${worst.toExponential(2)}`)
  })

  test(`the pooled row equals the token's row bit for bit on ${name}`, async t => {
    const { images, texts } = await on(name)
    images.forEach(({ pooled, tokens }, i) => {
      const row = floats(pooled)
      t.deepEqual(floats(tokens).subarray(0, row.length), row, golden.images[i]!.file)
    })
    texts.forEach(({ pooled, tokens }, i) => {
      const row = floats(pooled)
      t.deepEqual(floats(tokens).subarray(-row.length), row, golden.texts[i]!.text)
    })
  })

  test(`bytes do not depend on batches, threads, coalescing or preprocessing on ${name}`, async t => {
    const { images, texts, again } = await on(name)
    for (const [how, other] of Object.entries(again)) {
      t.deepEqual(
        other.images,
        images.slice(0, 10).map(image => image.normalised),
        `images ${how}`,
      )
      t.deepEqual(
        other.texts,
        texts.slice(0, 10).map(text => text.normalised),
        `texts ${how}`,
      )
    }
    t.is(Object.keys(again).length, 6)
  })

  if (name !== 'reference')
    test(`results agree with the reference on ${name}`, async t => {
      const here = await on(name)
      const there = await on('reference')
      for (const side of ['images', 'texts'] as const)
        for (const [i, entry] of here[side].entries()) {
          const { cosine, maxAbs } = distance(floats(entry.embedding), floats(there[side][i]!.embedding))
          t.true(cosine >= COSINE && maxAbs <= MAX_ABS, `${side} ${i}: ${cosine}, ${maxAbs}`)
        }
    })
}
