import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { nightly } from '../helpers/nightly.js'
import { writeTinyModel } from '../helpers/tiny-model.js'
import { actions } from './actions.js'
import { build, type Ended, missing, Orders, preloaded } from './preload.js'

const here = missing ? test.skip : test.serial
const everyNight = missing ? test.skip : nightly
const why = missing ? ` (${missing})` : ''

const root = await mkdtemp(join(tmpdir(), 'clip-allocations-'))
test.after.always(() => rm(root, { recursive: true, force: true }))
let library = ''
let model = ''
test.before(async () => {
  if (missing) return
  library = await build('allocations', root)
  model = await writeTinyModel(join(root, 'model'), { layers: 1, contextLength: 16 })
})

interface Report {
  name: string
  allocations: number
  failures: number
  memory: number
  results: number
}

let runs = 0
async function run(step: number, atStart: '' | 'one' | 'all', names: string[]): Promise<Ended> {
  const folder = join(root, `${runs++}`)
  const orders = Orders.make(`${folder}-orders`, 5)
  await mkdir(folder)
  return preloaded(library, orders, 'allocations-run', [folder, model, `${step}`, atStart, ...names], {
    seconds: step === 1 ? 3000 : 240, // every n of a load is some thousand loads
  })
}

const reports = ({ stdout }: Ended): Report[] =>
  stdout
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line))
/** What is left to read when a process did not end well: where it was, and what it said. */
const last = ({ stderr }: Ended) => stderr.split('\n').slice(-30).join('\n')

const all = Object.keys(actions)
const loads = all.filter(name => name.startsWith('load'))
const others = all.filter(name => !name.startsWith('load'))
/** What allocates nothing in the addon. */
const none = ['store, open', 'store, compact', 'store, export']

function check(t: ExecutionContext, ended: Ended, names: string[]) {
  t.is(ended.end, 0, last(ended))
  const told = reports(ended)
  t.is(told.map(r => r.name).join(), names.join())
  for (const { name, failures, memory } of told)
    if (!none.includes(name)) t.true(failures > 0 && memory > 0, `${name}: nothing failed`)
}

here(`if an allocation fails, every function settles, and the next call works (a sample)${why}`, async t => {
  check(t, await run(7, '', others), others)
})

here(`if an allocation fails, loading settles, and the next load works (a sample)${why}`, async t => {
  check(t, await run(411, '', loads), loads)
})

here(`if an allocation fails while the addon starts, the next call starts it (a sample)${why}`, async t => {
  let failures = 0
  for (const [n, how] of [
    [1, 'one'],
    [2, 'all'],
    [9, 'all'],
    [23, 'one'],
    [40, 'all'],
  ] as const) {
    const ended = await run(n, how, ['cosineTopK'])
    t.is(ended.end, 0, `${n}, ${how}: ${last(ended)}`)
    failures += reports(ended)[0]!.failures
  }
  t.true(failures > 3)
})

everyNight(`if any allocation fails, every function settles, and the next call works${why}`, async t => {
  t.timeout(3_600_000)
  for (const name of all) {
    const ended = await run(1, '', [name])
    check(t, ended, [name])
    t.log(ended.stdout)
  }
})

everyNight(`if any allocation fails while the addon starts, the next call starts it${why}`, async t => {
  let tried = 0
  // Without a single allocation the C++ library can't even throw: 'all' begins with the second.
  for (const how of ['one', 'all'] as const)
    for (let n = how === 'one' ? 1 : 2; ; n++) {
      const ended = await run(n, how, ['cosineTopK'])
      t.is(ended.end, 0, `${n}, ${how}: ${last(ended)}`)
      if (reports(ended)[0]!.failures === 0) break
      tried++
    }
  t.log(`${tried} starts`)
  t.true(tried > 60)
})
