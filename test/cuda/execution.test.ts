/**
 * Models on `device: 'cuda'`, from TypeScript to the kernels, through the stand-in for NVIDIA's driver: what is computed,
 * which graphs are recorded, what becomes of failures. cuda/README.md says what this proves and what it does not.
 */

import { execFile } from 'node:child_process'
import { copyFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import type { Dtype } from '../../lib/base/dtypes.js'
import { packageRoot } from '../../lib/base/package.js'
import { roundingNoise } from '../../lib/cli/gpu/selfcheck.js'
import { embeddedModel } from '../../lib/hub/resolve-model.js'
import { type Clip, load } from '../../lib/index.js'
import { randomBytes } from '../helpers/random.js'
import { writeTinyModel } from '../helpers/tiny-model.js'
import { unpacked } from '../tokenizer/files.js'
import { all, missing, sanitize } from './program.js'
import { type Encoded, type Failure, labels, type Towers } from './scenarios.js'
import { buildStandIn } from './stand-in.js'

const script = join(packageRoot, 'dist', 'test', 'cuda', 'scenarios.js')
const work = mkdtempSync(join(tmpdir(), 'clip-native-cuda-'))
/** Where it is remembered that the kernels were checked. */
const cache = join(work, 'cache')
const tiny = join(work, 'tiny')
let standIn = ''

test.after.always(() => rmSync(work, { recursive: true, force: true }))

interface Outcome<T> {
  result: T
  /** Misuse of the driver and leaks, that the stand-in found. */
  report: string
  calls: string[]
}

let runs = 0
/** Runs a scenario in a process of its own. */
async function scenario<T>(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome<T>> {
  const [report, log] = [join(work, `report-${runs}`), join(work, `log-${runs++}`)]
  writeFileSync(report, '')
  writeFileSync(log, '')
  const { CLIP_NATIVE_BACKEND: _, CLIP_NATIVE_CPU_FEATURES: __, ...rest } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...args], {
    env: {
      ...rest,
      CLIP_NATIVE_LIBCUDA: standIn,
      CLIP_NATIVE_CACHE: cache,
      CLIP_STANDIN_REPORT: report,
      CLIP_STANDIN_LOG: log,
      ...env,
    },
    maxBuffer: 1 << 28,
    timeout: 20 * 60_000,
  })
  return {
    result: JSON.parse(stdout) as T,
    report: readFileSync(report, 'utf8'),
    calls: readFileSync(log, 'utf8').trim().split('\n'),
  }
}

/** Towers of almost no width with the embedded model's vocabulary, which is quick to read. */
async function writeSmallModel(
  folder: string,
  shape: { width?: number; heads?: number } = {},
): Promise<void> {
  await writeTinyModel(folder, { ...shape, vocabSize: 8194, contextLength: 32 })
  for (const name of ['vocab.json', 'merges.txt', 'tokenizer_config.json'])
    copyFileSync(join(embeddedModel, name), join(folder, name))
}

const rows = ({ shape, data }: Encoded): number[][] => {
  const width = data.length / shape[0]!
  return Array.from({ length: shape[0]! }, (_, i) => data.slice(i * width, (i + 1) * width))
}
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.sqrt(Array.from(a).reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0))
/** Terms of the longest sums of a model, where they are known. */
const termsOf = (model: string) => (model === tiny ? 4 * 16 : model === '' ? 4 * 192 : undefined)
/** Of the largest row, relative to it. */
const relative = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  distance(a, b) / distance(b, new Float32Array(b.length))

