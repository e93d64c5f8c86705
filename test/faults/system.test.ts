import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import sharp from 'sharp'
import { isNightly } from '../helpers/nightly.js'
import { writeTinyModel } from '../helpers/tiny-model.js'
import { build, type Ended, missing, Orders, preloaded } from './preload.js'
import { decodeActions, decoded, systemActions } from './system-actions.js'

const here = missing ? test.skip : test.serial
// One after the other: each takes a processor.
const everyNight = !missing && isNightly ? test.serial : test.serial.skip
const why = missing ? ` (${missing})` : ''

// What fails lies below `root`; what the test itself needs to read does not.
const root = await mkdtemp(join(tmpdir(), 'clip-system-'))
const own = await mkdtemp(join(tmpdir(), 'clip-orders-'))
test.after.always(async () => {
  for (const folder of [root, own]) await rm(folder, { recursive: true, force: true })
})
let library = ''
let model = ''
test.before(async () => {
  if (missing) return
  library = await build('system', own)
  const drawn = sharp({ create: { width: 90, height: 60, channels: 3, background: '#36c' } })
  for (const name of decoded.slice(0, -1)) await drawn.clone().toFile(join(root, name))
  await writeFile(
    join(root, decoded.at(-1)!),
    '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text y="9">a</text></svg>',
  )
  model = await writeTinyModel(join(root, 'model'), { layers: 1, contextLength: 16 })
})

interface Report {
  name: string
  way: string
  failures: number
  errors: number
  results: number
  problems: string[]
}

let runs = 0
async function run(step: number, atStart: string, names: string[], seconds?: number): Promise<Ended> {
  const folder = join(root, `${runs}`)
  const orders = Orders.make(join(own, `${runs++}`), 7)
  await mkdir(folder)
  const args = [folder, model, `${step}`, atStart, ...names]
  const env = { CLIP_FAULTS_FOLDER: `${root}/`, UV_USE_IO_URING: '0' }
  return preloaded(library, orders, 'system-run', args, { env, ...(seconds ? { seconds } : {}) })
}

/** The reports, when every call and the one after it did what they must. */
function check(t: ExecutionContext, ended: Ended): Report[] {
  t.is(ended.end, 0, ended.stderr.split('\n').slice(-30).join('\n'))
  const reports: Report[] = ended.stdout
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line))
  for (const { name, way, problems } of reports) t.deepEqual(problems, [], `${name}, ${way}`)
  return reports
}

/** What each is sure to do, so that a call which is no longer intercepted is noticed. */
const opensAndReads = ['open: EMFILE', 'stat: EIO', 'read: EIO', 'read: EINTR', 'read: half']
const writes = ['write: ENOSPC', 'write: EINTR', 'write: half']
const surely: Record<string, string[]> = {
  'load float32': opensAndReads,
  'load bfloat16': opensAndReads,
  'load int8': opensAndReads,
  'load with a vocabulary': opensAndReads,
  'load with packCache, first': [...opensAndReads, ...writes, 'rename: EIO'],
  'load with packCache, again': [...opensAndReads, 'map: ENOMEM'],
  download: ['open: EMFILE', 'stat: EIO', ...writes, 'sync: EIO', 'rename: EIO'],
  'encodeImage of a file': opensAndReads,
  openMatrix: opensAndReads,
  'classifier.save': ['open: EMFILE', ...writes, 'sync: EIO', 'rename: EIO'],
  'a classifier, loaded': opensAndReads,
  'store, create': ['open: EMFILE', ...writes, 'sync: EIO', 'rename: EIO'],
  'store, add': [...opensAndReads, ...writes, 'sync: EIO'],
  'store, search': opensAndReads,
  'store, compact': [...opensAndReads, ...writes],
  'store, export': [...opensAndReads, ...writes, 'rename: EIO', 'thread: EAGAIN'],
  'store, merge': [...opensAndReads, ...writes, 'sync: EIO'],
}

function injected(t: ExecutionContext, reports: Report[], names: string[]) {
  for (const name of names)
    for (const way of surely[name] ?? []) {
      const found = reports.find(one => one.name === name && one.way === way)
      t.true((found?.failures ?? 0) > 0, `${name}: no ${way} was injected`)
    }
}

const quick = [
  'encodeImage of a file',
  'openMatrix',
  'classifier.save',
  'a classifier, loaded',
  'store, search',
]
const sparse = ['store, create', 'store, add', 'load with packCache, again']

here(`if file operations fail, every function settles, and the next call works (a sample)${why}`, async t => {
  injected(t, check(t, await run(1, '', quick)), quick)
  check(t, await run(13, '', sparse))
})

here(`if no thread can be started, a call reports it, and the next one works${why}`, async t => {
  const [report] = check(t, await run(1, 'thread: EAGAIN', ['linear']))
  t.true(report!.failures > 0 && report!.errors === 1)
  // With one thread there is somebody to do the work.
  const [second] = check(t, await run(2, 'thread: EAGAIN', ['linear']))
  t.is(second!.errors, 0)
})

here(
  `if no thread can be started, no image is reported as unreadable, and the next one is decoded${why}`,
  async t => {
    const names = Object.keys(decodeActions)
    for (const { name, failures, errors } of check(t, await run(1, 'thread: EAGAIN', names)))
      t.true(failures > 0 && errors === 1, name)
    // WebP's decoder starts a thread of its own after the one of libvips.
    const [webp] = check(t, await run(2, 'thread: EAGAIN', ['decode image.webp']))
    t.true(webp!.failures > 0 && webp!.errors === 1)
  },
)

for (const name of Object.keys(systemActions))
  everyNight(`if any system call fails, ${name} settles, and the next call works${why}`, async t => {
    t.timeout(3_600_000)
    const ended = await run(1, '', [name], 3000)
    const reports = check(t, ended)
    injected(t, reports, [name])
    t.log(reports.map(({ way, failures, errors }) => `${way} ${failures}, ${errors} errors`).join('; '))
  })
