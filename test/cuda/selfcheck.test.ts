/** What `clip-native gpu-selfcheck` writes, and its comparison with onnxruntime-node where that is and where it is not. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { Graph } from '../../bench/peers/onnx-file.js'
import { packageRoot } from '../../lib/base/package.js'
import { report } from '../../lib/cli/gpu/command.js'
import { compareWithOnnxRuntime } from '../../lib/cli/gpu/onnxruntime.js'
import { gpuOf, leastMicroseconds } from '../../lib/cli/gpu/roofline.js'
import type { SelfCheck } from '../../lib/cli/gpu/selfcheck.js'
import type { Clip } from '../../lib/clip.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

const work = mkdtempSync(join(tmpdir(), 'clip-native-selfcheck-'))
test.after.always(() => rmSync(work, { recursive: true, force: true }))

const kernel = {
  kernel: 'clip_a',
  shape: '3200 x 768',
  flops: 2e9,
  bytes: 1e8,
  tensor: true,
  microseconds: 60,
}
const result: SelfCheck = {
  version: '0.1.0',
  node: '22.0.0',
  platform: 'linux-x64',
  cpu: '2 x some processor',
  date: '2026-01-01T00:00:00.000Z',
  device: {
    name: 'NVIDIA H100 80GB HBM3',
    fingerprint: 'abc',
    image: 'sm_90',
    driver: 13000,
    capability: 90,
    memory: 80 * 2 ** 30,
  },
  model: 'icon-clip (embedded)',
  kernels: [
    { kernel: 'clip_a', difference: '' },
    { kernel: 'clip_b', difference: '' },
  ],
  towers: [{ tower: 'image', dtype: 'bfloat16', distance: 1e-3, bound: 1e-2, sameBytes: true, ok: true }],
  timings: [{ what: 'texts', dtype: 'float16', items: 8, median: 2, fastest: 1.9, runs: 10 }],
  gpu: gpuOf('NVIDIA H100 80GB HBM3')!,
  kernelTimings: [kernel, { ...kernel, kernel: 'clip_b', flops: 0, tensor: false }],
  onnxRuntime: {
    version: '1.30.0',
    timings: [{ what: 'images', items: 8, ours: 2, theirs: 3, distance: 1e-3 }],
  },
  ok: true,
}

test('the report has every section', t => {
  const text = report(result)
  t.deepEqual(
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title),
    [
      'clip-native 0.1.0: GPU self-check',
      'Kernels',
      'Towers',
      'Timings',
      'Timings of kernels',
      'Comparison with onnxruntime-node',
    ],
  )
  t.regex(text, /Everything agrees/)
  t.regex(text, /2 of 2 agree with the reference/)
  // 1e8 bytes in 60 us; at 3.35 TB/s they take 29.9 us.
  t.true(text.includes('| clip_a | 3200 x 768 | 60.0 | 1.67e+3 | 33.3 | 50 % |'), text)
  t.true(text.includes('| clip_b | 3200 x 768 | 60.0 | 1.67e+3 |  | 50 % |'))
  t.true(text.includes('| images | 8 | 2.00 | 3.00 | 1.50 | 1.0e-3 |'))
})

test('the report names a kernel that differs, and what was left out', t => {
  const text = report({
    ...result,
    kernels: [result.kernels[0]!, { kernel: 'clip_b', difference: 'row 0, column 1: 2 | 3' }],
    towers: [],
    timings: [],
    kernelTimings: [],
    onnxRuntime: { missing: 'a kernel differs', timings: [] },
    ok: false,
  })
  t.regex(text, /\*\*Something differs from the reference\.\*\*/)
  t.regex(text, /1 of 2 agree/)
  t.true(text.includes('| clip_b | row 0, column 1: 2 \\| 3 |'))
  t.regex(text, /Not compared: a kernel differs\./)
})

test('a GPU whose rates are unknown has no column of shares', t => {
  t.is(gpuOf('NVIDIA H100 PCIe'), undefined)
  const { gpu: _, ...other } = result
  const text = report(other)
  t.regex(text, /not in cuda\/gpus\.json/)
  t.true(text.includes('| clip_a | 3200 x 768 | 60.0 | 1.67e+3 | 33.3 |  |'))
  // Arithmetic is what limits here: 2 TFLOP at 989.4 TFLOPS.
  t.true(Math.abs(leastMicroseconds(result.gpu!, { flops: 2e12, bytes: 1, tensor: true }) - 2021.4) < 0.1)
})

/** What is asked of a model here: rows that no two calls have in common, on images of 4 x 4 and texts. */
const embeddings = (n: number) => Float32Array.from({ length: n * 4 }, (_, i) => Math.cos(i * 1.3) + 2)
const clip = {
  info: { towers: ['image', 'text'], imageSize: 4 },
  encodeImage: async ({ shape }: { shape: number[] }) => ({ data: embeddings(shape[0]!) }),
  encodeText: async (texts: string[]) => ({ data: embeddings(texts.length) }),
  tokenize: async (texts: string[]) => ({
    ids: new Int32Array(texts.length * 8).map((_, i) => i % 8),
    shape: [texts.length, 8],
    lengths: new Int32Array(texts.length).fill(5),
  }),
} as unknown as Clip

const onnx = join(work, 'onnx')
mkdirSync(onnx)
for (const tower of ['vision', 'text']) writeFileSync(join(onnx, `${tower}_model-v1.onnx`), '')

