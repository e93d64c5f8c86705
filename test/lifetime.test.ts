/** Beginnings and ends: aborts, dispose, worker threads that come and go, process exit, and memory over many cycles. */

import test, { type ExecutionContext } from 'ava'
import { load } from '../lib/index.js'
import { child, lib, type Outcome } from './helpers/child.js'
import { randomBytes } from './helpers/random.js'

const image = (seed: number) => ({
  data: randomBytes(seed, 72 * 72 * 3),
  width: 72,
  height: 72,
  channels: 3 as const,
})
const images = (n: number) => Array.from({ length: n }, (_, i) => image(i))

/** The same for scripts in other processes and threads. */
const prelude = `
import { load } from '${lib('index')}'
const images = n => Array.from({ length: n }, (_, i) => ({
  data: new Uint8Array(72 * 72 * 3).map((_, j) => (i * 31 + j * 17) & 255), width: 72, height: 72, channels: 3,
}))
`

/** A DOMException is no Error to throwsAsync. */
const nameOfFailure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no failure',
    (error: Error) => error.name,
  )

/** The expression of a URL that a Worker takes a module's text from. */
const asUrl = (code: string): string =>
  `new URL(${JSON.stringify(`data:text/javascript,${encodeURIComponent(code)}`)})`

function ended(t: ExecutionContext, { end, stdout, stderr }: Outcome, want: string): void {
  t.is(end, 0, stderr)
  t.is(stdout, want, stderr)
}

test('an aborted call rejects with signal.reason, and other calls continue', async t => {
  await using clip = await load(undefined, { threads: 1 })
  const alone = await clip.encodeImage(image(7))
  const reason = new Error('changed my mind')
  const abort = new AbortController()
  const running = clip.encodeImage(images(60))
  // In the middle of it, however fast or slow the machine is.
  const withdrawn = clip.encodeImage(images(600), {
    signal: abort.signal,
    onProgress: ({ done, total }) => {
      t.true(done < total || abort.signal.aborted)
      abort.abort(reason)
    },
  })
  const neighbour = clip.encodeImage(image(7))
  t.is(
    await withdrawn.then(
      () => 'encoded',
      error => error,
    ),
    reason,
  )
  t.is((await running).shape[0], 60)
  t.deepEqual([...(await neighbour).data], [...alone.data])
})

test('a call with a signal that is aborted already rejects at once', async t => {
  await using clip = await load()
  t.is(await nameOfFailure(clip.encodeText('x', { signal: AbortSignal.abort() })), 'AbortError')
  t.is(await nameOfFailure(load(undefined, { signal: AbortSignal.abort() })), 'AbortError')
})

test('an abort ends loading', async t => {
  const abort = new AbortController()
  const loading = load(undefined, { signal: abort.signal })
  setImmediate(() => abort.abort())
  t.is(await nameOfFailure(loading), 'AbortError')
})

test('dispose lets running jobs finish, rejects later calls, and can be called twice', async t => {
  const clip = await load(undefined, { threads: 1 })
  const calls = Array.from({ length: 20 }, () => clip.encodeImage(images(8)))
  const settled = Promise.allSettled(calls)
  const first = clip.dispose()
  await Promise.all([first, clip.dispose()])
  for (const call of await settled)
    if (call.status === 'rejected') t.is(call.reason.code, 'ERR_CLIP_DISPOSED')
    else t.is(call.value.shape[0], 8)
  await t.throwsAsync(clip.encodeImage(image(1)), { code: 'ERR_CLIP_DISPOSED' })
  await t.throwsAsync(clip.encodeText('x'), { code: 'ERR_CLIP_DISPOSED' })
  await clip.dispose()
})

test('calls that wait together are computed together, with the same bits', async t => {
  await using clip = await load(undefined, { threads: 2 })
  const alone: Float32Array[] = []
  for (let i = 0; i < 12; i++) alone.push((await clip.encodeImage(image(i))).data)
  const together = await Promise.all(Array.from({ length: 12 }, (_, i) => clip.encodeImage(image(i))))
  together.forEach((got, i) => {
    t.deepEqual(Buffer.from(got.data.buffer), Buffer.from(alone[i].buffer))
  })
  const texts = ['a', 'a photo of a dog', 'an icon of a bicycle', 'dog dog dog dog dog']
  const texted: Float32Array[] = []
  for (const text of texts) texted.push((await clip.encodeText(text, { output: 'tokens' })).data)
  const again = await Promise.all(texts.map(text => clip.encodeText(text, { output: 'tokens' })))
  again.forEach((got, i) => {
    t.deepEqual(Buffer.from(got.data.buffer), Buffer.from(texted[i].buffer))
  })
})

test('a process with a loaded model, or a call nobody awaits, exits by itself', async t => {
  ended(
    t,
    await child(`${prelude}
const clip = await load()
clip.encodeImage(images(3)).then(e => console.log(e.shape[0]))
process.on('exit', () => console.log('exit'))`),
    '3\nexit',
  )
})

