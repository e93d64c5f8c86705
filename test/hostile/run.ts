/**
 * Runs damaged cases of one target in this process, which has no other work, so that its memory is theirs:
 *
 *   node dist/test/hostile/run.js TARGET [COUNT] [FIRST SEED]
 *
 * Prints a Report as JSON; a line per case on stderr with CLIP_VERBOSE. Ends with 1 when there are faults.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClipError } from '../../lib/index.js'
import { growth, measurable } from './memory.js'
import { Dice } from './mutate.js'
import { targets } from './targets.js'

export interface Report {
  taken: number
  refused: number
  slowestMs: number
  mostBytes: number
  /** False where the system does not tell how much memory a process had. */
  measured: boolean
  /** What was wrong, with the seed that repeats it. */
  faults: string[]
}

const LONGEST_MS = 20_000
/** Counted in turns of the event loop: a process that was stopped for a while is not taken for one that hangs. */
const TURN_MS = 100

async function main(name: string, count: number, first: number): Promise<Report> {
  const report: Report = {
    taken: 0,
    refused: 0,
    slowestMs: 0,
    mostBytes: 0,
    measured: measurable,
    faults: [],
  }
  const folder = await mkdtemp(join(tmpdir(), 'clip-native-hostile-'))
  try {
    const prepare = await targets[name]!(folder)
    for (let seed = first; seed < first + count && report.faults.length < 20; seed++) {
      const { what, act, codes, bytes } = await prepare(seed, new Dice(seed))
      const fault = (text: string) => report.faults.push(`${name}, ${what}, seed ${seed}: ${text}`)
      if (process.env.CLIP_VERBOSE) console.error(name, seed, what)
      // For what blocks this thread: the parent kills us, and the last line says where.
      let timer: NodeJS.Timeout | undefined
      const hang = new Promise<never>((_, reject) => {
        let turns = 0
        timer = setInterval(() => {
          if (++turns * TURN_MS > LONGEST_MS) reject(new Error(`nothing after ${LONGEST_MS} ms`))
        }, TURN_MS)
      })
      const start = performance.now()
      const grown = await growth(async () => {
        try {
          await Promise.race([act(), hang])
          report.taken++
        } catch (error) {
          report.refused++
          if (!(error instanceof ClipError)) fault((error as Error)?.stack ?? String(error))
          else if (!codes.includes(error.code)) fault(`${error.code} ${error.message}`)
          else if (!error.field && !error.file) fault(`names neither file nor field: ${error.message}`)
          else if (error.message.length > 2000)
            fault(`a message of ${error.message.length} characters: ${error.message.slice(0, 200)}`)
        } finally {
          clearInterval(timer)
        }
      })
      if (grown > bytes) fault(`grew by ${grown} bytes, more than ${bytes}`)
      report.slowestMs = Math.max(report.slowestMs, Math.round(performance.now() - start))
      report.mostBytes = Math.max(report.mostBytes, grown)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return report
}

const [name = '', count = '100', first = '0'] = process.argv.slice(2)
if (!targets[name]) {
  console.error(`Expected one of ${Object.keys(targets).join(', ')}, got ${name}`)
  process.exit(2)
}
const report = await main(name, Number(count), Number(first))
console.log(JSON.stringify(report))
// A worker thread of a decoder that hangs must not keep us.
process.exit(report.faults.length > 0 ? 1 : 0)
