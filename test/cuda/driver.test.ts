/** What lies between the addon and NVIDIA's driver, and the stand-in for that driver. See cuda/README.md. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { roundingNoise } from '../../lib/cli/gpu/selfcheck.js'
import type { DeviceInfo } from '../../lib/index.js'
import { readCompiledKernels } from '../../lib/native/compiled-kernels.js'
import { all, build, buildPtx, missing, missingPtx, runGroup, sanitize } from './program.js'

const images = join(packageRoot, 'cuda', 'images')
const compressed = ['machine_code.br', 'ptx.br'].map(file => readFileSync(join(images, file)))

const scratch = mkdtempSync(join(tmpdir(), 'clip-native-images-'))
test.after.always(() => rmSync(scratch, { recursive: true, force: true }))

let program: Promise<string> | undefined
/** The driver's test program, which lies beside the kernels'. */
async function theProgram(): Promise<string> {
  program ??= build()
  const folder = dirname(await program)
  process.env.CLIP_NATIVE_LIBCUDA = join(folder, 'libcuda-standin.so')
  process.env.CUDA_TESTS_IMAGES = scratch
  const { machineCode, ptx } = await readCompiledKernels()
  writeFileSync(join(scratch, 'kernels.fatbin'), machineCode)
  writeFileSync(join(scratch, 'kernels.ptx'), ptx)
  return join(folder, 'driver_tests')
}

for (const [title, name, least] of [
  [
    'the driver is opened, devices are distinguished, kernels are loaded, and every failure is named',
    'driver',
    24,
  ],
  // AddressSanitizer has the cases of illegal accesses to itself.
  [
    'the stand-in driver accepts correct programs and reports deliberate misuse',
    'standin',
    sanitize ? 31 : 35,
  ],
] as const)
  if (missing) test.skip(`${title} (${missing})`, () => {})
  else
    test.serial(title, async t => {
      t.timeout(30 * 60_000, 'the programs may have to be built')
      const { cases } = await runGroup(await theProgram(), name)
      t.true(cases.length >= least, `${cases.length} cases`)
      for (const { ok, name: of } of cases) t.true(ok, of)
    })

/** What a process of its own says that has this environment: of its devices, or of a model on the CPU. */
function inProcess<T>(script: string, env: NodeJS.ProcessEnv): T {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', `import { load, devices } from 'clip-native'\n${script}`],
    { cwd: packageRoot, encoding: 'utf8', env: { ...process.env, ...env } },
  )
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as T
}
const listDevices = "console.log(JSON.stringify(devices().find(d => d.name === 'cuda')))"
const onCpu = `const clip = await load(undefined, { towers: ['text'] })
const { data } = await clip.encodeText('a dog')
console.log(JSON.stringify({ length: Math.hypot(...data), backend: clip.info.backend }))`

// Loading runs every kernel once against reference, too.
const onBoth = `const clip = await load(undefined, { device: 'cuda', dtype: 'bfloat16' })
const reference = await load(undefined, { device: 'reference', dtype: 'bfloat16' })
const side = clip.info.imageSize
const pixels = { data: new Uint8Array(side * side * 3).map((_, i) => (i * 7) % 251), width: side, height: side, channels: 3 }
const distance = (a, b) => Math.hypot(...a.data.map((v, i) => v - b.data[i]))
const image = distance(await clip.encodeImage(pixels), await reference.encodeImage(pixels))
const text = distance(await clip.encodeText('a dog'), await reference.encodeText('a dog'))
await clip.dispose()
console.log(JSON.stringify({ image, text }))`

