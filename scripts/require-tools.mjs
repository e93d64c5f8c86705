// Reports, before anything is built, which tool is missing and how to install it.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const runs = (command, args = ['--version']) => spawnSync(command, args, { stdio: 'ignore' }).status === 0

/** Finds the file wherever the package manager has put it. */
function installed(file) {
  try {
    createRequire(import.meta.url).resolve(file)
    return true
  } catch {
    return false
  }
}

/** True when `command` compiles C++20. */
function compilesCxx20(command) {
  if (!runs(command)) return false
  const folder = mkdtempSync(join(tmpdir(), 'clip-native-'))
  try {
    const source = join(folder, 'probe.cc')
    writeFileSync(
      source,
      '#include <concepts>\nstruct A { int a, b; };\nstd::same_as<int> auto f(A x) { return x.a; }\nint main() { return f(A{.a = 0, .b = 1}); }\n',
    )
    return runs(command, ['-std=c++20', '-fsyntax-only', source])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The missing tools: [name, how to install it on Debian, on Fedora, on macOS]. */
export function missingTools() {
  const missing = []
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19))
    missing.push([
      `Node 20.19 or newer (this is ${process.versions.node})`,
      'https://nodejs.org',
      'dnf install nodejs',
      'brew install node',
    ])
  if (!runs('cmake'))
    missing.push(['CMake 3.18 or newer', 'apt-get install cmake', 'dnf install cmake', 'brew install cmake'])
  if (!runs('make') && !runs('ninja'))
    missing.push(['make', 'apt-get install make', 'dnf install make', 'xcode-select --install'])
  const compilers = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++']
  if (!compilers.some(compilesCxx20))
    missing.push([
      'a C++20 compiler (g++ 10, clang 12 or newer)',
      'apt-get install g++',
      'dnf install gcc-c++',
      'xcode-select --install',
    ])
  if (!installed('cmake-js/package.json')) missing.push(['the npm packages', 'npm ci', 'npm ci', 'npm ci'])
  return missing
}

/** Exits with 1 after reporting what is missing. */
export function requireTools() {
  if (process.platform === 'win32') return // cmake-js finds Visual Studio itself and reports if it is missing
  const missing = missingTools()
  if (missing.length === 0) return
  for (const [what, debian, fedora, mac] of missing)
    console.error(`Missing: ${what}\n  Debian, Ubuntu: ${debian}\n  Fedora: ${fedora}\n  macOS: ${mac}`)
  process.exit(1)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) requireTools()
