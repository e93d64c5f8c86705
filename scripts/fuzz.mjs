// npm run fuzz: hostile input for everything that parses. First the native core without the binding, under
// AddressSanitizer and UndefinedBehaviourSanitizer: seeded mutations, then (if clang is installed)
// coverage-guided targets with the corpus in test/fuzz/corpus. Then damaged files through the public API of
// the normal build.
//
//   node scripts/fuzz.mjs [--cases N] [--seconds N] [--files N] [--seed N] [--native] [--api]
//
//   --cases    native mutations; default 100000
//   --limit    the longest time for them in seconds; default none
//   --seconds  per coverage-guided target; default 60, 0 = none
//   --files    damaged files of each kind through the public API; default 10000
//   --seed     the first seed; default 0
//   --native, --api   run only that half
//   --quick    builds native/ without the kernels of AVX2 and AVX-512, which take most of the build, and runs
//              only the coverage-guided targets, which is what .ci/run has time for
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    limit: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '60' },
    files: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '0' },
    native: { type: 'boolean', default: false },
    api: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})
const both = !values.quick && values.native === values.api
const fuzzTargets = ['weights', 'image', 'tokens', 'vocabulary']
let failed = 0

function run(title, command, args, options = {}) {
  console.log(`== ${title}`)
  const started = Date.now()
  const { status, signal } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options })
  const ok = status === 0
  console.log(
    `== ${title}: ${ok ? 'held' : `FAILED (${signal ?? status})`}, ${Math.round((Date.now() - started) / 1000)} s`,
  )
  if (!ok) failed++
  return ok
}

const runs = command => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0

function native() {
  if (process.platform !== 'linux') return console.log('The native half needs Linux: skipped.')
  const clang = runs('clang++')
  if (values.quick && !clang) {
    failed++
    return console.log('The coverage-guided targets need clang and its runtime (clang, libclang-rt-14-dev).')
  }
  const build = join('build', values.quick ? 'fuzz-quick' : clang ? 'fuzz-clang' : 'fuzz-gcc')
  const compiler = `-DCMAKE_CXX_COMPILER=${clang ? 'clang++' : 'g++'}`
  const options = [compiler, `-DCLIP_WITHOUT_X86=${values.quick ? 'ON' : 'OFF'}`]
  if (!run('configure', 'cmake', ['-S', 'test/fuzz', '-B', build, ...options])) return
  const targets = values.quick ? ['--target', ...fuzzTargets.map(target => `fuzz_${target}`)] : []
  const parallel = process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? '2'
  if (!run('build', 'cmake', ['--build', build, '--parallel', parallel, ...targets])) return
  const folder = join(root, build)
  if (!values.quick)
    run('native mutations', join(folder, 'weights_mutations'), [values.cases, values.seed, values.limit])
  if (values.seconds === '0') return
  if (!clang)
    return console.log(
      'Coverage-guided targets need clang and its runtime (clang, libclang-rt-14-dev): skipped.',
    )
  for (const target of fuzzTargets) {
    const found = join(folder, 'found', target)
    const faults = join(folder, 'faults', target)
    mkdirSync(found, { recursive: true })
    mkdirSync(faults, { recursive: true })
    const limits = ['-timeout=20', '-rss_limit_mb=1500', '-max_len=512', '-verbosity=0', '-len_control=0']
    run(`fuzz ${target} for ${values.seconds} s`, join(folder, `fuzz_${target}`), [
      `-max_total_time=${values.seconds}`,
      `-artifact_prefix=${faults}/`,
      '-print_final_stats=1',
      ...limits,
      found,
      join('test/fuzz/corpus', target),
    ])
    const kept = readdirSync(faults)
    if (kept.length > 0) console.log(`   what it found: ${kept.map(name => join(faults, name)).join(', ')}`)
  }
}

function api() {
  const script = join(root, 'dist/test/hostile/run.js')
  if (!existsSync(script)) {
    failed++
    return console.log('There are no compiled tests: run npm run build first.')
  }
  for (const target of ['zip', 'pickle', 'json', 'merges', 'images', 'vocabularies'])
    run(`${values.files} damaged ${target}`, process.execPath, [script, target, values.files, values.seed])
}

if (both || values.native || values.quick) native()
if (both || values.api) api()
process.exit(failed > 0 ? 1 : 0)
