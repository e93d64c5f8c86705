/**
 * `npm run bench`: this service on clip-native against the same service on transformers.js (bench/peers must be
 * installed), the same ViT-B/32 as safetensors and as ONNX, the same JPEG, closed loop with bounded connections on
 * loopback, fresh processes by turns. Then twice what each can do.
 *
 *   --seconds 4 --rounds 2 --connections 1,8 --threads 2 --dtypes float32,bfloat16 --out FILE.md
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import autocannon from 'autocannon'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const peers = join(root, 'bench/peers')
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '1,8' },
    threads: { type: 'string', default: '2' },
    dtypes: { type: 'string', default: 'float32' },
    prepare: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
})
if (!existsSync(join(peers, 'node_modules/@huggingface/transformers'))) {
  console.error(`The rival is not installed: npm ci --ignore-scripts --prefix ${peers}`)
  process.exit(1)
}

const inDist = path => import(join(root, 'dist/bench', path))
const { randomModel } = await inDist('random-model.js')
const { model } = await inDist('cases.js')
const { photograph } = await inDist('images.js')
const { transformersFolder } = await inDist('peers/transformers.js')
const { machine, machineLine, loadNow, versionOf } = await inDist('machine.js')
const checkpoint = await randomModel(model('ViT-B/32'))
const onnx = await transformersFolder(checkpoint)
const body = readFileSync(await photograph(1280, 853))
if (values.prepare) process.exit(0) // models, ONNX files and the photograph are written: nothing of that is timed

const [seconds, rounds, threads] = [values.seconds, values.rounds, values.threads].map(Number)
const maxQueue = 16
const labels = Array.from({ length: 10 }, (_, i) => `thing ${i}`)
const path = `/classify?templateSet=photo&labels=${encodeURIComponent(labels.join(','))}`
const sides = {
  ...Object.fromEntries(
    values.dtypes
      .split(',')
      .map(dtype => [`clip-native, ${dtype}`, { side: 'ours', model: checkpoint, dtype }]),
  ),
  'transformers.js, float32': { side: 'theirs', model: onnx },
}

async function start(name) {
  const child = fork(fileURLToPath(new URL('serve.mjs', import.meta.url)), [
    JSON.stringify({ ...sides[name], peers, threads, maxQueue }),
  ])
  const [{ port }] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error(`${name} did not start`))),
  ])
  const ask = async what => {
    child.send(what)
    return (await once(child, 'message'))[0]
  }
  return {
    ask,
    url: `http://127.0.0.1:${port}${path}`,
    async stop() {
      child.send('exit')
      await once(child, 'exit')
    },
  }
}

const post = url => fetch(url, { method: 'POST', body, headers: { 'content-type': 'image/jpeg' } })
const percentile = (sorted, p) =>
  sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? Number.NaN

/** Runs autocannon; times of every answer by status. */
async function cannon(service, options) {
  const times = { 200: [], 503: [] }
  await service.ask('begin')
  const running = autocannon({
    ...{ url: service.url, method: 'POST', body, headers: { 'content-type': 'image/jpeg' } },
    ...{ duration: seconds, timeout: 20, ...options },
  })
  let other = 0
  running.on('response', (_, status, __, time) => (times[status] ? times[status].push(time) : other++))
  const result = await running
  const loop = await service.ask('end')
  for (const list of Object.values(times)) list.sort((a, b) => a - b)
  return { times, other: other + result.errors, seconds: result.duration, loop }
}

const rows = []
const note = row => {
  rows.push(row)
  console.error(JSON.stringify(row))
}
const figures = ({ times, other, seconds, loop }, status = 200) => ({
  perSecond: times[status].length / seconds,
  p50: percentile(times[status], 50),
  p99: percentile(times[status], 99),
  count: times[status].length,
  loopP99: loop.p99,
  loopMax: loop.max,
  other,
})

