// npm run test:tsan: runs the thread pool and the model queue under ThreadSanitizer, without Node, which is
// not built for it (test/tsan/queue_stress.cc). First a deliberate race, which the sanitizer must report;
// then rounds in which it must report nothing.
//
//   node scripts/test-tsan.mjs [--rounds 60] [--seed 0]
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '60' }, seed: { type: 'string', default: '0' } },
})
if (process.platform !== 'linux') {
  console.error('The ThreadSanitizer run needs Linux.')
  process.exit(1)
}
const build = 'build/tsan-stress'
function must(command, args) {
  if (spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status !== 0) process.exit(1)
}
must('cmake', ['-S', 'test/tsan', '-B', build])
must('cmake', ['--build', build, '--parallel', process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? '2'])

const program = join(root, build, 'queue_stress')
/**
 * Without address-space randomisation if the system allows it: some kernels place memory where the sanitizer
 * has its own.
 */
const prefix = spawnSync('setarch', ['-R', 'true']).status === 0 ? ['setarch', '-R'] : []
function stress(...args) {
  const [command, ...rest] = [...prefix, program, ...args]
  return spawnSync(command, rest, {
    encoding: 'utf8',
    env: { ...process.env, TSAN_OPTIONS: 'exitcode=66:halt_on_error=0' },
  })
}
const race = stress('race')
const reported = race.status === 66 && /WARNING: ThreadSanitizer: data race/.test(race.stderr)
console.log(`${reported ? 'ok' : 'not ok'} a race on purpose is reported`)
if (!reported) console.log(race.stdout + race.stderr)
const { status, signal, stdout, stderr } = stress(values.rounds, values.seed)
console.log(stdout.trim())
if (status !== 0) console.log(stderr)
console.log(`${status === 0 ? 'ok' : `not ok (${signal ?? status})`} the pool and the queue have none`)
process.exit(reported && status === 0 ? 0 : 1)
