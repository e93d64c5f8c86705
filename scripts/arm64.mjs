// Builds the addon for arm64 Linux on another machine. Needs Debian's g++-aarch64-linux-gnu, which is
// installed if the user has permission.
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const folder = join(root, 'build/arm64')
export const addon = join(folder, 'clip_native.node')

export const fail = message => {
  console.error(message)
  process.exit(1)
}
const has = program => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
export const run = (program, ...args) => {
  const { status } = spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  if (status !== 0) fail(`${program} ${args.join(' ')} failed.`)
}

/** `more`: program -> its Debian package, in addition to the compiler and CMake. */
export function installTools(more = {}) {
  const tools = { 'aarch64-linux-gnu-g++': 'g++-aarch64-linux-gnu', cmake: 'cmake', make: 'make', ...more }
  const missing = Object.keys(tools).filter(program => !has(program))
  if (missing.length === 0) return
  const packages = missing.map(program => tools[program])
  const sudo = process.getuid?.() === 0 ? [] : has('sudo') ? ['sudo', '-n'] : undefined
  if (!has('apt-get') || !sudo) fail(`Missing: ${packages.join(', ')} (Debian's names).`)
  const apt = [...sudo, 'apt-get', '-o', 'DPkg::Lock::Timeout=300']
  run(...apt, 'update', '-qq')
  run(...apt, 'install', '-y', '-qq', '--no-install-recommends', ...packages)
}

/** With symbols in build/arm64, or in the form in which the package contains it in build/arm64-package. */
export function buildAddon({ forPackage = false } = {}) {
  const to = forPackage ? `${folder}-package` : folder
  const cmakeJs = join(root, 'node_modules/cmake-js/bin/cmake-js')
  const options = [
    `--CDCMAKE_TOOLCHAIN_FILE=${join(root, 'scripts/arm64.cmake')}`,
    `--CDCLIP_OUTPUT=${to}`,
    `--CDCLIP_TEST_ENTRIES=${forPackage ? 'OFF' : 'ON'}`,
  ]
  run(
    process.execPath,
    cmakeJs,
    'build',
    '--out',
    `build/cmake-linux-arm64${forPackage ? '-package' : ''}`,
    '--log-level',
    'error',
    ...options,
  )
  return join(to, 'clip_native.node')
}
