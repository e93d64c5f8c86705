/**
 * A folder of photographs into a store, as `clip-native embed FOLDER --store` does it: images per second, and how busy the
 * cores are meanwhile.
 *
 *   npm run bench:folder                                   # ViT-B/32 with random weights, made-up photographs
 *   npm run bench:folder -- --photo IMG.jpg --count 96     # copies of a photograph of your own
 *   taskset -c 0 npm run bench:folder -- --threads 1       # one core, one thread
 *
 * `busy` is processor time / (wall time x cores): what is missing from 100 % is time in which a core waited, for work or, on
 * a shared machine, for other processes. `runnable` counts the time in which a thread was ready to run, but another process
 * had the core, as well (Linux): on a busy machine it says whether this process had work for every core. It exceeds 100 %
 * where more threads are ready than there are cores.
 */

import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Clip, type Dtype, imageFiles, load } from '../lib/index.js'
import { model } from './cases.js'
import { photograph } from './images.js'
import { machine } from './machine.js'
import { randomModel } from './random-model.js'
import { columns, median } from './stats.js'

interface Run {
  wall: number
  processor: number
  /** Undefined where the system does not say. */
  waited: number | undefined
}

/** Milliseconds that threads of this process were ready to run and did not, since they started. */
function waitedMs(): number | undefined {
  try {
    const of = (task: string) =>
      Number(readFileSync(`/proc/self/task/${task}/schedstat`, 'utf8').split(' ')[1])
    return readdirSync('/proc/self/task').reduce((sum, task) => sum + of(task), 0) / 1e6
  } catch {
    return undefined
  }
}

async function embed(clip: Clip, folder: string, scratch: string, decode: 'exact' | 'fast'): Promise<Run> {
  const at = mkdtempSync(join(scratch, 'store-'))
  await using store = await clip.openStore(join(at, 'store'), { create: true })
  const [processor, waited, wall] = [process.cpuUsage(), waitedMs(), performance.now()]
  const { added } = await store.add(imageFiles(folder), { decode })
  const ended = performance.now()
  const { user, system } = process.cpuUsage(processor)
  const now = waitedMs()
  if (added === 0) throw new Error(`${folder} has no images.`)
  return {
    wall: (ended - wall) / added,
    processor: (user + system) / 1e3 / added,
    waited: waited === undefined || now === undefined ? undefined : (now - waited) / added,
  }
}

const { values } = parseArgs({
  options: {
    photo: { type: 'string', multiple: true },
    count: { type: 'string', default: '64' },
    model: { type: 'string' },
    dtype: { type: 'string', multiple: true, default: ['float32', 'bfloat16'] },
    threads: { type: 'string', multiple: true, default: ['2'] },
    rounds: { type: 'string', default: '3' },
  },
})
const scratch = mkdtempSync(join(tmpdir(), 'clip-native-folder-'))
try {
  console.log(JSON.stringify(machine()))
  const photos = values.photo ?? [await photograph(4032, 3024), await photograph(1155, 866)]
  const folders = photos.map((photo, i) => {
    const folder = join(scratch, `photos-${i}`)
    mkdirSync(folder)
    for (let n = 0; n < Number(values.count); n++) copyFileSync(photo, join(folder, `${n}.jpg`))
    return { photo, folder }
  })
  const cores = availableParallelism()
  const rows = [['', 'images/s', 'wall, ms', 'processor, ms', 'busy', 'runnable']]
  const source = values.model ?? (await randomModel(model('ViT-B/32')))
  for (const dtype of values.dtype as Dtype[])
    for (const threads of values.threads.map(Number)) {
      await using clip = await load(source, { towers: ['image'], dtype, threads })
      for (const { photo, folder } of folders) {
        const runs: Record<'exact' | 'fast', Run[]> = { exact: [], fast: [] }
        for (let round = 0; round <= Number(values.rounds); round++)
          for (const decode of ['exact', 'fast'] as const) {
            const run = await embed(clip, folder, scratch, decode)
            if (round > 0) runs[decode].push(run)
          }
        for (const decode of ['exact', 'fast'] as const) {
          const of = (what: (run: Run) => number) => median(runs[decode].map(what))
          const [wall, processor] = [of(run => run.wall), of(run => run.processor)]
          rows.push([
            `${photo.replace(/.*\//, '')} ${dtype} ${threads} thread(s) ${decode}`,
            (1000 / wall).toFixed(1),
            wall.toFixed(1),
            processor.toFixed(1),
            `${((100 * processor) / wall / cores).toFixed(0)} %`,
            `${of(run => (100 * (run.processor + (run.waited ?? 0))) / run.wall / cores).toFixed(0)} %`,
          ])
        }
      }
    }
  console.log(columns(rows))
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
