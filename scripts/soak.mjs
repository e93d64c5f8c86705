// npm run soak: a stress test that covers hours of use in minutes. Worker threads call the public API at
// random (texts, images as pixels and as files, classifiers, streams, similarities, stores), abort some calls
// at random moments, dispose models while calls are running and load them again; now and then a thread is
// terminated. Hostile input is mixed in: streams that stall, SVGs, damaged images, texts made to be slow.
// Every call must settle with its result (which must equal the model's first result bit for bit), with its
// signal's reason, with ERR_CLIP_DISPOSED or, for hostile input, with the expected error; and the memory of
// the process must not grow.
//
//   node scripts/soak.mjs [--minutes 30] [--workers 4] [--seed 0] [--terminate 45] [--threads N] [--p99 MS]
//
// --terminate: average number of seconds between two terminations of a thread; 1 found in two minutes what 45
// found in nine.
// --threads: threads of every model; otherwise one or two.
// --p99: fails if the 99th percentile of a thread's event-loop delays exceeds this many milliseconds. Only
// for an idle machine with more processors than threads; the delays are printed in any case.
//
// Memory does not grow: the median of the last third of the samples is at most 5 % above that of the second
// third (during the first third caches and heaps warm up). Exits with 1 if any condition does not hold.
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, threadId, Worker, workerData } from 'node:worker_threads'
import { gzipSync } from 'node:zlib'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const MOST_GROWTH = 1.05