if (process.platform === 'linux' && process.arch === 'x64') {
  test('without a driver there is no GPU, and the CPU works as before', t => {
    const env = { CLIP_NATIVE_LIBCUDA: join(scratch, 'libcuda.so.1') }
    const cuda = inProcess<DeviceInfo>(listDevices, env)
    t.deepEqual([cuda.available, cuda.gpus, cuda.dtypes], [false, [], []])
    t.regex(cuda.reason!, /There is no NVIDIA driver here/)
    const { length, backend } = inProcess<{ length: number; backend: string }>(onCpu, env)
    t.true(Math.abs(length - 1) < 1e-5)
    t.not(backend, 'cuda')
  })

  if (!missing && !sanitize)
    test.serial(
      "every GPU is listed, with the reason why it can't be used; the CPU does not open the driver",
      async t => {
        t.timeout(30 * 60_000, 'the programs may have to be built')
        await theProgram()
        const log = join(scratch, 'log')
        const env = {
          CLIP_STANDIN_DEVICES: '75,90',
          CLIP_STANDIN_MEMORY: String(2 ** 33),
          CLIP_STANDIN_LOG: log,
        }
        inProcess(onCpu, env)
        t.false(existsSync(log), 'the driver was not opened')
        const cuda = inProcess<DeviceInfo>(listDevices, env)
        t.true(existsSync(log))
        t.true(cuda.available)
        const memory = 2 ** 33
        t.deepEqual(cuda.gpus, [
          {
            index: 0,
            name: 'libcuda stand-in 75',
            capability: '7.5',
            memory,
            available: false,
            reason: 'compute capability 7.5 is below 8.0',
          },
          { index: 1, name: 'libcuda stand-in 90', capability: '9.0', memory, available: true },
        ])
        // Too old a driver for our PTX: found out when a model is loaded.
        const failure = inProcess<{ code: string; message: string }>(
          "await load(undefined, { device: 'cuda' }).catch(({ code, message }) => console.log(JSON.stringify({ code, message })))",
          { CLIP_STANDIN_DRIVER: '10020', CLIP_NATIVE_CACHE: scratch },
        )
        t.is(failure.code, 'ERR_CLIP_CUDA')
        t.regex(failure.message, /CUDA_ERROR_UNSUPPORTED_PTX_VERSION/)
      },
    )

  if (!missing && !sanitize)
    test.serial(
      'the embedded model runs on the PTX of the package and agrees with the reference',
      async t => {
        t.timeout(30 * 60_000, 'the programs may have to be built')
        await theProgram()
        const [log, report] = [join(scratch, 'ptx-log'), join(scratch, 'ptx-report')]
        const env = {
          CLIP_STANDIN_PTX: '1',
          CLIP_STANDIN_LOG: log,
          CLIP_STANDIN_REPORT: report,
          CLIP_NATIVE_CACHE: scratch,
        }
        const { image, text } = inProcess<{ image: number; text: number }>(onBoth, env)
        t.true(image <= roundingNoise('bfloat16', 6), `the image is off by ${image}`)
        t.true(text <= roundingNoise('bfloat16', 4), `the text is off by ${text}`)
        t.false(existsSync(report), 'misuse or a leak')
        const kernels = readFileSync(log, 'utf8').matchAll(/^kernel (\w+)$/gm)
        const sources = join(packageRoot, 'cuda')
        const written = readdirSync(sources)
          .filter(name => name.endsWith('.cu'))
          .flatMap(name => readFileSync(join(sources, name), 'utf8').match(/^CLIP_KERNEL\(/gm) ?? [])
        t.is(new Set([...kernels].map(([, name]) => name)).size, written.length, 'every kernel')
      },
    )
}

test('the committed kernels were built from the current sources', async t => {
  t.timeout(30 * 60_000, 'nvcc takes its time')
  if (!missingPtx) await buildPtx() // one process at a time
  const check = [join(packageRoot, 'scripts/cuda-build.mjs'), '--check', ...(all ? ['--machine-code'] : [])]
  const { status, stdout, stderr } = spawnSync(process.execPath, check, { encoding: 'utf8' })
  t.log(stdout.trim())
  t.is(status, 0, stderr)
})

test('the build needs no nvcc and links no library of CUDA', t => {
  const cmake = readFileSync(join(packageRoot, 'CMakeLists.txt'), 'utf8')
  t.notRegex(cmake, /nvcc|CUDAToolkit|FindCUDA|LANGUAGES[^)]*CUDA|enable_language|cudart|cublas/i)
  t.regex(
    cmake,
    /"Linux" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64\|amd64\|AMD64"/,
    'nothing of it on arm64',
  )
  const { scripts } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
  for (const name of ['build', 'build:native', 'build:lib', 'pretest', 'prebuilds', 'prebuild:offline'])
    t.notRegex(scripts[name], /nvcc|cuda/)
  // A header of CUDA is for one test alone, where there is one.
  const headers = /#include\s*[<"](cuda|cuda_runtime|cuda_fp16|cublas\w*|nvrtc)\.h/
  for (const folder of ['cuda', 'native'])
    for (const entry of readdirSync(join(packageRoot, folder), { recursive: true, withFileTypes: true }))
      if (entry.isFile() && /\.(h|cc|cu|cuh|inl)$/.test(entry.name))
        t.notRegex(readFileSync(join(entry.parentPath, entry.name), 'utf8'), headers, entry.name)
})

test('the addon carries no compiled kernels', t => {
  const require = createRequire(import.meta.url)
  const file =
    process.env.CLIP_NATIVE_ADDON ??
    (require('node-gyp-build') as { path(dir: string): string }).path(packageRoot)
  const addon = readFileSync(file)
  for (const image of compressed) t.false(addon.includes(image))
  t.false(addon.includes('.target sm_80'))
})

test('GPU support adds less than 2.5 MB to the package, of which the kernels are less than 0.7 MB', t => {
  const kernels = compressed.reduce((sum, image) => sum + image.length, 0)
  t.true(kernels < 0.7e6, `${kernels} bytes of kernels`)
  const files = ['cuda', 'native/cuda'].flatMap(folder =>
    readdirSync(join(packageRoot, folder), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile() && !entry.parentPath.includes('emulator'))
      .map(entry => statSync(join(entry.parentPath, entry.name)).size),
  )
  const inFiles = files.reduce((sum, size) => sum + size, 0)
  t.log(`${kernels} bytes of compiled kernels, ${inFiles} bytes of files with them`)
  // 0.5 MB for the code that was compiled into the addon.
  t.true(inFiles + 0.5e6 < 2.5e6, `${inFiles}`)
})
