/**
 * `npm run hostile -- --requests 10000`: good and bad requests mixed by chance, many at a time, against a service of
 * its own. Every answer must be the right one or a clear refusal, and afterwards the service must be as it was.
 */

import { Agent } from 'node:http'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { load } from 'clip-native'
import { sendRaw, startService } from '../test/service.mjs'
import { badConnections } from './hostile/bad-connections.mjs'
import { badRequests } from './hostile/bad-requests.mjs'
import { rightAnswers } from './hostile/checks.mjs'
import { good } from './hostile/good.mjs'

/**
 * { name: [weight, async ({ service, random, pick, right, agent }) => [answer, check]] }; `check(answer)` is '' or what is
 * wrong. An answer that is null: the client left without waiting for one.
 */
const kinds = { ...good, ...badRequests, ...badConnections }

/** Whole numbers below `n`, the same for the same seed. */
function randomFrom(seed) {
  let state = seed | 1
  return n => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % n
  }
}

/** On a machine that is busy with other things any request may be told that its time is over: clearly. */
const isForTime = ({ json }) => ['TOO_SLOW', 'TIMED_OUT', 'ERR_CLIP_BUSY'].includes(json?.code) && json.help

/** An order of kinds that has each as often as it weighs. */
function* order(random) {
  const bag = Object.entries(kinds).flatMap(([name, [weight]]) => Array(weight).fill(name))
  for (;;) yield bag[random(bag.length)]
}

const MiB = bytes => (bytes / 2 ** 20).toFixed(0)

const settle = async service => {
  for (let i = 0; i < 200; i++) {
    if ((await service.figure('clip_working')) === 0 && (await service.figure('clip_body_bytes')) === 0)
      return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error('the service still works or holds bodies 20 s after the last request')
}

/**
 * Sends that many requests and resolves with { statuses, wrong, memory, files }: how often each answer came, what was
 * wrong (empty when all is well), resident bytes and open files after each tenth.
 */
export async function hostile({ requests, concurrency = 24, seed = 1, log = () => {} }) {
  const clip = await load()
  const right = await rightAnswers(clip)
  await clip.dispose()
  const service = await startService({ RECEIVE_MS: 3000, CACHE_ENTRIES: 16 })
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency })
  const random = randomFrom(seed)
  const names = order(random)
  const pick = () => right.images[random(right.images.length)]
  const context = { service, random, right, pick, agent }
  const statuses = {}
  const wrong = []
  const memory = []
  const files = []
  let started = 0

  const one = async () => {
    const name = names.next().value
    let status
    try {
      const [answer, check] = await kinds[name][1](context)
      status = answer?.status ?? 'left'
      const fault = answer && !isForTime(answer) ? check(answer) : ''
      if (fault) wrong.push(`${name}: ${fault}, got ${answer.status} ${answer.text?.slice(0, 200)}`)
    } catch (error) {
      status = error.code ?? 'failed'
      wrong.push(`${name}: ${error.message}`)
    }
    statuses[status] = (statuses[status] ?? 0) + 1
  }

  try {
    await service.indexed()
    for (let tenth = 1; tenth <= 10; tenth++) {
      const end = Math.round((requests * tenth) / 10)
      const client = async () => {
        while (started < end) {
          started++
          await one()
        }
      }
      await Promise.all(Array.from({ length: concurrency }, client))
      await settle(service)
      memory.push(await service.figure('process_resident_memory_bytes'))
      const heap = await service.figure('nodejs_heap_size_used_bytes')
      files.push(await service.figure('process_open_fds'))
      log(
        `${end} requests, ${wrong.length} wrong, ${MiB(memory.at(-1))} MiB (heap ${MiB(heap)}), ${files.at(-1)} files`,
      )
    }
    agent.destroy()
    await settle(service)
    const { json } = await sendRaw(service, '/embed', right.images[0].bytes)
    if (JSON.stringify(json.embeddings) !== JSON.stringify([right.images[0].embedding]))
      wrong.push('afterwards an embedding is another')
  } finally {
    agent.destroy()
    const code = await service.stop()
    if (code !== 0) wrong.push(`the service ended with ${code}`)
  }
  return { statuses, wrong, memory, files }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string', default: '10000' },
      concurrency: { type: 'string', default: '24' },
      seed: { type: 'string', default: '1' },
    },
  })
  const began = performance.now()
  const { statuses, wrong } = await hostile({
    requests: Number(values.requests),
    concurrency: Number(values.concurrency),
    seed: Number(values.seed),
    log: console.log,
  })
  console.log(`${((performance.now() - began) / 1000).toFixed(0)} s; answers:`, statuses)
  for (const line of wrong.slice(0, 40)) console.log(line)
  console.log(wrong.length === 0 ? 'every answer right or a clear refusal' : `${wrong.length} WRONG`)
  process.exit(wrong.length === 0 ? 0 : 1)
}
