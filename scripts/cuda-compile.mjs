// What the scripts for the CUDA kernels share: running nvcc, and the PTX that the tests execute, the report
// analyses and the package contains.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

export function fail(message) {
  console.error(message)
  process.exit(1)
}

/** Runs a command and returns its output; if it fails, prints its output and exits. */
export function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  if (error || status !== 0) fail(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
  return stdout + stderr
}

const sources = readdirSync(join(root, 'cuda')).sort()
const age = file => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** The names of the kernels' files without their extension. */
export const units = sources.filter(file => file.endsWith('.cu')).map(file => basename(file, '.cu'))

/** The folder with the PTX of every unit, which is compiled again if a source is newer. */
export function buildPtx() {
  const folder = join(root, 'build/cuda-ptx')
  mkdirSync(folder, { recursive: true })
  const newest = Math.max(
    age(join(root, 'native/backend.h')),
    ...sources.filter(file => /\.(h|cuh)$/.test(file)).map(file => age(join(root, 'cuda', file))),
  )
  for (const unit of units) {
    const from = join(root, 'cuda', `${unit}.cu`)
    const to = join(folder, `${unit}.ptx`)
    const options = ['-std=c++20', '--expt-relaxed-constexpr', '-Icuda', '-Inative', '-arch=compute_80']
    if (age(to) <= Math.max(newest, age(from))) run('nvcc', [...options, '-ptx', '-o', to, from])
  }
  return folder
}
