/** How the addon is found, and what is said where none fits: in copies of the package, so that nothing here is touched. */

import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { INTERFACE, packageRoot, version } from '../lib/binding.js'

const addon =
  process.env.CLIP_NATIVE_ADDON ||
  (createRequire(import.meta.url)('node-gyp-build') as { path(dir: string): string }).path(packageRoot)

/** A package without addon, of `as` version. */
function copy(as = version): string {
  const folder = mkdtempSync(join(tmpdir(), 'clip-native-addon-'))
  cpSync(join(packageRoot, 'dist/lib'), join(folder, 'dist/lib'), { recursive: true })
  const manifest = { ...JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')), version: as }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  symlinkSync(join(packageRoot, 'node_modules'), join(folder, 'node_modules'), 'dir')
  return folder
}

interface Outcome {
  code?: string
  message?: string
  file?: string
  expected?: string
  actual?: string
  version?: string
}

/** What binding() gives or throws there. */
function open(folder: string, env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const script = `
    const { binding } = await import(${JSON.stringify(join(folder, 'dist/lib/binding.js'))})
    try { console.log(JSON.stringify({ version: binding().version })) }
    catch (e) { console.log(JSON.stringify({ ...e, message: e.message })) }`
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--input-type=module', '-e', script],
      { env: { ...process.env, CLIP_NATIVE_ADDON: '', ...env } },
      (error, stdout) => (error ? reject(error) : resolve(JSON.parse(stdout))),
    )
  })
}

test('without an addon the error lists what was looked for and names the one command', async t => {
  const folder = copy()
  try {
    const { code, message } = await open(folder)
    t.is(code, 'ERR_CLIP_BACKEND')
    t.regex(
      message!,
      new RegExp(
        `^No native addon for ${process.platform}-${process.arch} \\(Node ${process.versions.node}\\)`,
      ),
    )
    t.true(
      message!.includes(
        `build/Release/*.node and prebuilds/${process.platform}-${process.arch}/*.node in ${folder}`,
      ),
      message,
    )
    t.true(
      message!.includes('Build it with: npx clip-native build (needs CMake, make and a C++20 compiler)'),
      message,
    )
    t.regex(message!, /platform=\w+ arch=\w+ runtime=node .*libc=\w+/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a prebuilt addon is taken, a file that is none is named', async t => {
  const folder = copy()
  const place = join(folder, 'prebuilds', `${process.platform}-${process.arch}`)
  mkdirSync(place, { recursive: true })
  try {
    cpSync(addon, join(place, 'clip-native.node'))
    t.deepEqual(await open(folder), { version })
    writeFileSync(join(place, 'clip-native.node'), 'no addon')
    const { code, message, file } = await open(folder)
    t.is(code, 'ERR_CLIP_BACKEND')
    t.is(file, join(place, 'clip-native.node'))
    t.true(message!.includes(file!), message)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('lib and addon of different builds refuse each other, and both files are named', async t => {
  const folder = copy('99.1.2')
  try {
    const { code, message, file, expected, actual } = await open(folder, { CLIP_NATIVE_ADDON: addon })
    t.is(code, 'ERR_CLIP_BACKEND')
    t.is(file, addon)
    t.true(message!.includes(`${addon} is of clip-native ${version} (interface ${INTERFACE})`), message)
    t.true(
      message!.includes(`${join(folder, 'dist/lib/binding.js')} is of 99.1.2 (interface ${INTERFACE})`),
      message,
    )
    t.is(expected, `99.1.2/${INTERFACE}`)
    t.is(actual, `${version}/${INTERFACE}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
