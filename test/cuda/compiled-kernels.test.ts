/** The compiled kernels, which are files of the package: read, checked, inflated and handed to native code once. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import type { ClipError } from '../../lib/base/errors.js'
import { packageRoot } from '../../lib/base/package.js'
import { readCompiledKernels } from '../../lib/native/compiled-kernels.js'
import { missing, sanitize } from './program.js'
import { buildStandIn } from './stand-in.js'

const images = join(packageRoot, 'cuda', 'images')
const names = { list: 'images.json', machineCode: 'machine_code.br', ptx: 'ptx.br' } as const
const addon =
  process.env.CLIP_NATIVE_ADDON ||
  (createRequire(import.meta.url)('node-gyp-build') as { path(dir: string): string }).path(packageRoot)
const work = mkdtempSync(join(tmpdir(), 'clip-native-kernels-'))
test.after.always(() => rmSync(work, { recursive: true, force: true }))

test('the files inflate to the output of nvcc, ptxas and fatbinary', async t => {
  const made = JSON.parse(readFileSync(join(images, 'images.json'), 'utf8'))
  const { machineCode, ptx, name } = await readCompiledKernels()
  const facts = (data: Buffer) => ({
    bytes: data.length,
    sha256: createHash('sha256').update(data).digest('hex'),
  })
  t.like(made.machineCode, facts(machineCode))
  t.like(made.ptx, facts(ptx))
  t.regex(name, /^[0-9a-f]{32}$/)
})

/** A copy of the files of which one is changed, or removed where `change` gives nothing. */
function copyOfImages(which: keyof typeof names, change: (bytes: Buffer) => Buffer | undefined) {
  const folder = mkdtempSync(join(work, 'images-'))
  const files = { list: '', machineCode: '', ptx: '' }
  for (const key of ['list', 'machineCode', 'ptx'] as const) {
    files[key] = join(folder, names[key])
    const bytes = readFileSync(join(images, names[key]))
    const written = key === which ? change(bytes) : bytes
    if (written) writeFileSync(files[key], written)
  }
  return files
}

const damage: [string, (bytes: Buffer) => Buffer | undefined, RegExp][] = [
  ['is missing', () => undefined, /can't be read \(ENOENT/],
  ['is cut short', bytes => bytes.subarray(0, bytes.length >> 1), /is damaged/],
  ['is empty', () => Buffer.alloc(0), /is damaged/],
  ['has one bit changed', bytes => Buffer.from(bytes).fill(bytes[100]! ^ 1, 100, 101), /is damaged/],
]
for (const which of ['list', 'machineCode', 'ptx'] as const)
  for (const [what, change, says] of damage) {
    if (which === 'list' && what === 'has one bit changed') continue // much of it is for people
    test(`an error names the file if ${names[which]} ${what}`, async t => {
      const files = copyOfImages(which, change)
      const error = (await t.throwsAsync(readCompiledKernels(files))) as ClipError
      t.is(error.code, 'ERR_CLIP_BACKEND')
      t.is(error.field, 'device')
      t.is(error.file, files[which])
      t.true(error.message.startsWith(`${error.file}: `), error.message)
      t.regex(error.message, says)
      t.regex(error.message, /install the package again, or use device 'cpu'/)
    })
  }

test('an intact file of another build is refused, whatever it inflates to', async t => {
  const { ptx } = await readCompiledKernels()
  const files = copyOfImages('list', bytes => {
    const list = JSON.parse(bytes.toString())
    list.ptx.bytes = ptx.length - 1
    return Buffer.from(JSON.stringify(list))
  })
  const error = (await t.throwsAsync(readCompiledKernels(files))) as ClipError
  t.is(error.code, 'ERR_CLIP_BACKEND')
  t.is(error.file, files.ptx)
  t.regex(error.message, /can't be inflated/)
})

/** A package whose addon is elsewhere (CLIP_NATIVE_ADDON), with the embedded model and without compiled kernels. */
function packageWithoutKernels(): string {
  const folder = mkdtempSync(join(work, 'package-'))
  cpSync(join(packageRoot, 'dist/lib'), join(folder, 'dist/lib'), { recursive: true })
  copyFileSync(join(packageRoot, 'package.json'), join(folder, 'package.json'))
  for (const name of ['node_modules', 'models'])
    symlinkSync(join(packageRoot, name), join(folder, name), 'dir')
  return folder
}

/** What a process of its own prints as JSON that runs the script with that package's `lib`. */
function inPackage<T>(folder: string, script: string, env: NodeJS.ProcessEnv): Promise<T> {
  const imports = `
    const lib = ${JSON.stringify(join(folder, 'dist/lib'))}
    const { load, devices } = await import(lib + '/index.js')
    const failure = ({ code, file, message }) => ({ code, file, message })
    const say = value => console.log(JSON.stringify(value))\n`
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--input-type=module', '-e', imports + script],
      { env: { ...process.env, CLIP_NATIVE_ADDON: addon, CLIP_NATIVE_CACHE: work, ...env } },
      (error, stdout, stderr) => (error ? reject(new Error(stderr)) : resolve(JSON.parse(stdout))),
    )
  })
}