/** mulberry32: the same numbers for the same seed. */
function randomOf(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

async function work({ seed, threads, folder }) {
  const { ClipError, load } = await import(join(root, 'dist/lib/index.js'))
  const random = randomOf(seed)
  const below = n => Math.floor(random() * n)
  const counts = { calls: 0, results: 0, refused: 0, aborted: 0, disposed: 0, loads: 0, p99: 0 }
  const texts = Array.from(
    { length: 64 },
    (_, i) => `an icon of ${['a dog', 'two cats', 'rockets', 'tea'][i % 4]} ${i}`,
  )
  const pixels = [1, 2, 3, 4].map(n => ({
    data: new Uint8Array(96 * 80 * 3).map((_, i) => (i * (2 * n + 1) + (i >> 5)) & 255),
    width: 96,
    height: 80,
    channels: 3,
  }))
  const files = ['dog.png', 'guitar.jpg', 'rocket.png'].map(f => join(root, 'models/icon-clip/examples', f))
  const labels = ['dog', 'cat', 'rocket', 'pizza', 'guitar']
  const open = async () => {
    counts.loads++
    const clip = await load(undefined, {
      threads: threads ?? 1 + below(2),
      maxQueue: 64,
      decodeTimeout: 10_000,
    })
    const store = await clip.openStore(join(folder, `${threadId}.store`), { create: true })
    return { clip, store, icons: await clip.classifier(labels, { templates: 'an icon of {}' }) }
  }
  let { clip, icons, store } = await open()
  /** The first result for each text and image, by name. */
  const expected = new Map()
  function same(name, data) {
    const values = Buffer.from(data.slice().buffer)
    const known = expected.get(name)
    if (!known) expected.set(name, values)
    else if (!known.equals(values)) throw new Error(`${name} gave different bits than the first time`)
  }
  const dog = await readFile(files[0])
  const svg =
    '<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="2000"><filter id="f"><feMorphology radius="500"/></filter><rect width="2000" height="2000" filter="url(#f)"/></svg>'
  const vectors = [svg, `${' '.repeat(300)}${svg}`, `<!-- -->\n${svg}`].map(text => Buffer.from(text))
  vectors.push(gzipSync(vectors[0]))
  const slow = [
    `\u0295\u03a3${'\u0301'.repeat(3000)}`,
    '&amp;'.repeat(400) + 'amp;'.repeat(400),
    '\uff41'.repeat(20_000),
    '\u00c3\u00a9'.repeat(5_000),
    'a\u0300\u0316'.repeat(5_000),
    '\ud800'.repeat(5_000),
  ]
  let added = 0
  /** Half an image, followed by nothing, forever. */
  const stalled = () =>
    new Readable({
      read() {
        this.push(dog.subarray(0, dog.length >> 1))
        this._read = () => {}
      },
    })
  /** A call that ends only after `decodeTimeout`; nearly all of these are aborted before. */
  const stalls = call => Object.assign(call, { stalls: true })
  const items = () =>
    Array.from({ length: 1 + below(5) }, () => ({
      id: String(added++ % 5000),
      image: pixels[below(pixels.length)],
    }))
  const whole = () => Readable.from([dog.subarray(0, 1000), dog.subarray(1000)])
  const refused = async (promise, code) => {
    try {
      await promise
    } catch (error) {
      if (error?.code !== code) throw error
      return 'refused'
    }
    throw new Error(`this should have been rejected with ${code}`)
  }
  const some = (list, most) => Array.from({ length: 1 + below(most) }, () => list[below(list.length)])

  const calls = [
    async signal => {
      const chosen = some(texts, 40)
      const got = await clip.encodeText(chosen, { signal })
      for (const [i, text] of chosen.entries()) same(text, got.row(i))
    },
    async signal => {
      const chosen = some(pixels, 6)
      const got = await clip.encodeImage(chosen, { signal })
      for (const [i, image] of chosen.entries()) same(`image ${pixels.indexOf(image)}`, got.row(i))
    },
    async signal => {
      const chosen = some(files, 3)
      const got = await clip.encodeImage(chosen, { signal })
      for (const [i, file] of chosen.entries()) same(file, got.row(i))
    },
    async signal => {
      const [best] = await icons.classify(files[0], { topK: 1, signal })
      if (best.label !== 'dog') throw new Error(`the dog is a ${best.label}`)
    },
    async signal => {
      for await (const { predictions, error } of icons.stream(some(files, 4), { topK: 1, signal }))
        if (error || predictions.length !== 1) throw error ?? new Error('no prediction')
    },
    async signal => {
      await clip.similarity(some(pixels, 3), some(texts, 8), { signal })
    },
    async signal => {
      const [image] = some(pixels, 1)
      const { data } = await clip.preprocess(image, { signal })
      same(`planes ${pixels.indexOf(image)}`, data)
    },
    async signal => {
      const got = await clip.encodeImage(whole(), { signal })
      same(files[0], got.row(0))
    },
    stalls(signal => refused(clip.encodeImage(stalled(), { signal }), 'ERR_CLIP_IMAGE')),
    stalls(signal =>
      store.add([...items(), { id: 'stalled', image: stalled() }], { errors: 'collect', signal }),
    ),
    signal => refused(clip.encodeImage(vectors[below(vectors.length)], { signal }), 'ERR_CLIP_IMAGE'),
    signal => refused(clip.encodeImage(dog.subarray(0, 9000), { signal }), 'ERR_CLIP_IMAGE'),
    async signal => {
      const i = below(slow.length)
      const got = await clip.encodeText(slow[i], { truncate: true, signal })
      same(`slow text ${i}`, got.row(0))
    },
    async signal => {
      await store.add(items(), { errors: 'collect', signal })
    },
  ]
  async function call() {
    counts.calls++
    const reason = new Error('withdrawn')
    const controller = new AbortController()
    const run = calls[below(calls.length)]
    const patience = run.stalls ? (random() < 0.98 ? 200 : 60_000) : random() < 0.25 ? 15 : undefined
    const timer =
      patience === undefined ? undefined : setTimeout(() => controller.abort(reason), random() * patience)
    try {
      if ((await run(controller.signal)) === 'refused') counts.refused++
      else counts.results++
    } catch (error) {
      if (error === reason) counts.aborted++
      else if (error instanceof ClipError && error.code === 'ERR_CLIP_DISPOSED') counts.disposed++
      else throw error
    } finally {
      clearTimeout(timer)
    }
  }
  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  let running = true
  parentPort.on('message', () => {
    running = false
  })
  let turns = 0
  while (running) {
    const under = Array.from({ length: 1 + below(6) }, call)
    if (random() < 0.04) {
      const old = clip
      const closed = store.close()
      const gone = old.dispose()
      await Promise.all(under)
      await closed
      await gone
      ;({ clip, icons, store } = await open())
    } else await Promise.all(under)
    if (++turns % 20 === 0) parentPort.postMessage(counts)
  }
  await store.close()
  await clip.dispose()
  // A timer of one millisecond fires after one millisecond; the rest is delay.
  counts.p99 = delays.percentile(99) / 1e6 - 1
  parentPort.postMessage({ ...counts, finished: true })
  parentPort.close()
}

const median = values => values.toSorted((a, b) => a - b)[values.length >> 1]

async function main() {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '30' },
      workers: { type: 'string', default: '4' },
      seed: { type: 'string', default: '0' },
      terminate: { type: 'string', default: '45' },
      threads: { type: 'string' },
      p99: { type: 'string' },
    },
  })
  if (!existsSync(join(root, 'dist/lib/index.js'))) throw new Error('Run npm run build first.')
  const milliseconds = Number(values.minutes) * 60_000
  const random = randomOf(Number(values.seed))
  const total = { calls: 0, results: 0, refused: 0, aborted: 0, disposed: 0, loads: 0, terminated: 0 }
  const delays = []
  const folder = await mkdtemp(join(tmpdir(), 'clip-soak-'))
  const failures = []
  let seed = Number(values.seed) * 1_000_003

  function start() {
    const state = { counts: {}, killed: false, finished: false }
    // A small heap, because memory that V8 has not collected yet would hide memory held by native code.
    const worker = new Worker(new URL(import.meta.url), {
      workerData: {
        seed: seed++,
        folder,
        threads: values.threads === undefined ? undefined : Number(values.threads),
      },
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 },
    })
    worker.on('message', counts => {
      state.counts = counts
    })
    worker.on('error', error => failures.push(String(error?.stack ?? error)))
    state.ended = new Promise(resolve =>
      worker.on('exit', () => {
        for (const name in total) total[name] += state.counts[name] ?? 0
        if (!state.killed && !state.counts.finished) failures.push('a thread ended before it was told to')
        if (state.counts.finished) {
          const { calls, results, refused, aborted, disposed, p99 } = state.counts
          delays.push(p99)
          if (calls !== results + refused + aborted + disposed)
            failures.push(`${calls} calls, but ${results} + ${refused} + ${aborted} + ${disposed} settled`)
        }
        resolve()
      }),
    )
    return { worker, state }
  }
  const threads = Array.from({ length: Number(values.workers) }, start)
  const began = performance.now()
  const samples = []
  let said = began
  while (performance.now() - began < milliseconds && failures.length === 0) {
    await new Promise(resolve => setTimeout(resolve, 1000))
    samples.push(process.memoryUsage.rss())
    if (random() < 1 / Number(values.terminate)) {
      const i = Math.floor(random() * threads.length)
      threads[i].state.killed = true
      total.terminated++
      await threads[i].worker.terminate()
      await threads[i].state.ended
      threads[i] = start()
    }
    if (performance.now() - said > 60_000) {
      said = performance.now()
      const calls = threads.reduce((n, t) => n + (t.state.counts.calls ?? 0), total.calls)
      console.log(
        `${Math.round((said - began) / 60_000)} min: ${calls} calls, ${(samples.at(-1) / 1e6).toFixed(0)} MB`,
      )
    }
  }
  for (const { worker } of threads) worker.postMessage('end')
  await Promise.all(threads.map(t => t.state.ended))
  await rm(folder, { recursive: true, force: true })

  const third = Math.floor(samples.length / 3)
  const [middle, last] = [samples.slice(third, 2 * third), samples.slice(2 * third)].map(median)
  console.log(
    JSON.stringify({ minutes: (performance.now() - began) / 60_000, workers: threads.length, ...total }),
  )
  const growth = last / middle
  console.log(
    `resident memory, median of the second third ${(middle / 1e6).toFixed(1)} MB, of the last ${(last / 1e6).toFixed(1)} MB: ${((growth - 1) * 100).toFixed(1)} %`,
  )
  console.log(
    `event loop, 99th percentile of delays in each thread: ${delays.map(d => d.toFixed(1)).join(', ')} ms`,
  )
  if (values.p99 !== undefined && !delays.every(delay => delay <= Number(values.p99)))
    failures.push('an event loop was delayed')
  if (!(growth <= MOST_GROWTH)) failures.push('the memory grew')
  if (!(total.results > 0 && total.refused > 0 && total.aborted > 0 && total.disposed > 0))
    failures.push('nothing was aborted or disposed: run it for longer')
  for (const failure of failures) console.log(`FAILED: ${failure}`)
  process.exit(failures.length > 0 ? 1 : 0)
}

if (isMainThread) await main()
else
  await work(workerData).catch(error => {
    throw new Error(`thread ${threadId}, seed ${workerData.seed}: ${error?.stack ?? error}`)
  })
