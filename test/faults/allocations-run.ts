/**
 * Runs actions while allocations of the addon fail, in a process of its own with allocations.cc preloaded:
 *
 *     node allocations-run.js FOLDER MODEL STEP FIRST ACTION...
 *
 * For every STEP-th n, each action is run twice with failures: once with the n-th allocation failing, once with all from
 * the n-th on, which is what a machine without memory does. The call must give its result or ERR_CLIP_MEMORY, and the
 * same call without failures its result. Prints one line of JSON per action. FIRST=one|all: the addon is not loaded before,
 * so that its own start is under test; then only STEP itself is tried as n, because a process starts but once.
 */
import { isDeepStrictEqual } from 'node:util'
import { load } from '../../lib/index.js'
import { actions, type Stage } from './actions.js'
import { Orders } from './preload.js'

const [armed, first, count, seen, failed] = [0, 1, 2, 3, 4]
const [folder, model, stepText, atStart, ...names] = process.argv.slice(2)
const step = Number(stepText)
const orders = new Orders(process.env.CLIP_FAULTS!, 5)
const everything = 2 ** 40

process.on('warning', () => {}) // of caches that could not be written

async function under(n: number, howMany: number, run: () => Promise<unknown>) {
  orders.write(seen, 0)
  orders.write(failed, 0)
  orders.write(first, n)
  orders.write(count, howMany)
  orders.write(armed, 1)
  try {
    return { value: await run() }
  } catch (error) {
    return { error: error as Error & { code?: string } }
  } finally {
    orders.write(armed, 0)
  }
}

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

if (atStart) {
  const name = names[0]!
  const run = () => actions[name]!.run({ folder, model } as Stage)
  const { error } = await under(step, atStart === 'one' ? 1 : everything, run)
  if (error && error.code !== 'ERR_CLIP_MEMORY') throw error
  const failures = orders.read(failed)
  await run()
  say({ name, failures, memory: error ? 1 : 0 })
} else {
  const stage: Stage = { folder: folder!, model: model!, clip: await load(model, { threads: 2 }) }
  for (const name of names) {
    const { prepare, run } = actions[name]!
    await prepare?.(stage)
    const expected = await run(stage)
    await under(0, 0, () => run(stage))
    const allocations = orders.read(seen)
    const report = { name, allocations, failures: 0, memory: 0, results: 0 }
    // How many there are differs a little from run to run: on until nothing is left to fail.
    for (let n = 1; ; n += step) {
      let left = false
      for (const howMany of [1, everything]) {
        process.stderr.write(`${name}, allocation ${n}${howMany === 1 ? '' : ' and all after it'}\n`)
        const { value, error } = await under(n, howMany, () => run(stage))
        if (error && error.code !== 'ERR_CLIP_MEMORY') throw error
        if (!error && !isDeepStrictEqual(value, expected)) throw new Error('a wrong result under failure')
        report.failures += orders.read(failed) > 0 ? 1 : 0
        error ? report.memory++ : report.results++
        left ||= orders.read(failed) > 0
        if (!isDeepStrictEqual(await run(stage), expected)) throw new Error('a wrong result afterwards')
      }
      if (!left) break
    }
    say(report)
  }
  await stage.clip.dispose()
}
