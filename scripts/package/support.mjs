// What the steps of test-package.mjs share.
import { spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
/** Outside the repository, whose node_modules would be found otherwise. */
export const work = join(tmpdir(), 'clip-native-package')
export const folder = name => join(work, name)
export const checks = { passed: 0, failed: 0 }

/** Prints one line per check; if one fails, the others still run. */
export async function check(name, body) {
  try {
    const note = await body()
    checks.passed++
    console.log(`ok ${name}${note ? `: ${note}` : ''}`)
    return true
  } catch (error) {
    checks.failed++
    console.log(`not ok ${name}: ${error?.message ?? error}`)
    return false
  }
}

export function expect(holds, what) {
  if (!holds) throw new Error(what)
}

/** The output of a program; throws with it unless the program exits with `status` within ten minutes. */
export function run(program, args, { cwd, env = {}, path, status = 0, seconds = 600 } = {}) {
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|CLIP_NATIVE|NODE_(OPTIONS|PATH)$)/.test(name)),
  )
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...environment, ...(path === undefined ? {} : { PATH: path }), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: seconds * 1000,
      killSignal: 'SIGKILL',
    })
    let output = ''
    const add = data => {
      output += data
    }
    child.stdout.on('data', add)
    child.stderr.on('data', add)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === status) return resolve(output)
      const line = `${program} ${args.join(' ')} ended with ${signal ?? code}`
      reject(new Error(`${line}\n${output.slice(-4000)}`))
    })
  })
}

export const writeJson = (file, value) => writeFileSync(file, JSON.stringify(value, null, 2))
export const readJson = file => JSON.parse(readFileSync(file, 'utf8'))

/** An empty project. */
export function project(at, more = {}) {
  mkdirSync(at, { recursive: true })
  writeJson(join(at, 'package.json'), {
    name: 'try',
    version: '1.0.0',
    private: true,
    type: 'module',
    ...more,
  })
  return at
}

const npm = ['install', '--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline']
export const npmInstall = (cwd, packages, { flags = [], ...options } = {}) =>
  run('npm', [...npm, ...flags, ...packages], { cwd, ...options })

/** Tools with pinned versions, installed separately from the package, once per version. */
export async function tool(packages, flags = []) {
  const where = join(folder('tools'), packages.join('-').replaceAll(/[^\w.@-]/g, '-'))
  if (!existsSync(join(where, 'node_modules'))) await npmInstall(project(where), packages, { flags })
  return where
}

/** A PATH that contains only these programs: name -> file. */
export function pathOf(at, programs) {
  mkdirSync(at, { recursive: true })
  for (const [name, file] of Object.entries(programs)) symlinkSync(file, join(at, name))
  return at
}

const BUILDERS = [
  'cc',
  'c++',
  'gcc',
  'g++',
  'clang',
  'clang++',
  'ld',
  'make',
  'ninja',
  'cmake',
  'node-gyp',
  'python',
  'python3',
]
/**
 * Puts scripts before the real build tools on the PATH that record each call. `calls()` returns the record.
 */
export function watchBuilders(at) {
  mkdirSync(at, { recursive: true })
  const log = join(at, 'calls.txt')
  writeFileSync(log, '')
  for (const name of BUILDERS) {
    writeFileSync(join(at, name), `#!/bin/sh\necho "${name} $*" >> '${log}'\nexit 1\n`)
    chmodSync(join(at, name), 0o755)
  }
  return { path: at, calls: () => readFileSync(log, 'utf8').trim() }
}

/** The total size in bytes of the files below. */
export function size(at) {
  return readdirSync(at, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(at, entry.name)
    return sum + (entry.isDirectory() ? size(path) : entry.isFile() ? statSync(path).size : 0)
  }, 0)
}

export const megabytes = bytes => `${(bytes / 1e6).toFixed(2)} MB`
