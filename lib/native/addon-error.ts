/** Explains why the addon could not be loaded, and what to do: it is missing, is for another system, or the loader refused it. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClipError } from '../base/errors.js'

const build = 'npx clip-native build (needs CMake, make and a C++20 compiler)'
const here = `${process.platform}-${process.arch} (Node ${process.versions.node})`

/** Messages of the loaders of Linux, macOS and Windows, with what to do; the first match is used. */
const remedies: readonly [said: RegExp, remedy: string][] = [
  [
    /operation not permitted/i,
    'The system forbids running code from there: is the folder mounted with noexec? Install the package elsewhere',
  ],
  [
    /failed to map|cannot allocate|not enough (memory|storage)|static TLS/i,
    'The process is not allowed the memory or address space that it needs: raise the limit (ulimit -v, systemd MemoryMax, the container)',
  ],
  [
    /GLIBC(XX)?_|CXXABI_|ld-linux|ld-musl|libc\.musl|libc\.so/,
    `It was built for another C or C++ library than this system has. Build it here with: ${build}`,
  ],
  [
    /undefined symbol|symbol not found|did not self-register|different Node\.js version|specified procedure/i,
    `It was built for another program or version than this one. Install the package again, or build it with: ${build}`,
  ],
  [
    /invalid ELF|file too short|wrong ELF class|mach-o|incompatible architecture|slice is not valid|not a valid Win32|exec format/i,
    `It is damaged, or for another processor or system. Install the package again, or build it with: ${build}`,
  ],
  [/permission denied|access is denied/i, 'Make the file readable for this user'],
  [
    /cannot open shared object|library not loaded|module could not be found/i,
    `A library that it needs is missing: install that (with the package manager of the system), or build the addon with: ${build}`,
  ],
]

/** Prebuilt addons for this platform, of any C library. */
function prebuilt(root: string): string[] {
  try {
    return readdirSync(join(root, 'prebuilds', `${process.platform}-${process.arch}`)).filter(name =>
      name.endsWith('.node'),
    )
  } catch {
    return []
  }
}

/** Whether this code was moved out of its package by a bundler, or is not loaded by Node. */
function isBundled(root: string, file: string | undefined, cause: Error): boolean {
  if (file !== undefined && existsSync(file))
    // Node reports this for a missing file; the require() of a bundler reports it for every file that it did not bundle.
    return (cause as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND' || /too dynamic/.test(cause.message)
  try {
    return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).name !== 'clip-native'
  } catch {
    return true
  }
}

/** ERR_CLIP_BACKEND: `file` undefined when the search in `root` found none. */
export function addonError(root: string, file: string | undefined, cause: Error): ClipError {
  const said = cause.message.split('\n', 1)[0]
  if (!process.env.CLIP_NATIVE_ADDON && isBundled(root, file, cause))
    return new ClipError(
      'ERR_CLIP_BACKEND',
      "clip-native was bundled, which leaves its addon and its model behind: mark it as external (Next.js: serverExternalPackages: ['clip-native']; esbuild: --external:clip-native; webpack: externals; Vite: ssr.external) and install it where the bundle runs",
      { cause, expected: 'the package clip-native', actual: `a bundle in ${__filename}` },
    )
  if (file === undefined || !existsSync(file)) {
    const others = file === undefined ? prebuilt(root) : []
    const searched =
      file === undefined
        ? `looked for build/Release/*.node and prebuilds/${process.platform}-${process.arch}/*.node in ${root}`
        : `CLIP_NATIVE_ADDON names ${file}, which does not exist`
    const unfit = others.length
      ? ` There ${others.length > 1 ? 'are' : 'is'} ${others.join(', ')}, but for another C library than this system's.`
      : ''
    return new ClipError(
      'ERR_CLIP_BACKEND',
      `No native addon for ${here}: ${searched}.${unfit} Build it with: ${build}. ${said}`,
      { cause },
    )
  }
  // glibc reports a file for another processor as missing.
  const foreign = said.startsWith(`${file}: cannot open shared object file: No such file`)
  const remedy =
    remedies.find(([pattern]) => pattern.test(foreign ? 'wrong ELF class' : said))?.[1] ??
    `Install the package again, or build it with: ${build}`
  return new ClipError(
    'ERR_CLIP_BACKEND',
    `The native addon ${file} exists, but can't be loaded on ${here}: ${said}. ${remedy}`,
    { file, cause },
  )
}