// A sanitizer's runtime would have to be in Node from the start.
/** The ops of one launch, from the list that their kernels are named by. */
const rowOps = /#define CLIP_ROW_OPS\(OP\)(.*?)\n#/s.exec(
  readFileSync(join(packageRoot, 'native/backend.h'), 'utf8'),
)![1]!
/** The names in the headers of cuda/, and of those ops. */
const everyKernel = new Set([
  ...readdirSync(join(packageRoot, 'cuda'))
    .filter(file => file.endsWith('.h'))
    .flatMap(file => readFileSync(join(packageRoot, 'cuda', file), 'utf8').match(/"clip_\w+"/g) ?? []),
  ...[...rowOps.matchAll(/OP\((\w+),/g)].map(
    ([, op]) => `"clip_${op!.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)}"`,
  ),
])

const lacking =
  missing ?? (process.arch !== 'x64' ? 'needs x64' : sanitize ? 'left to the plain build' : undefined)
if (lacking) {
  test.skip(`tests of models on the stand-in driver are skipped (${lacking})`, () => {})
} else {
  test.before('the stand-in for the driver can be built', async t => {
    t.timeout(30 * 60_000)
    standIn = await buildStandIn()
    await writeSmallModel(tiny)
  })

  test.serial(
    'loading the first model on a GPU checks every kernel, and loading the second does not',
    async t => {
      t.timeout(20 * 60_000)
      const first = await scenario<{ failure?: Failure; kernels: string[] }>(['loading', tiny])
      t.is(first.result.failure, undefined)
      t.true(first.result.kernels.includes('kernel clip_info_nce_loss'))
      t.is(new Set(first.result.kernels).size, everyKernel.size)
      t.is(first.report, '')
      t.is(readdirSync(join(cache, 'cuda')).length, 1)
      const second = await scenario<{ failure?: Failure; kernels: string[] }>(['loading', tiny])
      t.deepEqual([second.result.failure, second.result.kernels], [undefined, []])
      t.is(second.report, '')
    },
  )

  test.serial(
    'a kernel that computes wrong results is named, and no result of the check is stored',
    async t => {
      t.timeout(20 * 60_000)
      const own = join(work, 'other-cache')
      const { result, report } = await scenario<{ failure?: Failure }>(['loading', tiny], {
        CLIP_NATIVE_CACHE: own,
        CLIP_STANDIN_SKIP: 'clip_pool',
      })
      t.like(result.failure, { code: 'ERR_CLIP_CUDA', field: 'clip_pool' })
      t.regex(result.failure!.message, /kernel clip_pool differs from the reference: row 0, column/)
      t.is(report, '')
      t.throws(() => readdirSync(join(own, 'cuda')), { code: 'ENOENT' })
    },
  )

  /** Every batch against the reference, and the same bytes whatever was beside a row. */
  const checkTowers = async (
    t: import('ava').ExecutionContext,
    dtype: Dtype,
    model: string,
    batches: readonly number[],
    layers: number,
    brief = false,
    preprocessed = false,
  ) => {
    const { result, report } = await scenario<Towers>(['towers', dtype, model], {
      BATCHES: batches.join(),
      ...(brief ? { BRIEF: '1' } : {}),
      ...(preprocessed ? { PREPROCESSED: '1' } : {}),
    })
    t.is(report, '')
    t.is(result.backend, 'cuda')
    // The reference has no float16: its float32 is what that should be near.
    const same = dtype === 'float16' ? 'float32' : dtype
    await using clip: Clip = await load(model || undefined, {
      device: 'reference',
      dtype: same,
      towers: ['image'],
    })
    const side = clip.info.imageSize!
    const inputs = model
      ? Array.from({ length: 8 }, (_, i) => ({
          data: randomBytes(i + 1, side * side * 3),
          width: side,
          height: side,
          channels: 3 as const,
        }))
      : readdirSync(join(embeddedModel, 'examples'))
          .filter(name => name.endsWith('.png'))
          .sort()
          .map(name => join(embeddedModel, 'examples', name))
    const most = Math.max(...batches)
    const images = Array.from(await clip.encodeImage(inputs.slice(0, most)))
    const bound = roundingNoise(dtype as 'float32', layers, termsOf(model))
    let worst = 0
    const alone = rows(Object.values(result.images)[0]!)[0]!
    for (const [name, batch] of Object.entries(result.images)) {
      const got = rows(batch)
      t.is(got.length, Number(name.split(': ')[1]))
      got.forEach((row, i) => {
        const off = distance(row, images[i]!)
        worst = Math.max(worst, off)
        t.true(off <= bound, `image ${i} of batch ${name}: ${off}, bound ${bound}`)
      })
      t.deepEqual(got[0], alone, `batch ${name}: the first image's bytes`)
    }
    t.log(`${dtype}: images differ by ${worst.toExponential(1)}, bound ${bound.toExponential(1)}`)
    return result
  }

  const checkTexts = async (
    t: import('ava').ExecutionContext,
    dtype: Dtype,
    model: string,
    layers: number,
    r: Towers,
    brief = false,
  ) => {
    const same = dtype === 'float16' ? 'float32' : dtype
    await using clip = await load(model || undefined, { device: 'reference', dtype: same, towers: ['text'] })
    const bound = roundingNoise(dtype as 'float32', layers, termsOf(model))
    const want = Array.from(await clip.encodeText(labels, { truncate: true }))
    const got = rows(r.texts.trie!)
    let worst = 0
    got.forEach((row, i) => {
      const off = distance(row, want[i]!)
      worst = Math.max(worst, off)
      t.true(off <= bound, `${labels[i]}: ${off}, bound ${bound}`)
    })
    t.deepEqual(r.texts.again!.data, r.texts.trie!.data, 'again')
    t.deepEqual(r.texts.one!.data, got[0], 'alone, without a trie')
    t.log(`${dtype}: texts differ by ${worst.toExponential(1)}, bound ${bound.toExponential(1)}`)
    if (brief) return
    t.deepEqual(r.texts.third!.data, r.texts.trie!.data, 'a third time')
    const two = labels.slice(0, 2)
    const pooled = await clip.encodeText(two, { output: 'pooled', truncate: true })
    rows(r.texts.pooled!).forEach((row, i) => {
      t.true(relative(row, pooled.row(i)) <= 2 * bound, `pooled ${i}`)
    })
    const tokens = await clip.encodeText(two, { output: 'tokens', truncate: true })
    t.deepEqual(r.texts.tokens!.shape, [...tokens.shape])
    t.true(relative(r.texts.tokens!.data, tokens.data) <= 2 * bound, 'tokens')
  }

  // The emulator takes a second for an image, and half of one for a text.
  const many = [1, 3, 5, 4, 6, 1, 5, 3, 4, 2]
  for (const dtype of all
    ? (['bfloat16', 'float16', 'float32'] as const)
    : (['bfloat16', 'float16'] as const))
    test.serial(`the embedded model in ${dtype} agrees with the reference`, async t => {
      t.timeout(30 * 60_000, 'an emulator')
      // float32 does without tensor cores, in an emulator too: 10 s for an image.
      const batches = !all ? [1] : dtype === 'float32' ? [1, 3] : many
      const result = await checkTowers(t, dtype, '', batches, 6, !all)
      await checkTexts(t, dtype, '', 4, result, !all)
    })

  test.serial(
    'batches and tries of all sizes give the same bytes, and one plan is recorded for each bucket',
    async t => {
      t.timeout(30 * 60_000, 'an emulator')
      const batches = [4, 4, 3, 4, 2, 3, 1, 5, 4, 6, 1]
      const result = await checkTowers(t, 'bfloat16', tiny, batches, 2, false, true)
      await checkTexts(t, 'bfloat16', tiny, 2, result)
      const made = batches.map((n, i) => result.made[`${i}: ${n}`]!)
      const started = batches.map((n, i) => result.started[`${i}: ${n}`]!)
      t.deepEqual(made, [1, 1, 2, 2, 3, 3, 4, 5, 5, 5, 5])
      t.deepEqual(started, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
      // Texts: a trie and the same again are one plan, a text alone another.
      t.deepEqual([result.made.texts! - 5, result.started.texts! - 11], [2, 3])
    },
  )

  test.serial('a model in float32, which rounds nothing to 16 bits, is near the reference', async t => {
    t.timeout(30 * 60_000, 'an emulator')
    const result = await checkTowers(t, 'float32', tiny, [1, 3], 2)
    await checkTexts(t, 'float32', tiny, 2, result)
  })

  test.serial(
    'if the n-th allocation fails, for any n, load or the call reports it and nothing leaks',
    async t => {
      t.timeout(20 * 60_000)
      const { result, report } = await scenario<{ failures: Failure[]; cpu: boolean; after: number[] }>([
        'memory',
        tiny,
      ])
      t.is(report, '')
      t.true(result.failures.length >= 8, `${result.failures.length} allocations`)
      for (const { code, message } of result.failures) t.is(code, 'ERR_CLIP_MEMORY', message)
      const told = result.failures.filter(f => f.field === 'cuMemAlloc')
      t.true(told.length >= 5)
      for (const { message } of told)
        t.regex(message, /^No memory for \d+ bytes on .*: \d+ of \d+ bytes are free\.$/)
      t.true(result.cpu)
      t.true(result.after.every(Number.isFinite))
      t.log(`${result.failures.length} allocations`)
    },
  )

  const faults: [what: string, fault: string, actual: string, lost: boolean][] = [
    ['a kernel fails', 'kernel:1=CUDA_ERROR_LAUNCH_FAILED', 'CUDA_ERROR_LAUNCH_FAILED', true],
    ['an illegal address', 'kernel:3=CUDA_ERROR_ILLEGAL_ADDRESS', 'CUDA_ERROR_ILLEGAL_ADDRESS', true],
    [
      'a graph is not started',
      'cuGraphLaunch:1=CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES',
      'CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES',
      false,
    ],
    ['a copy fails', 'cuMemcpyHtoDAsync:2=CUDA_ERROR_INVALID_VALUE', 'CUDA_ERROR_INVALID_VALUE', false],
    ['a wait fails', 'cuStreamSynchronize:1=CUDA_ERROR_UNKNOWN', 'CUDA_ERROR_UNKNOWN', false],
  ]
  for (const [i, [what, fault, actual, lost]] of faults.entries())
    (i < 2 || all ? test.serial : test.skip)(
      `${what}: ERR_CLIP_CUDA, the CPU goes on, and so does a new model`,
      async t => {
        t.timeout(20 * 60_000)
        const { result } = await scenario<{
          first?: Failure
          second?: Failure
          cpu: boolean
          renewed?: Failure
        }>(['fault', tiny, fault])
        t.like(result.first, { code: 'ERR_CLIP_CUDA', actual })
        t.true(result.cpu)
        if (lost) t.is(result.second?.code, 'ERR_CLIP_CUDA', 'the context is lost')
        else t.is(result.second, undefined, 'the next call works')
        t.is(result.renewed, undefined, 'a new model works')
      },
    )

  const long = all ? test.serial : test.skip
  long(
    'gpu-selfcheck reports kernels, towers and timings, says that this is a stand-in, and fails on a difference',
    async t => {
      t.timeout(30 * 60_000, 'an emulator')
      const cli = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
      const out = join(work, 'gpu-selfcheck.md')
      const args = [cli, 'gpu-selfcheck', '--model', tiny, '--seconds', '0', '--batches', '1,3', '--out', out]
      const env = { ...process.env, CLIP_NATIVE_LIBCUDA: standIn, CLIP_NATIVE_CACHE: cache }
      const { stdout } = await promisify(execFile)(process.execPath, args, { env })
      t.true(stdout.startsWith(readFileSync(out, 'utf8').trimEnd()))
      t.regex(stdout, /Stand-in, timings are meaningless/)
      t.true(stdout.includes(`${everyKernel.size} of ${everyKernel.size} agree with the reference`), stdout)
      t.is(stdout.match(/\| (image|text) \| (float32|bfloat16|float16) \| .* \| yes \| ok \|/g)?.length, 6)
      t.is(stdout.match(/\| (images, pixels ready|texts) \|/g)?.length, 8)
      const timed = [...stdout.matchAll(/^\| (clip_\w+) \| (?!row)[^|]+ \| [\d.e+]+ \| [\d.e+-]+ \| /gm)]
      t.is(new Set(timed.map(([, name]) => name)).size, everyKernel.size, 'every kernel is timed')
      t.regex(stdout, /## Comparison with onnxruntime-node\n\nNot compared: /)
      const failure = await t.throwsAsync<Error & { code: number; stdout: string }>(
        promisify(execFile)(process.execPath, args, {
          env: { ...env, CLIP_STANDIN_SKIP: 'clip_layer_norm' },
        }),
      )
      t.is(failure.code, 1)
      t.true(failure.stdout.includes(`${everyKernel.size - 1} of ${everyKernel.size}`), failure.stdout)
      t.notRegex(failure.stdout, /## Timings/)
      t.regex(failure.stdout, /\| clip_layer_norm \| row 0, column 0: -?nan instead of /)
    },
  )

  test.serial('load refuses head dimensions and dtypes that no kernel supports', async t => {
    t.timeout(20 * 60_000)
    const folders = new Map<number, string>()
    for (const [dim, heads] of [
      [12, 2],
      [136, 1],
      [264, 1],
    ] as const) {
      folders.set(dim, join(work, `heads of ${dim}`))
      await writeSmallModel(folders.get(dim)!, { width: dim * heads, heads })
    }
    const sixteen = 'a dimension that is a multiple of 8 up to 128, or dtype float32'
    const loads: [dim: number, dtype: Dtype, expected: string | undefined][] = [
      [12, 'bfloat16', sixteen],
      [136, 'bfloat16', sixteen],
      [136, 'float16', sixteen],
      [136, 'float32', undefined],
      [264, 'float32', 'a dimension of at most 256'],
    ]
    const { result } = await scenario<(Failure | null)[]>([
      'refusals',
      ...loads.map(([dim, dtype]) => `${dtype} ${folders.get(dim)}`),
      `int8 ${tiny}`,
    ])
    for (const [i, [dim, dtype, expected]] of loads.entries()) {
      if (!expected) {
        t.is(result[i], null, `${dim} in ${dtype}`)
        continue
      }
      t.like(result[i], { code: 'ERR_CLIP_CUDA', field: 'image.heads', expected, actual: String(dim) })
      t.regex(result[i]!.message, new RegExp(`^No CUDA kernel supports attention heads of dimension ${dim} `))
    }
    t.like(result.at(-1), {
      code: 'ERR_CLIP_DTYPE',
      field: 'dtype',
      expected: 'float32, float16, bfloat16',
      actual: 'int8',
    })
  })

  for (const [what, env, reason] of [
    ['no driver', { CLIP_NATIVE_LIBCUDA: join(work, 'nothing.so') }, /There is no NVIDIA driver here/],
    ['no device', { CLIP_STANDIN_DEVICES: 'none' }, /CUDA_ERROR_NO_DEVICE/],
    ['compute capability 7.5', { CLIP_STANDIN_DEVICES: '75' }, /compute capability 7\.5 is below 8\.0/],
  ] as const)
    test.serial(`load rejects with ERR_CLIP_BACKEND and the reason: ${what}`, async t => {
      const { result } = await scenario<{
        failure: Failure
        devices: { available: boolean; reason: string }
      }>(['loading', tiny], env)
      t.is(result.failure.code, 'ERR_CLIP_BACKEND')
      t.regex(result.failure.message, reason)
      t.false(result.devices.available)
      t.regex(result.devices.reason, reason)
    })

  for (const [name, layers] of [
    ['openclip-resnet', 16],
    ['openai-resnet.pt', 16],
    ['openclip-clipa', 2],
    ['openclip-siglip2', 2],
    ['openclip-pe', 2],
    ['openclip-eva02', 2],
    ['openclip-convnext', 5],
    ['openclip-mobileclip-b', 2],
  ] as const)
    for (const dtype of ['bfloat16', 'float16', 'float32'] as const)
      (all ? test.serial : test.skip)(`${name} in ${dtype} as on the reference`, async t => {
        t.timeout(30 * 60_000)
        const file = join(packageRoot, 'test', 'golden', 'checkpoint', name)
        await checkTowers(t, dtype, file, [1, 3], layers)
      })

  // Texts with a mean of rows of different counts, layer norms last, and sinusoids.
  for (const [name, vocabulary, layers] of [
    ['openclip-xlm-roberta', 'xlmr', 2],
    ['openclip-nllb', 'nllb-json', 1],
    ['hf-altclip', 'xlmr', 2],
  ] as const)
    for (const dtype of ['bfloat16', 'float16', 'float32'] as const)
      (all ? test.serial : test.skip)(`${name} in ${dtype} as on the reference`, async t => {
        t.timeout(30 * 60_000)
        const folder = join(work, `${name} in ${dtype}`)
        const files = unpacked(vocabulary)
        cpSync(files.folder, folder, { recursive: true })
        files.remove()
        cpSync(join(packageRoot, 'test', 'golden', 'checkpoint', name), folder, { recursive: true })
        await checkTexts(t, dtype, folder, layers, await checkTowers(t, dtype, folder, [1, 3], layers))
      })
}