/** A folder with an onnxruntime-node of which `create` is the one that is given. */
function installed(name: string, create: string): string {
  const folder = join(work, name)
  const module = join(folder, 'node_modules', 'onnxruntime-node')
  mkdirSync(module, { recursive: true })
  writeFileSync(
    join(module, 'package.json'),
    JSON.stringify({ name: 'onnxruntime-node', version: '9.8.7', main: 'index.js' }),
  )
  writeFileSync(
    join(module, 'index.js'),
    `exports.Tensor = class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }) } }
exports.InferenceSession = { async create(file, options) { ${create} } }`,
  )
  return folder
}

test('the comparison reports that onnxruntime-node is not installed', async t => {
  const found = await compareWithOnnxRuntime(clip, onnx, [1], 0, [work])
  t.deepEqual(found, { missing: 'onnxruntime-node is not installed', timings: [] })
})

test('the comparison reports that onnxruntime-node can not be loaded', async t => {
  const folder = installed('broken', '')
  writeFileSync(join(folder, 'node_modules/onnxruntime-node/index.js'), "throw new Error('no such library')")
  const found = await compareWithOnnxRuntime(clip, onnx, [1], 0, [folder])
  t.deepEqual(found, { missing: "onnxruntime-node can't be loaded: no such library", timings: [] })
})

test('the comparison reports that ONNX files or the CUDA provider of onnxruntime-node are missing', async t => {
  const folder = installed('cpu', "throw new Error('no available backend found.\\nmore')")
  const version = '9.8.7'
  t.deepEqual(await compareWithOnnxRuntime(clip, undefined, [1], 0, [folder]), {
    version,
    missing: 'no ONNX files were given (--onnx)',
    timings: [],
  })
  t.deepEqual(await compareWithOnnxRuntime(clip, work, [1], 0, [folder]), {
    version,
    missing: `${work} has no vision_model.onnx`,
    timings: [],
  })
  t.deepEqual(await compareWithOnnxRuntime(clip, onnx, [1], 0, [folder]), {
    version,
    missing: 'onnxruntime-node has no CUDA provider here: no available backend found.',
    timings: [],
  })
})

test('onnxruntime-node with a CUDA provider is timed and compared, tower by tower', async t => {
  const asked = join(work, 'asked')
  const folder = installed(
    'cuda',
    `const image = file.includes('vision')
if (options.executionProviders.join() !== 'cuda') throw new Error('another provider')
return {
  inputNames: image ? ['pixel_values'] : ['input_ids', 'attention_mask'],
  outputNames: ['pooler_output', image ? 'image_embeds' : 'text_embeds'],
  async run(feeds) {
    const { dims, data } = image ? feeds.pixel_values : feeds.input_ids
    if (data.length !== dims.reduce((a, b) => a * b)) throw new Error('the shape')
    if (!image && (dims[1] !== 5 || feeds.attention_mask.data.some(v => v !== 1n))) throw new Error('the mask')
    // Another length and, in the first number, another direction.
    const rows = Float32Array.from({ length: dims[0] * 4 }, (_, i) => 3 * (Math.cos(i * 1.3) + 2))
    if (!image) rows[0] = NaN
    return { pooler_output: { data: new Float32Array(1) }, [image ? 'image_embeds' : 'text_embeds']: { data: rows } }
  },
  async release() { require('node:fs').appendFileSync(${JSON.stringify(asked)}, 'released ') },
}`,
  )
  const { version, missing, timings } = await compareWithOnnxRuntime(clip, onnx, [1, 3], 0, [work, folder])
  t.is(version, '9.8.7')
  t.is(missing, undefined)
  t.deepEqual(
    timings.map(({ what, items }) => `${what} ${items}`),
    ['images 1', 'images 3', 'texts of up to 5 tokens 1', 'texts of up to 5 tokens 3'],
  )
  for (const { ours, theirs } of timings) t.true(ours >= 0 && theirs >= 0 && theirs < 1e4)
  for (const { distance } of timings.slice(0, 2)) t.true(distance < 1e-6)
  for (const { distance } of timings.slice(2)) t.true(Number.isNaN(distance))
  t.true(existsSync(asked))
})

const peers = join(packageRoot, 'bench', 'peers')
const real = existsSync(join(peers, 'node_modules/onnxruntime-node'))
;(real ? test : test.skip)('the real onnxruntime-node without its CUDA provider says so', async t => {
  const files = join(work, 'real')
  mkdirSync(files)
  const graph = new Graph()
  const x = graph.input('pixel_values', 'float32', ['batch', 3, 4, 4])
  graph.output(graph.node('Relu', [x], {}, 'image_embeds'), 'float32', ['batch', 3, 4, 4])
  await graph.write(join(files, 'vision_model.onnx'))
  const { version, missing, timings } = await compareWithOnnxRuntime(clip, files, [1], 0, [peers])
  t.regex(version!, /^\d+\.\d+\.\d+$/)
  t.regex(missing!, /has no CUDA provider here: /)
  t.deepEqual(timings, [])
  t.log(missing)
})

test('properties that a weight file lacks are given by the usual options, and checked before the GPU is opened', async t => {
  const model = await writeTinyModel(join(work, 'model'), { layers: 1, contextLength: 16 })
  const cli = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
  for (const [flag, value, code, said] of [
    ['--heads', '3', 1, /heads .*but the option --heads says 3/],
    ['--activation', 'relu', 2, /--activation.* to be 'gelu', 'quickGelu' or 'geluTanh', got/],
    ['--state-dict', 'ema', 1, /has no CLIP model at "ema", which the option --state-dict names/],
  ] as const) {
    const args = [cli, 'gpu-selfcheck', '--model', model, '--out', join(work, 'none.md'), flag, value]
    const failure = await t.throwsAsync<Error & { code: number; stderr: string }>(
      promisify(execFile)(process.execPath, args),
    )
    t.is(failure.code, code, flag)
    t.regex(failure.stderr, said)
  }
  t.false(existsSync(join(work, 'none.md')))
})
