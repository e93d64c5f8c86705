// Runs tests against build/sanitize/clip_native.node (npm run build:sanitize) with AddressSanitizer and
// UndefinedBehaviourSanitizer preloaded, because Node itself is not built with them.
//
//   node scripts/test-sanitize.mjs [--all] [compiled test files]   default: the kernel, checkpoint and error tests
//
// Without --all, as in .ci/run, which has a quarter of an hour, it leaves out the tests that run others again
// in their own processes or only compare numbers, and the comparison of the plain loops of `reference` with
// themselves.
//
// The test program of the CUDA kernels does not run in Node; npm run cuda:nightly builds it with the
// sanitizers.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const addon = join(root, 'build/sanitize/clip_native.node')
const fail = message => {
  console.error(message)
  process.exit(1)
}
if (process.platform !== 'linux') fail('The sanitizer run needs Linux and GCC.')
if (!existsSync(addon)) fail(`There is no ${addon}: run npm run build:sanitize first.`)

const library = name => {
  const path = execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim()
  if (!path.includes('/')) fail(`g++ has no ${name}: install the sanitizer libraries of GCC.`)
  return path
}

const all = process.argv.includes('--all')
const named = process.argv.slice(2).filter(argument => argument !== '--all')
const tests = readdirSync(join(root, 'dist/test'), { recursive: true })
  .map(file => file.replaceAll('\\', '/'))
  .filter(file => all || !/\/(features|golden|public|tiles|architectures)\.test\.js$/.test(file))
  .filter(file => /^(kernels|checkpoint)\/.*\.test\.js$|^(binding|errors|checkpoint)\.test\.js$/.test(file))
  .map(file => join('dist/test', file))
const files = named.length > 0 ? named : tests
if (files.length === 0) fail('There are no compiled tests: run npm run build:lib first.')

const { status, signal } = spawnSync(
  process.execPath,
  [join(root, 'node_modules/ava/entrypoints/cli.mjs'), '--timeout=10m', '--concurrency=2', ...files],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      CLIP_NATIVE_ADDON: addon,
      ...(all ? {} : { CLIP_TEST_WITHOUT: 'reference' }),
      LD_PRELOAD: `${library('libasan.so')}:${library('libubsan.so')}`,
      // Node does not free memory at exit, so leaks are not reported. A fault must end the process, so that
      // the run fails.
      ASAN_OPTIONS: 'detect_leaks=0:halt_on_error=1:abort_on_error=1',
      UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
    },
  },
)
process.exit(signal ? 1 : status)
