/**
 * Runs actions while calls of the operating system fail, in a process of its own with system.cc preloaded:
 *
 *     node system-run.js FOLDER MODEL STEP ATSTART ACTION...
 *
 * For each way to fail and every STEP-th n, each action is run with the n-th such call failing, and with all from the
 * n-th on. It must give its result, or an error that names the file; half a read or write and EINTR must be continued, so
 * only the result will do. What was acknowledged must be there afterwards, and the same call must work. Prints one line
 * of JSON per action and way. ATSTART: a way; no action has run before, and only STEP itself is tried.
 */
import { constants } from 'node:os'
import { isDeepStrictEqual } from 'node:util'
import { load } from '../../lib/index.js'
import type { Stage } from './actions.js'
import { Orders } from './preload.js'
import { decodeActions, systemActions } from './system-actions.js'

const [armed, call, how, first, count, seen, failed] = [0, 1, 2, 3, 4, 5, 6]
const { EMFILE, EIO, EINTR, ENOSPC, ENOMEM, EAGAIN } = constants.errno
const half = -1

/** Twin of Call in system.cc. */
const calls = ['open', 'stat', 'read', 'write', 'sync', 'rename', 'map', 'thread'] as const
interface Way {
  call: (typeof calls)[number]
  how: number
  name: string
  /** Must not be noticed. */
  harmless?: boolean
}
export const ways: Way[] = [
  { call: 'open', how: EMFILE, name: 'open: EMFILE' },
  { call: 'stat', how: EIO, name: 'stat: EIO' },
  { call: 'read', how: EIO, name: 'read: EIO' },
  { call: 'read', how: EINTR, name: 'read: EINTR', harmless: true },
  { call: 'read', how: half, name: 'read: half', harmless: true },
  { call: 'write', how: ENOSPC, name: 'write: ENOSPC' },
  { call: 'write', how: EINTR, name: 'write: EINTR', harmless: true },
  { call: 'write', how: half, name: 'write: half', harmless: true },
  { call: 'sync', how: EIO, name: 'sync: EIO' },
  { call: 'rename', how: EIO, name: 'rename: EIO' },
  { call: 'map', how: ENOMEM, name: 'map: ENOMEM' },
  { call: 'thread', how: EAGAIN, name: 'thread: EAGAIN' },
]

const known = { ...systemActions, ...decodeActions }
const [folder, model, stepText, atStart, ...names] = process.argv.slice(2)
const step = Number(stepText)
const orders = new Orders(process.env.CLIP_FAULTS!, 7)
const everything = 2 ** 40

process.on('warning', () => {}) // of caches that could not be written

async function under(way: Way, n: number, howMany: number, run: () => Promise<unknown>) {
  orders.write(call, calls.indexOf(way.call))
  orders.write(how, way.how)
  orders.write(seen, 0)
  orders.write(failed, 0)
  orders.write(first, n)
  orders.write(count, howMany)
  orders.write(armed, 1)
  try {
    return { value: await run() }
  } catch (error) {
    return { error: error as Error & { code?: string; file?: string } }
  } finally {
    orders.write(armed, 0)
  }
}

/** What is wrong with an error; undefined when it is one of ours that names a file below the folder of the test. */
function wrongWith(way: Way, error: Error & { code?: string; file?: string }): string | undefined {
  const { code, file, message } = error
  if (typeof code !== 'string' || !/^ERR_CLIP_(?!INTERNAL)/.test(code)) return 'an error that is not typed'
  if (way.harmless) return 'an error'
  if (way.call === 'map' || way.call === 'thread')
    return code === 'ERR_CLIP_MEMORY' ? undefined : 'an error that is not of memory'
  const root = process.env.CLIP_FAULTS_FOLDER!
  return file?.startsWith(root) && message.includes(file) ? undefined : 'an error that names no file'
}
const told = (error: unknown) => `${(error as Error)?.stack ?? error}`.split('\n', 6).join('\n')

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

if (atStart) {
  const way = ways.find(one => one.name === atStart)!
  const stage = { folder, model } as Stage
  for (const name of names) await known[name]!.prepare?.(stage)
  for (const name of names) {
    const { error } = await under(way, step, everything, () => known[name]!.run(stage))
    const failures = orders.read(failed)
    const wrong = error && wrongWith(way, error)
    const problems = wrong ? [`${wrong}: ${told(error)}`] : []
    say({ name, way: way.name, failures, errors: error ? 1 : 0, results: error ? 0 : 1, problems })
  }
  for (const name of names) await known[name]!.run(stage)
} else {
  const stage: Stage = { folder: folder!, model: model!, clip: await load(model, { threads: 2 }) }
  for (const name of names) {
    const { prepare, renew, run, after } = known[name]!
    await prepare?.(stage)
    await renew?.(stage)
    const expected = await run(stage)
    for (const way of ways) {
      const problems: string[] = []
      const report = { name, way: way.name, failures: 0, errors: 0, results: 0, problems }
      for (let n = 1; ; n += step) {
        let left = false
        for (const howMany of way.how === EINTR ? [1] : [1, everything]) {
          const where = `${n}${howMany === 1 ? '' : ' and all after it'}`
          process.stderr.write(`${name}, ${way.name} ${where}\n`)
          await renew?.(stage)
          const { value, error } = await under(way, n, howMany, () => run(stage))
          const failures = orders.read(failed)
          const wrong = error
            ? failures === 0
              ? 'an error without a fault'
              : wrongWith(way, error)
            : isDeepStrictEqual(value, expected)
              ? undefined
              : 'another result'
          if (wrong) problems.push(`${where}: ${wrong}${error ? `: ${told(error)}` : ''}`)
          if (failures > 0) {
            report.failures++
            error ? report.errors++ : report.results++
            left = true
          }
          try {
            if (after) await after(stage)
            else if (!isDeepStrictEqual(await run(stage), expected))
              problems.push(`${where}, then: another result`)
          } catch (error) {
            problems.push(`${where}, then: ${told(error)}`)
          }
        }
        if (!left) break
      }
      if (report.failures || problems.length) say(report)
    }
  }
  await stage.clip.dispose()
}