test('process.exit ends the process during an encode', async t => {
  ended(
    t,
    await child(`${prelude}
const clip = await load(undefined, { threads: 1 })
for (let i = 0; i < 50; i++) clip.encodeImage(images(50)).catch(() => {})
setTimeout(() => { console.log('leaving'); process.exit(0) }, 50)`),
    'leaving',
  )
})

test('the main thread survives the termination of the only worker that loaded the addon, during an encode', async t => {
  ended(
    t,
    await child(`
import { Worker } from 'node:worker_threads'
const code = ${asUrl(`${prelude}
  import { parentPort, workerData } from 'node:worker_threads'
  const clip = await load(undefined, { threads: 2 })
  for (let i = 0; i < 50; i++) clip.encodeImage(images(50)).catch(() => {})
  setTimeout(() => parentPort.postMessage('busy'), 10 + workerData * 7)
`)}
for (let round = 0; round < 5; round++) {
  const worker = new Worker(code, { workerData: round })
  await new Promise((resolve, reject) => { worker.once('message', resolve); worker.once('error', reject) })
  await worker.terminate()
}
await new Promise(resolve => setTimeout(resolve, 200))
const { load } = await import('${lib('index')}')
const clip = await load()
console.log((await clip.encodeText('still here')).shape[0])`),
    '1',
  )
})

test('four workers run at once and dispose in any order', async t => {
  ended(
    t,
    await child(`
import { Worker } from 'node:worker_threads'
const code = ${asUrl(`${prelude}
  import { parentPort, workerData } from 'node:worker_threads'
  const clip = await load(undefined, { threads: 1 + workerData % 2 })
  const { data } = await clip.encodeImage(images(5))
  if (workerData !== 2) await clip.dispose()
  parentPort.postMessage(Buffer.from(data.buffer).toString('base64'))
`)}
const answers = await Promise.all([0, 1, 2, 3].map(n => new Promise((resolve, reject) => {
  const worker = new Worker(code, { workerData: n })
  let answer
  worker.on('message', m => { answer = m })
  worker.on('error', reject)
  worker.on('exit', status => resolve(status + answer))
})))
console.log(new Set(answers).size, answers[0].length > 100 && answers[0][0])`),
    '1 0',
  )
})

const linux = process.platform === 'linux' ? test : test.skip
linux('one pool per process: three models and two worker threads share its threads', async t => {
  ended(
    t,
    await child(`${prelude}
import { readdirSync, readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
// A thread that ends while they are counted has no name.
const name = id => { try { return readFileSync('/proc/self/task/' + id + '/comm', 'utf8').trim() } catch { return '' } }
const own = () => readdirSync('/proc/self/task').filter(id => name(id) === 'clip-native').length
const before = own()
const models = await Promise.all([3, 1, 3].map(threads => load(undefined, { threads })))
const code = ${asUrl(`${prelude}
  import { parentPort } from 'node:worker_threads'
  const clip = await load(undefined, { threads: 3 })
  await clip.encodeImage(images(8))
  parentPort.postMessage('done')
`)}
const workers = [0, 1].map(() => new Promise((resolve, reject) => {
  const worker = new Worker(code)
  worker.on('message', resolve)
  worker.on('error', reject)
}))
await Promise.all([...workers, ...models.map(clip => clip.encodeImage(images(8)))])
const { availableParallelism } = await import('node:os')
const most = own()
console.log(before, most >= 3 && most <= Math.max(3, availableParallelism()))`),
    '0 true',
  )
})

test('memory does not grow if a model is loaded and disposed many times', async t => {
  const { end, stdout, stderr } = await child(
    `${prelude}
import { rss } from '${new URL('./hostile/memory.js', import.meta.url).href}'
const cycle = async n => {
  for (let i = 0; i < n; i++) {
    const clip = await load()
    if (i === 0) await clip.encodeImage(images(1))
    await clip.dispose()
  }
  globalThis.gc()
  await new Promise(resolve => setTimeout(resolve, 50))
  globalThis.gc()
  return rss()
}
await cycle(50)
// One reading is off by up to 4 MB, what the allocator holds back for a while: the middle of five, twice.
const middleOfFive = async () => {
  const readings = []
  for (let i = 0; i < 5; i++) readings.push(await cycle(Math.ceil(Number(process.env.CYCLES) / 10)))
  return readings.sort((a, b) => a - b)[2]
}
const before = await middleOfFive()
const after = await middleOfFive()
console.log(((after - before) / 2 ** 20).toFixed(1))`,
    // The whole thousand takes a minute or two: CLIP_CYCLES=1000.
    { flags: ['--expose-gc'], env: { CYCLES: process.env.CLIP_CYCLES ?? '150' }, seconds: 280 },
  )
  t.is(end, 0, stderr)
  t.log(`grew by ${stdout} MB`)
  t.true(Number(stdout) < 5, `grew by ${stdout} MB`)
})
