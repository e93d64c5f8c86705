/** The benchmarks' own parts: what they compare must be the same thing on both sides. */

import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { summary } from '../bench/peers/summary.js'
import { packageRoot } from '../lib/base/package.js'
import { testEntries } from '../lib/native/test-entries.js'
import { entriesTest } from './helpers/entries-test.js'

const exec = promisify(execFile)
const url = (path: string) => JSON.stringify(pathToFileURL(join(packageRoot, 'dist', path)).href)

test('clip-native bench prints one JSON object a line', async t => {
  const { stdout } = await exec(process.execPath, [
    join(packageRoot, 'dist/lib/cli/main.js'),
    ...['bench', '--seconds', '0.01', '--threads', '1', '--json'],
  ])
  const [facts, ...figures] = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, number>)
  t.is(facts!.threads, 1)
  t.is(figures.length, 6)
  for (const f of figures)
    t.true(f.fastest! > 0 && f.fastest! <= f.median! && f.median! <= f.slowest!, JSON.stringify(f))
})

test("README's chart of speed is drawn from the run that it names", t => {
  const [file] = /bench\/results\/[\w-]+-summary\.svg/.exec(
    readFileSync(join(packageRoot, 'README.md'), 'utf8'),
  )!
  const run = readFileSync(join(packageRoot, file.replace('-summary.svg', '.jsonl')), 'utf8')
  t.is(readFileSync(join(packageRoot, file), 'utf8'), summary(run))
  t.throws(() => summary(run.split('\n')[0]!), { message: /has no row/ })
})

entriesTest(
  'the measurement of linear on packed weights returns the time of every run, within the measured peak',
  async t => {
    const { measure } = testEntries()
    const peak = await measure.peak({ dtype: 'float32' })
    const times = new Float32Array(20)
    const shape = { rows: 50, inFeatures: 768, outFeatures: 768 }
    const backend = await measure.linear({
      ...shape,
      dtype: 'float32',
      threads: 1,
      copies: 2,
      backend: undefined,
      times,
    })
    t.true(times.every(ms => ms > 0))
    if (backend === 'reference' || peak === 0) return
    const best = (2 * 50 * 768 * 768) / (Math.min(...times) / 1000)
    t.true(best < 1.1 * peak, `${best / 1e9} of ${peak / 1e9} G/s`)
  },
)

const peers = join(packageRoot, 'bench/peers/node_modules/onnxruntime-node')
const withPeers = existsSync(peers) ? test : test.skip

withPeers('the ONNX files give our embeddings (needs bench/peers installed)', async t => {
  const cache = await mkdtemp(join(tmpdir(), 'clip-native-onnx-'))
  t.teardown(() => rm(cache, { recursive: true, force: true }))
  // In a process of its own: onnxruntime's threads do not belong into the test's.
  const script = `
    import { createRequire } from 'node:module'
    const { load } = await import(${url('lib/index.js')})
    const { randomModel } = await import(${url('bench/random-model.js')})
    const { onnxFile } = await import(${url('bench/peers/onnx-clip.js')})
    const { leastCosine } = await import(${url('bench/peers/arena.js')})
    const ort = createRequire(${JSON.stringify(peers)})('onnxruntime-node')
    const tower = { width: 64, layers: 2, heads: 2, mlp: 256 }
    const out = {}
    for (const activation of ['quickGelu', 'gelu']) {
      const folder = await randomModel({ name: 'tiny ' + activation, embedDim: 32, activation,
        image: { ...tower, size: 48, patch: 16 }, text: { ...tower, context: 77, vocab: 49408 } })
      const clip = await load(folder)
      const data = Float32Array.from({ length: 2 * 3 * 48 * 48 }, (_, i) => Math.sin(i * i))
      const texts = ['a dog', 'two cats on a red sofa']
      const { ids, shape } = await clip.tokenize(texts)
      const ours = { vision: await clip.encodeImage({ data, shape: [2, 3, 48, 48] }), text: await clip.encodeText(texts) }
      for (const dtype of ['float32', 'int8'])
        for (const tower of ['vision', 'text']) {
          const session = await ort.InferenceSession.create(await onnxFile(folder, tower, dtype))
          const feeds = tower === 'vision'
            ? { pixel_values: new ort.Tensor('float32', data, [2, 3, 48, 48]) }
            : { input_ids: new ort.Tensor('int64', BigInt64Array.from(ids, BigInt), shape) }
          const [result] = Object.values(await session.run(feeds))
          out[activation + ' ' + tower + ' ' + dtype] = leastCosine([...ours[tower].data], [...result.data], 2)
        }
    }
    console.log(JSON.stringify(out))`
  const { stdout } = await exec(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, CLIP_NATIVE_BENCH_CACHE: cache },
  })
  const cosines = JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, number>
  t.is(Object.keys(cosines).length, 8)
  for (const [what, cosine] of Object.entries(cosines))
    t.true(cosine >= (what.endsWith('int8') ? 0.99 : 0.999999), `${what}: ${cosine}`)
})
