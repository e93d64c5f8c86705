/** How the addon is found, and what is said where none fits: in copies of the package, so that nothing here is touched. */

import { execFile, execFileSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot, version } from '../lib/base/package.js'
import { checkLoads } from '../lib/cli/build.js'
import { INTERFACE } from '../lib/native/addon.js'
import { checkWholeFile } from '../lib/native/whole-file.js'

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

const opening = (folder: string) => `
    const { binding } = await import(${JSON.stringify(join(folder, 'dist/lib/native/addon.js'))})
    try { console.log(JSON.stringify({ version: binding().version })) }
    catch (e) { console.log(JSON.stringify({ ...e, message: e.message })) }`

/** What binding() gives or throws there. */
function open(folder: string, env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--input-type=module', '-e', opening(folder)],
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

test('a prebuilt addon is used, and a file that is not an addon is named', async t => {
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

test('an addon of another build than lib is refused, and both files are named', async t => {
  const folder = copy('99.1.2')
  try {
    const { code, message, file, expected, actual } = await open(folder, { CLIP_NATIVE_ADDON: addon })
    t.is(code, 'ERR_CLIP_BACKEND')
    t.is(file, addon)
    t.true(message!.includes(`${addon} is of clip-native ${version} (interface ${INTERFACE})`), message)
    t.true(
      message!.includes(`${join(folder, 'dist/lib/native/addon.js')} is of 99.1.2 (interface ${INTERFACE})`),
      message,
    )
    t.is(expected, `99.1.2/${INTERFACE}`)
    t.is(actual, `${version}/${INTERFACE}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test("the loader's reason for refusing an existing file is reported, with what to do", async t => {
  const folder = copy()
  const place = join(folder, 'prebuilds', `${process.platform}-${process.arch}`)
  const file = join(place, 'clip-native.node')
  mkdirSync(place, { recursive: true })
  const library = (name: string, source: string) => {
    writeFileSync(join(folder, `${name}.c`), source)
    execFileSync('cc', ['-shared', '-fPIC', '-o', file, join(folder, `${name}.c`)])
  }
  const says = async (...expected: (string | RegExp)[]) => {
    const outcome = await open(folder)
    t.is(outcome.code, 'ERR_CLIP_BACKEND')
    t.is(outcome.file, file)
    t.true(outcome.message!.includes(`The native addon ${file} exists, but can't be loaded`), outcome.message)
    for (const one of expected) t.regex(outcome.message!, new RegExp(one))
    t.notRegex(outcome.message!, /No native addon/)
  }
  try {
    if (process.platform === 'linux') {
      writeFileSync(file, 'no addon')
      await says(/invalid ELF header|file too short/, 'It is damaged, or for another processor or system')
      library(
        'symbol',
        'void missing_in_every_node(void); void *keep(void) { return missing_in_every_node; }',
      )
      await says('undefined symbol', 'built for another program or version')
      library('none', 'int nothing;')
      await says('self-register', 'built for another program or version')
      // As under `ulimit -v`: more address space than there is.
      library('huge', 'char huge[1ul << 47];')
      await says('failed to map segment', /is not allowed the memory or address space.*ulimit -v/)
      cpSync(addon, file)
      const bytes = readFileSync(file)
      writeFileSync(file, bytes.subarray(0, 30))
      await says('file too short', 'It is damaged')
      // Another processor: e_machine of the ELF header.
      bytes.writeUInt16LE(process.arch === 'x64' ? 183 : 62, 18)
      writeFileSync(file, bytes)
      await says('for another processor or system')
    } else {
      writeFileSync(file, 'no addon')
      await says()
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a truncated addon is named, wherever it ends', async t => {
  const bytes = readFileSync(addon)
  if (bytes.readUInt32BE(0) !== 0x7f454c46)
    return t.pass('loaders of other systems look at the size themselves')
  const folder = mkdtempSync(join(tmpdir(), 'clip-native-cut-'))
  const file = join(folder, 'cut.node')
  try {
    t.notThrows(() => checkWholeFile(addon))
    writeFileSync(file, bytes)
    // glibc loads what lacks only the section headers; everything before them ends the process with SIGBUS.
    for (let length = bytes.length - 1; length > 64; length -= 1 + Math.floor(bytes.length / 40)) {
      truncateSync(file, length)
      t.throws(() => checkWholeFile(file), { message: new RegExp(`it has ${length} bytes of the \\d+`) })
    }
    for (const length of [bytes.length - 1, Math.floor(bytes.length / 2), 4096]) {
      writeFileSync(file, bytes.subarray(0, length))
      const outcome = await open(packageRoot, { CLIP_NATIVE_ADDON: file })
      t.is(outcome.code, 'ERR_CLIP_BACKEND')
      t.is(outcome.file, file)
      t.regex(outcome.message!, /file too short.* It is damaged.* Install the package again/)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test("an addon of another package is distinguished from this package's", async t => {
  const folder = copy()
  try {
    const other = join(folder, 'other.js')
    writeFileSync(other, 'module.exports = {}')
    const { code, message } = await open(folder, { CLIP_NATIVE_ADDON: other })
    t.is(code, 'ERR_CLIP_BACKEND')
    t.is(message, `${other} is a Node addon, but not clip-native's`)
    const missing = join(folder, 'missing.node')
    t.regex(
      (await open(folder, { CLIP_NATIVE_ADDON: missing })).message!,
      /^No native addon for .*: CLIP_NATIVE_ADDON names .*missing\.node, which does not exist\. Build it with: /,
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('prebuilt addons for another C library are named', async t => {
  if (process.platform !== 'linux')
    return t.pass('prebuilt addons have a C library in their name on Linux only')
  const folder = copy()
  const place = join(folder, 'prebuilds', `linux-${process.arch}`)
  mkdirSync(place, { recursive: true })
  try {
    cpSync(addon, join(place, 'clip-native.glibc.node'))
    const { code, message } = await open(folder, { LIBC: 'musl' })
    t.is(code, 'ERR_CLIP_BACKEND')
    t.true(
      message!.includes('There is clip-native.glibc.node, but for another C library than this system'),
      message,
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

const doctor = (env: NodeJS.ProcessEnv) =>
  new Promise<{ code: number; stdout: string }>(resolve => {
    execFile(
      process.execPath,
      [join(packageRoot, 'dist/lib/cli/main.js'), 'doctor', '--json'],
      { env: { ...process.env, ...env } },
      (error, stdout) => resolve({ code: error ? Number(error.code) : 0, stdout }),
    )
  })

test('doctor diagnoses a missing addon and invalid environment variables', async t => {
  const missing = await doctor({ CLIP_NATIVE_ADDON: '/nowhere/clip.node' })
  t.is(missing.code, 1)
  const { ok, error, version: own } = JSON.parse(missing.stdout)
  t.deepEqual([ok, error.code, own], [false, 'ERR_CLIP_BACKEND', version])
  t.regex(error.message, /CLIP_NATIVE_ADDON names \/nowhere\/clip\.node, which does not exist/)
  const environment = await doctor({ CLIP_NATIVE_BACKEND: 'nonsense' })
  t.is(environment.code, 1)
  t.is(JSON.parse(environment.stdout).error.field, 'CLIP_NATIVE_BACKEND')
})

test('clip-native build loads what it has built', async t => {
  // The build itself takes minutes: scripts/test-package.mjs runs it.
  await t.notThrowsAsync(checkLoads())
})
