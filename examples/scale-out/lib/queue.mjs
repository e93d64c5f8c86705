/** The queue of a plan, on Redis. */
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { doneShards, readShard, shardNames } from './plan.mjs'

/** The address without its password. */
const shown = address => address.replace(/\/\/[^@/]*@/, '//')

/**
 * A connection that reconnects by itself. A worker waits for ever (`patient`); other commands fail after some seconds with an
 * error.
 */
export function connect(address, { patient, say = () => {} }) {
  const redis = new Redis(address, {
    maxRetriesPerRequest: patient ? null : 5,
    retryStrategy: times => Math.min(100 * times, 2000),
  })
  let away = false
  redis.on('error', error => {
    if (!away)
      say(
        `Redis at ${shown(address)} can't be reached (${error.code ?? error.message})${patient ? '; waiting' : ''}`,
      )
    away = true
  })
  redis.on('ready', () => {
    if (away) say('Redis can be reached again')
    away = false
  })
  return redis
}

/** Runs `body` on a plan's queue. If Redis can't be reached, the error says so. */
export async function withQueue(plan, address, body) {
  const redis = connect(address, { patient: false })
  let queue
  try {
    // A queue would wait for its first connection for ever, but this does not.
    await redis.ping()
    queue = new Queue(plan.queue, { connection: redis })
    queue.on('error', () => {})
    return await body(queue)
  } catch (error) {
    if (error?.name !== 'MaxRetriesPerRequestError') throw error
    throw new Error(`Redis at ${shown(address)} can't be reached`, { cause: error })
  } finally {
    await queue?.close().catch(() => {})
    redis.disconnect()
  }
}

/** The id is the same for the same shard, so adding it again has no effect. */
const idOf = (shard, digest) => `${shard}-${digest.slice(0, 8)}`

export function jobOf(plan, shard, digest) {
  const { fingerprint, dtype } = plan.model
  return {
    name: 'embed',
    data: { shard, digest, fingerprint, dtype },
    opts: {
      jobId: idOf(shard, digest),
      attempts: plan.attempts,
      // With jitter, so that a hundred workers do not retry on a file server at the same time.
      backoff: { type: 'exponential', delay: plan.backoff, jitter: 0.5 },
      // Finished shards are in done/. Shards that have failed in all attempts stay in Redis, as the dead-letter list.
      removeOnComplete: true,
      removeOnFail: false,
    },
  }
}

/** Adds a job for every shard that is not done and not queued. */
export async function enqueue(plan, queue, onProgress = () => {}) {
  const done = await doneShards(plan)
  let jobs = []
  let added = 0
  const flush = async () => {
    if (jobs.length > 0) await queue.addBulk(jobs)
    added += jobs.length
    jobs = []
    onProgress(added)
  }
  for (const shard of shardNames(plan)) {
    if (done.has(shard)) continue
    jobs.push(jobOf(plan, shard, (await readShard(plan, shard)).digest))
    if (jobs.length === 500) await flush()
  }
  await flush()
  const dead = await queue.getFailedCount()
  return { done: done.size, dead, queued: added - dead }
}

/** Shards that failed in all attempts, with their last error. */
export async function* deadJobs(queue) {
  for (let first = 0; ; first += 500) {
    const jobs = await queue.getFailed(first, first + 499)
    for (const job of jobs) if (job) yield job
    if (jobs.length < 500) return
  }
}

/**
 * Gives a dead job all its attempts again. The job is created anew, because an old job keeps its count of crashes. If this is
 * killed in between, the shard is neither queued nor done, and `plan` queues it.
 */
export async function revive(plan, queue, job) {
  await job.remove()
  await queue.addBulk([jobOf(plan, job.data.shard, job.data.digest)])
}