if (process.platform === 'linux' && process.arch === 'x64') {
  test('without a driver the error says so, whatever files exist, and the CPU needs none of them', async t => {
    const { cuda, length } = await inPackage<{ cuda: { code: string; message: string }; length: number }>(
      packageWithoutKernels(),
      `const cuda = await load(undefined, { device: 'cuda' }).catch(failure)
      const clip = await load(undefined, { towers: ['text'] })
      const { data } = await clip.encodeText('a dog')
      say({ cuda, length: Math.hypot(...data) })`,
      { CLIP_NATIVE_LIBCUDA: join(work, 'libcuda.so.1') },
    )
    t.is(cuda.code, 'ERR_CLIP_BACKEND')
    t.regex(cuda.message, /There is no NVIDIA driver here/)
    t.true(Math.abs(length - 1) < 1e-5)
  })

  if (missing || sanitize)
    test.skip(`tests with a GPU are skipped (${missing ?? 'with the sanitizers'})`, () => {})
  else {
    test.serial(
      'load names a missing file of the kernels, devices() does not need it, and the next load finds it',
      async t => {
        t.timeout(30 * 60_000, 'the programs may have to be built')
        const folder = packageWithoutKernels()
        const { before, available, after } = await inPackage<{
          before: { code: string; file: string }
          available: boolean
          after: string
        }>(
          folder,
          `import { cpSync } from 'node:fs'
        const before = await load(undefined, { device: 'cuda', towers: ['text'] }).catch(failure)
        const { available } = devices().find(d => d.name === 'cuda')
        cpSync(${JSON.stringify(images)}, ${JSON.stringify(join(folder, 'cuda/images'))}, { recursive: true })
        const clip = await load(undefined, { device: 'cuda', towers: ['text'] })
        say({ before, available, after: clip.info.backend })
        await clip.dispose()`,
          { CLIP_NATIVE_LIBCUDA: await buildStandIn() },
        )
        t.is(before.code, 'ERR_CLIP_BACKEND')
        t.is(before.file, join(folder, 'cuda/images/images.json'))
        t.true(available)
        t.is(after, 'cuda')
      },
    )

    test.serial(
      'the files are read once per process, and not again by a second load or a worker',
      async t => {
        t.timeout(30 * 60_000, 'the programs may have to be built')
        const folder = packageWithoutKernels()
        mkdirSync(join(folder, 'cuda'))
        cpSync(images, join(folder, 'cuda/images'), { recursive: true })
        const worker = `
        const { workerData: lib, parentPort } = require('node:worker_threads')
        const { identifyDevice } = require(lib + '/native/gpu-check.js')
        identifyDevice().then(d => parentPort.postMessage(d.fingerprint), e => parentPort.postMessage(e.message))`
        const { main, again, inWorker } = await inPackage<Record<'main' | 'again' | 'inWorker', string>>(
          folder,
          `import { rmSync } from 'node:fs'
        import { once } from 'node:events'
        import { Worker } from 'node:worker_threads'
        const { identifyDevice } = await import(lib + '/native/gpu-check.js')
        const [first, second] = await Promise.all([identifyDevice(), identifyDevice()])
        rmSync(${JSON.stringify(join(folder, 'cuda'))}, { recursive: true })
        const [inWorker] = await once(new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [], workerData: lib }), 'message')
        say({ main: first.fingerprint, again: second.fingerprint, inWorker })`,
          { CLIP_NATIVE_LIBCUDA: await buildStandIn() },
        )
        t.regex(main, /^[0-9a-f]{32}-/)
        t.is(again, main)
        t.is(inWorker, main)
      },
    )
  }
}