const where = machine()
const names = Object.keys(sides)
const capacity = {}
for (let round = 0; round < rounds; round++)
  for (const name of round % 2 ? [...names].reverse() : names) {
    const service = await start(name)
    // The labels are encoded and both sides are warm before anything is timed; the answers are the check.
    const answers = []
    for (let i = 0; i < 5; i++) answers.push(await (await post(service.url)).json())
    const best = answers.at(-1).predictions
    for (const connections of values.connections.split(',').map(Number)) {
      const run = await cannon(service, { connections })
      note({ round, name, connections, ...figures(run), best: best[0] })
      capacity[name] = Math.max(capacity[name] ?? 0, run.times[200].length / run.seconds)
    }
    if (round === rounds - 1) {
      // Twice what it can do: as many connections as it may take, at a fixed rate.
      const run = await cannon(service, { connections: 64, overallRate: Math.ceil(2 * capacity[name]) })
      note({ name, overload: 'answered', ...figures(run) })
      note({ name, overload: 'refused', ...figures(run, 503) })
      const began = performance.now()
      const { status } = await post(service.url)
      note({ name, overload: 'afterwards', status, ms: performance.now() - began })
    }
    await service.stop()
  }

const median = list =>
  percentile(
    [...list].sort((a, b) => a - b),
    50,
  )
const spread = (list, digits = 1) => {
  const sorted = [...list].sort((a, b) => a - b)
  return sorted.length < 2 ? sorted[0].toFixed(digits) : sorted.map(x => x.toFixed(digits)).join(', ')
}
const of = (name, connections, field) =>
  rows.filter(r => r.name === name && r.connections === connections).map(r => r[field])
const table = [
  '| connections | service | requests/s | p50 ms | p99 ms | event loop p99 ms | longest |',
  '|---|---|---|---|---|---|---|',
]
for (const connections of values.connections.split(',').map(Number))
  for (const name of names)
    table.push(
      `| ${connections} | ${name} | ${['perSecond', 'p50', 'p99', 'loopP99', 'loopMax'].map(field => spread(of(name, connections, field))).join(' | ')} |`,
    )
const over = [
  '| at twice its capacity | answered/s | p50, p99 ms | refused/s | p50, p99 ms of a refusal | event loop p99 | one request afterwards |',
  '|---|---|---|---|---|---|---|',
]
for (const name of names) {
  const get = kind => rows.find(r => r.name === name && r.overload === kind)
  const [yes, no, after] = ['answered', 'refused', 'afterwards'].map(get)
  over.push(
    `| ${name} | ${yes.perSecond.toFixed(1)} | ${yes.p50.toFixed(0)}, ${yes.p99.toFixed(0)} | ${no.perSecond.toFixed(1)} | ${no.p50.toFixed(1)}, ${no.p99.toFixed(1)} | ${yes.loopP99.toFixed(1)} | ${after.status}, ${after.ms.toFixed(0)} ms |`,
  )
}
const ratios = values.connections
  .split(',')
  .map(Number)
  .map(c => {
    const [a, b] = [of(names[0], c, 'perSecond'), of(names.at(-1), c, 'perSecond')]
    return `${c} connection(s): ${(median(a) / median(b)).toFixed(2)}`
  })
const load = [where.load, loadNow()]
const text = [
  '# The service against the same service on transformers.js',
  '',
  `${machineLine(where)}; @huggingface/transformers ${versionOf(peers, '@huggingface/transformers')}, onnxruntime-node ${versionOf(peers, 'onnxruntime-node')}; load average ${load.join(' to ')}`,
  '',
  `ViT-B/32 with random weights, POST /classify with a JPEG of 1280 x 853 (${body.length} bytes) as the body and 10 labels that are encoded before. ${threads} threads on both sides, at most ${maxQueue} waiting calls. ${rounds} rounds of fresh processes, by turns, ${seconds} s each, autocannon in a process beside. Figures of each round. The event loop's delay is measured with a timer of 1 ms, which is part of it.`,
  '',
  ...table,
  '',
  `Requests/s, ${names[0]} to ${names.at(-1)}: ${ratios.join('; ')}.`,
  '',
  ...over,
  '',
].join('\n')
console.log(text)
if (values.out) writeFileSync(values.out, text)
