/**
 * Builds and runs the CUDA kernels' test program (CMakeLists.txt beside): it needs CMake and a C++20 compiler, and
 * nvcc for what executes PTX.
 *
 * CLIP_CUDA_SANITIZE=1: with AddressSanitizer and UndefinedBehaviourSanitizer. CLIP_CUDA_ALL=1: the long cases too.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { packageRoot } from '../../lib/base/package.js'

/** With the sanitizers. */
export const sanitize = process.env.CLIP_CUDA_SANITIZE === '1'
/** The long cases too. */
export const all = process.env.CLIP_CUDA_ALL === '1'
const folder = join(packageRoot, sanitize ? 'build/cuda-sanitize' : 'build/cuda')

/** Whether a command is there and says its version. */
const runs = (command: string): boolean => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0

/** Why the program cannot be built here, or undefined. */
export const missing =
  process.platform !== 'linux'
    ? 'needs Linux'
    : !runs('cmake')
      ? 'needs CMake'
      : !runs('c++')
        ? 'needs a C++ compiler'
        : undefined
/** Why PTX cannot be had here, or undefined. */
export const missingPtx = missing ?? (runs('nvcc') ? undefined : 'needs nvcc')

/** Our own sanitizers only: those of a parent that preloads them would meet theirs. */
function environment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const { LD_PRELOAD: _, ...rest } = process.env
  return { ...rest, ...extra }
}

/** Runs a command to its end; rejects with what it wrote unless it succeeds. */
function finish(command: string, args: string[], extra?: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: packageRoot, env: environment(extra) })
    let output = ''
    child.stdout.on('data', text => {
      output += text
    })
    child.stderr.on('data', text => {
      output += text
    })
    child.on('error', reject)
    child.on('close', (status, signal) => {
      if (status === 0) resolve(output)
      else reject(new Error(`${command} ${args.join(' ')}: ${signal ?? status}\n${output.slice(-8000)}`))
    })
  })
}

/** One build at a time: several test files want it. A process that died leaves a lock that nobody holds. */
async function alone<T>(work: () => Promise<T>): Promise<T> {
  const lock = `${folder}.lock`
  mkdirSync(join(packageRoot, 'build'), { recursive: true })
  for (;;) {
    try {
      writeFileSync(lock, `${process.pid} ${threadId}`, { flag: 'wx' })
      break
    } catch {
      const pid = Number(readFileSync(lock, { encoding: 'utf8', flag: 'a+' }).split(' ')[0])
      if (pid && pid !== process.pid && !existsSync(`/proc/${pid}`)) rmSync(lock, { force: true })
      await new Promise(resolve => setTimeout(resolve, 200))
    }
  }
  try {
    return await work()
  } finally {
    rmSync(lock, { force: true })
  }
}

/** Builds the program, or finds it up to date. Returns its path. */
export const build = (): Promise<string> => alone(buildAlone)

async function buildAlone(): Promise<string> {
  const launcher = runs('ccache') ? ['-DCMAKE_CXX_COMPILER_LAUNCHER=ccache'] : []
  await finish('cmake', [
    '-S',
    'test/cuda',
    '-B',
    folder,
    `-DCLIP_SANITIZE=${sanitize ? 'ON' : 'OFF'}`,
    ...launcher,
  ])
  await finish('cmake', ['--build', folder, '--parallel', String(Math.min(4, availableParallelism()))])
  return join(folder, 'cuda_tests')
}

const sources = (pattern: RegExp): string[] =>
  readdirSync(join(packageRoot, 'cuda'))
    .filter(file => pattern.test(file))
    .map(file => join(packageRoot, 'cuda', file))

/** What nvcc is told, for PTX and for machine code alike. */
export const nvccFlags = ['-std=c++20', '--expt-relaxed-constexpr', '-Icuda', '-Inative']

/** Compiles every kernel to PTX that is not up to date. Returns the folder. */
export const buildPtx = (): Promise<string> => alone(buildPtxAlone)

async function buildPtxAlone(): Promise<string> {
  const to = join(packageRoot, 'build/cuda-ptx')
  mkdirSync(to, { recursive: true })
  const headers = [...sources(/\.(h|cuh)$/), join(packageRoot, 'native/backend.h')]
  const newestHeader = Math.max(...headers.map(file => statSync(file).mtimeMs))
  const stale = sources(/\.cu$/).filter(file => {
    const ptx = join(to, `${basename(file, '.cu')}.ptx`)
    return !existsSync(ptx) || statSync(ptx).mtimeMs <= Math.max(newestHeader, statSync(file).mtimeMs)
  })
  const worker = async (): Promise<void> => {
    for (let file = stale.shift(); file; file = stale.shift())
      await finish('nvcc', [
        ...nvccFlags,
        '-arch=compute_80',
        '-ptx',
        '-o',
        join(to, `${basename(file, '.cu')}.ptx`),
        file,
      ])
  }
  await Promise.all([worker(), worker()])
  return to
}

/** One case of the program. */
export interface Case {
  ok: boolean
  name: string
}

/** Runs a group of cases: what TAP says of each, and its comments. */
export function runGroup(
  program: string,
  group: string,
  ptx?: string,
): Promise<{ cases: Case[]; comments: string[] }> {
  return new Promise((resolve, reject) => {
    const args = all ? [group, '--all'] : [group]
    const child = spawn(program, args, { env: environment(ptx ? { CUDA_TESTS_PTX: ptx } : {}) })
    let output = ''
    let errors = ''
    child.stdout.on('data', text => {
      output += text
    })
    child.stderr.on('data', text => {
      errors += text
    })
    child.on('error', reject)
    child.on('close', (status, signal) => {
      const cases = [...output.matchAll(/^(not )?ok \d+ - (.*)$/gm)].map(([, not, name]) => ({
        ok: !not,
        name,
      }))
      const planned = Number(/^1\.\.(\d+)$/m.exec(output)?.[1] ?? -1)
      // A program that dies half-way has no plan, and its exit status says whether all held.
      if (planned !== cases.length || signal || (status === 0) !== cases.every(c => c.ok))
        reject(
          new Error(
            `${group}: ${signal ?? status}, ${cases.length} of ${planned} cases\n${errors.slice(-8000)}`,
          ),
        )
      else resolve({ cases, comments: [...output.matchAll(/^# (.*)$/gm)].map(match => match[1]) })
    })
  })
}
