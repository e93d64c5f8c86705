/** What the commands do where something is wrong: bad images, missing files, damaged tars, another model, Ctrl-C. */
import assert from 'node:assert/strict'
import { copyFile, cp, mkdir, readdir, readFile, rename, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { load } from 'clip-native'
import { makePlan, readPlan, readShard } from '../lib/plan.mjs'
import { enqueue, withQueue } from '../lib/queue.mjs'
import { Totals } from '../lib/reports.mjs'
import { embedShard } from '../lib/shard.mjs'
import { statusOf as lookAt } from '../lib/status.mjs'
import {
  iconFiles,
  run,
  scratch,
  start,
  startRedis,
  until,
  withoutRedis,
  writeFolder,
  writeTar,
  writeTars,
} from './support.mjs'

describe('commands', { skip: withoutRedis, timeout: 300_000 }, () => {
  let folder
  let redis
  let clip
  const ends = []
  before(async () => {
    const suite = { after: act => ends.push(act) }
    folder = await scratch(suite)
    redis = await startRedis(suite, join(folder, 'redis'))
    clip = await load(undefined, { threads: 1 })
    suite.after(() => clip.dispose())
  })
  after(async () => {
    for (const end of ends.reverse()) await end()
  })

  const at = (...names) => join(folder, ...names)
  /** Exit code and output of a command, against our Redis. */
  const command = (name, ...args) => run(name, ...args, ...(name === 'merge' ? [] : ['--redis', redis.url]))
  const ok = async (...args) => {
    const said = await command(...args)
    assert.equal(said.code, 0, said.out + said.err)
    return said.out
  }
  const statusOf = async job => {
    const plan = await readPlan(job)
    return withQueue(plan, redis.url, queue => lookAt(plan, queue, new Totals()))
  }
  const onQueue = async (job, body) => withQueue(await readPlan(job), redis.url, body)
  /** What the command `plan` does, in this process. */
  const plan = async (job, sources = [], more = {}) => {
    const { fingerprint, dtype, embedDim } = clip.info
    const model = { source: null, fingerprint, dtype, embedDim }
    const settings = { shardSize: 1000, storeDtype: 'float32', attempts: 2, backoff: 50, ...more }
    const made = await makePlan(job, sources, { ...settings, modelOf: async () => model })
    await withQueue(made, redis.url, queue => enqueue(made, queue))
  }
  const failuresOf = async job => {
    const totals = new Totals()
    await totals.read(await readPlan(job))
    return totals.failed
      .map(({ shard, id, code, reason }) => `${shard} ${id}: ${reason} (${code})`)
      .join('\n')
  }
  const one = ['--threads', 1]

  test('plan gives the same shards the same jobs, and refuses other images', async () => {
    await writeFolder(at('a'), 30)
    assert.match(
      await ok('plan', at('job-a'), at('a'), '--shard-size', 8),
      /^4 shards of 30 images: 0 done, 4 queued/,
    )
    const ids = await onQueue(at('job-a'), async queue => (await queue.getWaiting()).map(job => job.id))
    await plan(at('job-a'), [at('a')], { shardSize: 8 })
    await plan(at('job-a'))
    assert.deepEqual(await onQueue(at('job-a'), async q => (await q.getWaiting()).map(job => job.id)), ids)
    assert.equal(new Set(ids).size, 4)
    // In the order of their names, each image once.
    const lists = await Promise.all(
      [0, 1, 2, 3].map(
        async i => JSON.parse(await readFile(at('job-a', 'shards', `00000${i}.json`), 'utf8')).images,
      ),
    )
    assert.equal(new Set(lists.flat()).size, 30)
    assert.deepEqual(lists.flat(), lists.flat().sort())
    await copyFile((await iconFiles(1))[0], at('a', 'one-more.png'))
    await assert.rejects(plan(at('job-a'), [at('a')]), /has a plan of other images/)
  })

  test('merge names missing shards and refuses, unless --allow-missing is given', async () => {
    const refused = await command('merge', at('job-a'), '--store', at('a.store'))
    assert.equal(refused.code, 1)
    assert.match(refused.err, /4 of 4 shards are not done: 000000, 000001, 000002, 000003/)
    await ok('work', at('job-a'), ...one)
    await rename(at('job-a', 'done', '000002'), at('000002'))
    assert.match(
      await ok('merge', at('job-a'), '--store', at('a.store'), '--allow-missing'),
      /22 images of 3 shards\nmissing: 000002/,
    )
    // Nobody has it queued: `plan` does.
    assert.equal((await statusOf(at('job-a'))).lost, 1)
    await ok('plan', at('job-a'))
    assert.deepEqual(
      await statusOf(at('job-a')).then(({ lost, waiting, done }) => ({ lost, waiting, done })),
      {
        lost: 0,
        waiting: 1,
        done: 3,
      },
    )
    await ok('work', at('job-a'), ...one)
    assert.match(await ok('merge', at('job-a'), '--store', at('a.store')), /30 images of 4 shards/)
    assert.match(await ok('status', at('job-a')), /█{30} 100 % {2}4 of 4 shards {2}30 of 30 images/)
  })

  test('a bad image is recorded with its reason, and the rest of its shard continues', async () => {
    await writeFolder(at('b'), 10)
    await writeFile(at('b', 'part-3', 'broken.png'), 'no image')
    await writeFile(at('b', 'part-3', 'empty.jpg'), '')
    await plan(at('job-b'), [at('b')])
    await ok('work', at('job-b'), ...one)
    const { embedded, failed, dead } = await statusOf(at('job-b'))
    assert.deepEqual({ embedded, failed, dead }, { embedded: 10, failed: 2, dead: 0 })
    const { out } = await command('status', at('job-b'), '--failures')
    assert.match(out, /part-3\/broken\.png: .+ \(ERR_CLIP_IMAGE\)/)
    assert.match(out, /part-3\/empty\.jpg: .*empty.* \(ERR_CLIP_IMAGE\)/)
    assert.match(
      await ok('merge', at('job-b'), '--store', at('b.store')),
      /10 images of 1 shards, 2 could not be/,
    )
  })

  test('missing files are tried again and then recorded; a shard without any file goes to the dead-letter list and can be revived', async () => {
    await writeFolder(at('c'), 12)
    await plan(at('job-c'), [at('c')], { shardSize: 6 })
    const { images } = JSON.parse(await readFile(at('job-c', 'shards', '000000.json'), 'utf8'))
    await rename(at('c', images[0]), at('away'))
    const second = JSON.parse(await readFile(at('job-c', 'shards', '000001.json'), 'utf8')).images
    await mkdir(at('mount'))
    for (const path of second) await rename(at('c', path), at('mount', path.replaceAll('/', '+')))
    const worked = await command('work', at('job-c'), ...one)
    assert.equal(worked.code, 1)
    assert.match(worked.err, /000000 failed: 1 of 6 files .* \(ENOENT\); it will be tried again/)
    assert.match(worked.err, /000001 failed: 6 of 6 files .*; no attempts are left/)
    assert.match((await command('status', at('job-c'), '--failures')).out, /5 of 12 images, 1 failed, 1 dead/)
    const [dead] = (await ok('dead', at('job-c'), '--json'))
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    assert.equal(dead.shard, '000001')
    assert.equal(dead.attempts, 2)
    assert.match(dead.reason, /6 of 6 files in .* can't be read: .* \(ENOENT\)/)
    // `plan` leaves it dead; `--retry` does not.
    assert.match(await ok('plan', at('job-c')), /1 done, 0 queued, 1 in the dead-letter list/)
    assert.equal((await statusOf(at('job-c'))).dead, 1)
    for (const path of second) await rename(at('mount', path.replaceAll('/', '+')), at('c', path))
    await ok('dead', at('job-c'), '--retry')
    await ok('work', at('job-c'), ...one)
    const { embedded, failed } = await statusOf(at('job-c'))
    assert.deepEqual({ embedded, failed }, { embedded: 11, failed: 1 })
  })

  test('a bad member of a tar is recorded, a damaged archive is dead at once, and a repeated name counts once', async () => {
    const list = await writeTars(at('t'), 3, 10)
    const icons = await iconFiles(4)
    await writeTar(at('t', 'part-0001.tar'), [
      icons[0],
      { name: 'x.png', bytes: Buffer.from('no image') },
      icons[1],
    ])
    await truncate(at('t', 'part-0002.tar'), 5000)
    await plan(at('job-t'), [list])
    const worked = await command('work', at('job-t'), ...one)
    assert.equal(worked.code, 1)
    assert.match(
      worked.err,
      /000002 failed: part-0002\.tar can't be read as a tar archive: .*; no attempts are left/,
    )
    const { out } = await command('dead', at('job-t'))
    assert.match(out, /^000002 {2}1 attempts: part-0002\.tar can't be read as a tar archive/)
    assert.match(await failuresOf(at('job-t')), /^000001 part-0001\.tar\/000001\.png: /)
    assert.match(
      await ok('merge', at('job-t'), '--store', at('t.store'), '--allow-missing'),
      /12 images of 2 shards/,
    )
  })

  test('another model is refused at the start, and for a job of another model', async () => {
    await writeFolder(at('m'), 4)
    await plan(at('job-m'), [at('m')])
    const other = at('model')
    await cp(join(import.meta.dirname, '../../../models/icon-clip'), other, { recursive: true })
    const weights = await readFile(join(other, 'model.safetensors'))
    weights[weights.length - 3] ^= 1
    await writeFile(join(other, 'model.safetensors'), weights)
    const refused = await command('work', at('job-m'), '--model', other, ...one)
    assert.equal(refused.code, 2)
    assert.match(
      refused.err,
      /refused: the plan is for a model with fingerprint \w+, but this worker's model has \w+/,
    )
    const { waiting } = await statusOf(at('job-m'))
    assert.equal(waiting, 1)
    // A job that somebody queued for other weights.
    await onQueue(at('job-m'), async queue => {
      const [job] = await queue.getWaiting()
      await job.updateData({ ...job.data, fingerprint: 'another' })
    })
    const put = await command('work', at('job-m'), ...one)
    assert.equal(put.code, 2)
    assert.match(put.err, /refused 000000: /)
    const left = await statusOf(at('job-m'))
    assert.deepEqual([left.waiting, left.active, left.dead, left.done], [1, 0, 0, 0])
  })

  test('Ctrl-C finishes the current shard, and a second one puts it back without counting it', async () => {
    await writeFolder(at('i'), 450)
    await plan(at('job-i'), [at('i')], { shardSize: 150 })
    const busy = async () => (await statusOf(at('job-i'))).active === 1
    const once = start('work', at('job-i'), '--redis', redis.url, ...one)
    await until(busy, 'a shard is taken')
    once.child.kill('SIGINT')
    const ended = await once.ended
    assert.equal(ended.code, 130, ended.err)
    assert.match(ended.err, /finishing the current shard/)
    const after = await statusOf(at('job-i'))
    assert.equal(after.active, 0)
    assert.equal(after.done + after.waiting, 3)
    assert.ok(after.done >= 1 && after.done < 3)

    const twice = start('work', at('job-i'), '--redis', redis.url, ...one)
    await until(busy, 'a shard is taken')
    twice.child.kill('SIGINT')
    await until(() => twice.said.err.includes('finishing'), 'it says so')
    twice.child.kill('SIGINT')
    assert.equal((await twice.ended).code, 130)
    const back = await statusOf(at('job-i'))
    assert.deepEqual([back.active, back.done + back.waiting, back.dead], [0, 3, 0])
    assert.deepEqual(
      (await readdir(at('job-i', 'done'))).filter(name => name.endsWith('.part')),
      [],
    )
    const made = await onQueue(at('job-i'), async q => (await q.getWaiting()).map(job => job.attemptsMade))
    assert.ok(
      made.every(count => count === 0),
      String(made),
    )
  })

  test('two workers with the same shard produce one result', async () => {
    await writeFolder(at('d'), 40)
    await plan(at('job-d'), [at('d')])
    const made = await readPlan(at('job-d'))
    const { digest } = await readShard(made, '000000')
    const settings = { digest, root: made.root, onProgress() {}, lastAttempt: false }
    const both = await Promise.all([1, 2, 3].map(() => embedShard(clip, made, '000000', settings)))
    assert.deepEqual(both[0], both[1])
    assert.deepEqual(both[0], both[2])
    assert.deepEqual(await readdir(at('job-d', 'done')), ['000000'])
    await assert.rejects(embedShard(clip, made, '../000000', settings), /the number of a shard/)
    const other = embedShard(clip, await readPlan(at('job-m')), '000000', settings)
    await assert.rejects(other, /not the list of this job/)
  })

  test('a shard whose workers die is dead after --crashes of them, and can be revived', async () => {
    await writeFolder(at('k'), 450)
    await plan(at('job-k'), [at('k')])
    const flags = ['--redis', redis.url, '--lock-seconds', 0.5, '--crashes', 0, ...one]
    const first = start('work', at('job-k'), ...flags)
    await until(async () => (await statusOf(at('job-k'))).active === 1, 'the shard is taken')
    first.child.kill('SIGKILL')
    await first.ended
    const { code, err } = await run('work', at('job-k'), ...flags)
    assert.equal(code, 1, err)
    const { out } = await command('dead', at('job-k'), '--retry')
    assert.match(out, /^000000 {2}\d attempts: job stalled more than allowable limit/)
    await ok('work', at('job-k'), '--concurrency', 2, ...one)
    assert.equal((await statusOf(at('job-k'))).embedded, 450)
  })

  test('without Redis, a command reports it and exits', async () => {
    const { code, err } = await run('status', at('job-a'), '--redis', 'redis://127.0.0.1:1')
    assert.equal(code, 1)
    assert.match(err, /Redis at redis:\/\/127\.0\.0\.1:1 can't be reached/)
  })

  test('the merged store can be searched by words', async () => {
    const store = await clip.openStore(at('a.store'))
    const [best] = await store.search('an icon of a dog', { topK: 1 })
    assert.match(best.id, /dog/)
    await store.close()
  })
})
