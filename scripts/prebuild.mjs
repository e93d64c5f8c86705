// Builds prebuilt addons into prebuilds/, which the package contains and from which node-gyp-build selects.
// Nothing is downloaded: cmake-js builds with the headers of node-api-headers, and prebuildify strips, names
// and places the result.
//
//   node scripts/prebuild.mjs [x64 | arm64]...     default: this machine's; on x64 Linux arm64 as well (cross-built)
//
// prebuildify alone would build through binding.gyp, for which node-gyp downloads Node's headers, and would
// move the addon out of its folder. So it gets a folder with a copy, and `echo` as node-gyp.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as arm64 from './arm64.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { platform, arch: here } = process
const isGlibc = platform === 'linux' && !existsSync('/etc/alpine-release')
const isCross = arch => arch !== here

const known = isGlibc && here === 'x64' ? ['x64', 'arm64'] : [here]
const given = process.argv.slice(2)
for (const arch of given)
  if (!known.includes(arch)) arm64.fail(`Expected ${known.join(' or ')} on this machine, got ${arch}.`)

/**
 * Builds without the entries that only tests call, in a folder separate from the tests' build, and returns
 * the addon with its symbols.
 */
function build(arch) {
  if (isCross(arch)) {
    arm64.installTools()
    return arm64.buildAddon({ forPackage: true })
  }
  const cmakeJs = join(root, 'node_modules/cmake-js/bin/cmake-js')
  const to = join(root, 'build/package')
  const options = [`--CDCLIP_OUTPUT=${to}`, '--CDCLIP_TEST_ENTRIES=OFF']
  arm64.run(
    process.execPath,
    cmakeJs,
    'build',
    '--out',
    'build/cmake-package',
    '--log-level',
    'error',
    ...options,
  )
  return join(to, 'clip_native.node')
}

function check(file) {
  if (platform === 'linux') arm64.run(process.execPath, 'scripts/check-binary.mjs', relative(root, file))
}

for (const arch of given.length ? given : known) {
  console.log(`== ${platform}-${arch}`)
  const addon = build(arch)
  check(addon)
  const stage = join(root, 'build/prebuild', `${platform}-${arch}`)
  const target = join(root, 'prebuilds', `${platform}-${arch}`)
  rmSync(stage, { recursive: true, force: true })
  rmSync(target, { recursive: true, force: true })
  mkdirSync(join(stage, 'build/Release'), { recursive: true })
  copyFileSync(join(root, 'package.json'), join(stage, 'package.json'))
  copyFileSync(addon, join(stage, 'build/Release/clip_native.node'))
  const prebuildify = join(root, 'node_modules/prebuildify/bin.js')
  const flags = ['--napi', '--strip', '--tag-libc', '-t', '20.20.2', '--node-gyp', 'echo', '--quiet']
  const strip = isCross(arch) ? ['--strip-bin', 'aarch64-linux-gnu-strip'] : []
  const args = [prebuildify, ...flags, ...strip, '--arch', arch, '--cwd', stage, '--out', root]
  if (spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status !== 0)
    arm64.fail(`prebuildify failed for ${platform}-${arch}.`)
  for (const name of readdirSync(target)) {
    const file = join(target, name)
    check(file)
    console.log(`${relative(root, file)}: ${statSync(file).size} bytes`)
  }
}
