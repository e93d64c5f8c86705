/** kill -9 of workers and of Redis at random moments: the store is that of one worker that nobody disturbed. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { load } from 'clip-native'
import { readPlan } from '../lib/plan.mjs'
import { run, scratch, start, startRedis, until, withoutRedis, writeFolder, writeTars } from './support.mjs'

/** Together; half of them while a folder is embedded, half with tars. `npm run test:full` makes 20. */
const kills = Number(process.env.SCALE_OUT_KILLS ?? 3)
const images = kills > 8 ? 900 : 150
const seed = Number(process.env.SCALE_OUT_SEED ?? Date.now() % 2 ** 32)

/** mulberry32: a run can be repeated, as far as processes can. */
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

async function contentOf(clip, folder) {
  const store = await clip.openStore(folder)
  const ids = []
  for await (const id of store.ids()) ids.push(id)
  await store.close()
  const lines = (await readFile(join(folder, 'items.log'), 'utf8')).trim().split('\n')
  // Size, time and checksum of each row; `first` says in which batch it was written, which a kill may change.
  const items = lines.map(line => ({ ...JSON.parse(line.slice(9)), first: undefined }))
  return { ids, items, vectors: await readFile(join(folder, 'vectors.bin')) }
}

const doneOf = async job => (await readdir(join(job, 'done'))).filter(name => /^\d+$/.test(name)).length

async function succeeds(...args) {
  const { code, out, err } = await run(...args)
  assert.equal(code, 0, `${args.join(' ')}\n${out}${err}`)
  return out
}

/** Plans, and two workers that are killed and started again until all is done. Returns how many kills there were. */
async function disturbed(t, redis, job, planned, budget, random) {
  await succeeds('plan', job, ...planned, '--redis', redis.url)
  const { shards } = await readPlan(job)
  const flags = ['--redis', redis.url, '--threads', 1, '--lock-seconds', 1, '--crashes', 1000, '--verbose']
  const worker = () => start('work', job, ...flags)
  const workers = [worker(), worker()]
  const counts = { worker: 0, redis: 0, inTheMiddle: 0 }
  let before = 0
  const over = () => workers.every(worker => worker.over)
  while (counts.worker + counts.redis < budget) {
    // Mostly in the midst of work, at times while processes start.
    if (random() < 0.75) await until(async () => over() || (await doneOf(job)) > before, 'another shard', 120)
    await sleep(random() * (random() < 0.5 ? 100 : 1000))
    const done = await doneOf(job)
    if (over() || done === shards) break
    before = done
    if (done > 0) counts.inTheMiddle++
    if ((counts.worker + counts.redis) % 2 === 0) {
      const i = random() < 0.5 ? 0 : 1
      workers[i].child.kill('SIGKILL')
      await workers[i].ended
      counts.worker++
      workers[i] = worker()
    } else {
      await redis.kill()
      counts.redis++
      await sleep(1000 * random())
      await redis.start()
    }
  }
  for (const { ended } of workers) {
    const { code, signal, err } = await ended
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, err)
  }
  t.diagnostic(
    `${shards} shards; killed: ${counts.worker} workers, Redis ${counts.redis} times; ${counts.inTheMiddle} of these between the first and the last shard`,
  )
  return counts.worker + counts.redis
}

async function same(t, { sources, plan, total, plain }) {
  const folder = await scratch(t)
  const redis = await startRedis(t, join(folder, 'redis'))
  const images = join(folder, 'images')
  const planned = [await sources(images), ...plan]

  const job = join(folder, 'whole')
  await succeeds('plan', job, ...planned, '--redis', redis.url)
  await succeeds('work', job, '--redis', redis.url, '--threads', 1)
  await succeeds('merge', job, '--store', join(folder, 'whole.store'))
  const clip = await load(undefined, { threads: 1 })
  t.after(() => clip.dispose())
  const whole = await contentOf(clip, join(folder, 'whole.store'))
  assert.equal(whole.ids.length, total)
  assert.equal(new Set(whole.ids).size, total)
  if (plain) {
    // Nothing of this example: the store's own `add`.
    const store = await clip.openStore(join(folder, 'plain.store'), { create: true })
    await store.add(whole.ids.map(id => ({ id, image: join(images, id) })))
    await store.close()
    const { vectors } = await contentOf(clip, store.folder)
    assert.ok(vectors.equals(whole.vectors), 'the vectors of a plain store')
  }

  const random = generator(seed)
  const budget = plain ? Math.ceil(kills / 2) : Math.floor(kills / 2)
  t.diagnostic(`SCALE_OUT_SEED=${seed}`)
  for (let killed = 0, round = 0; killed < budget; round++) {
    assert.ok(round < 2 * budget, 'kills come while there is work')
    const job = join(folder, `killed-${round}`)
    killed += await disturbed(t, redis, job, planned, budget - killed, random)
    await succeeds('merge', job, '--store', `${job}.store`)
    const store = await contentOf(clip, `${job}.store`)
    assert.deepEqual(store.ids, whole.ids)
    assert.ok(store.vectors.equals(whole.vectors), 'vectors are equal byte for byte')
    assert.deepEqual(store.items, whole.items)
    const left = (await readdir(join(job, 'done'))).filter(name => name.endsWith('.part'))
    assert.deepEqual(left, [], 'nothing of the dead is left')
  }
}

test(
  `a folder is embedded completely despite ${Math.ceil(kills / 2)} kills`,
  { skip: withoutRedis, timeout: 600_000 },
  t =>
    same(t, {
      sources: async folder => {
        await writeFolder(folder, images)
        return folder
      },
      plan: ['--shard-size', 15],
      total: images,
      plain: true,
    }),
)

test(
  `WebDataset tars are embedded completely despite ${Math.floor(kills / 2)} kills`,
  { skip: withoutRedis, timeout: 600_000 },
  t =>
    same(t, {
      sources: folder => writeTars(folder, images / 15, 15),
      plan: ['--store-dtype', 'bfloat16'],
      total: images,
      plain: false,
    }),
)
