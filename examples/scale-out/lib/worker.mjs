/** A worker: takes shards until none is left. As many as you like, on as many machines, with the same Redis. */
import { Queue, UnrecoverableError, WaitingError, Worker } from 'bullmq'
import { withModel } from './model.mjs'
import { readPlan } from './plan.mjs'
import { connect } from './queue.mjs'
import { missingShards } from './reports.mjs'
import { embedShard, HopelessShard } from './shard.mjs'

/** What keeps a model from a job: nothing, or a sentence. */
function mismatch(wanted, info) {
  for (const field of ['fingerprint', 'dtype'])
    if (info[field] !== wanted[field])
      return `the plan is for a model with ${field} ${wanted[field]}, this worker's has ${info[field]}`
  return undefined
}

/** Not more often than every `ms`. */
function seldom(ms, act) {
  let last = 0
  return value => {
    if (Date.now() - last < ms) return
    last = Date.now()
    act(value)
  }
}

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

/** Exit code: 0 when every shard is done, 1 when some are not, 2 for a model that does not fit, 130 after a signal. */
export async function work(folder, options) {
  const { model, threads, device } = options
  const plan = await readPlan(folder)
  const settings = {
    dtype: plan.model.dtype,
    ...(threads === undefined ? {} : { threads }),
    ...(device === undefined ? {} : { device }),
  }
  return withModel(model ?? plan.model.source, settings, clip => takeShards(plan, clip, options))
}

/** Resolves when no shard is waiting, running or to be tried again; while anybody has one it may come back. */
function untilNothingIsLeft(queue, redis, isIdle) {
  return new Promise(resolve => {
    let asking = false
    const timer = setInterval(async () => {
      if (asking || redis.status !== 'ready' || !isIdle()) return
      asking = true
      const left = await queue.getJobCountByTypes('waiting', 'active', 'delayed').catch(() => undefined)
      asking = false
      if (left !== 0) return
      clearInterval(timer)
      resolve()
    }, 1000)
  })
}

/** The first Ctrl-C, the second; at the third the process ends, and others will find its shard stalled. */
function onSignals(first, second) {
  let signals = 0
  for (const name of ['SIGINT', 'SIGTERM'])
    process.on(name, () => {
      signals++
      if (signals === 1) first()
      else if (signals === 2) second()
      else process.exit(130)
    })
}

async function takeShards(plan, clip, options) {
  const { redis: address, concurrency, lockSeconds, crashes, verbose, say } = options
  const root = options.root ?? plan.root
  const wrong = mismatch(plan.model, clip.info)
  if (wrong) {
    say(`refused: ${wrong}`)
    return 2
  }
  const redis = connect(address, { patient: true, say })
  const queue = new Queue(plan.queue, { connection: redis })
  const putBack = new AbortController()
  let running = 0
  let finish
  const finished = new Promise(resolve => {
    finish = resolve
  })

  const giveBack = async (job, token) => {
    // Without counting an attempt. Where Redis is away its lock runs out, which comes to the same.
    await Promise.race([job.moveToWait(token), pause(3000)])
    throw new WaitingError()
  }
  const embed = async (job, token) => {
    const { shard, digest } = job.data
    const other = mismatch(job.data, clip.info)
    if (other) {
      say(`refused ${shard}: ${other}`)
      finish(2)
      // Before it is back in the queue: or this worker would take it again.
      void worker.close()
      return giveBack(job, token)
    }
    try {
      const { embedded, failed, seconds } = await embedShard(clip, plan, shard, {
        digest,
        root,
        signal: putBack.signal,
        lastAttempt: job.attemptsMade + 1 >= job.opts.attempts,
        onProgress: seldom(5000, done => void job.updateProgress(done).catch(() => {})),
      })
      const bad = failed.length > 0 ? `, ${failed.length} could not be` : ''
      say(`${shard}: ${embedded} embedded${bad}, ${(embedded / Math.max(seconds, 1e-3)).toFixed(0)}/s`)
      return { embedded, failed: failed.length }
    } catch (error) {
      if (putBack.signal.aborted) return giveBack(job, token)
      if (error instanceof HopelessShard) throw new UnrecoverableError(error.message)
      throw error
    }
  }
  const counted = async (job, token) => {
    running++
    return embed(job, token).finally(() => running--)
  }

  const worker = new Worker(plan.queue, counted, {
    connection: redis,
    concurrency,
    // A worker that did not touch its job for so long is dead, and others take it.
    lockDuration: 1000 * lockSeconds,
    stalledInterval: 1000 * lockSeconds,
    maxStalledCount: crashes,
    runRetryDelay: 1000,
    drainDelay: 1,
  })
  // Connections and locks that were lost; what they were for is done again by somebody.
  for (const source of [worker, queue]) source.on('error', error => verbose && say(error.message))
  worker.on('failed', (job, error) => {
    if (!job) return
    const more = job.attemptsMade < job.opts.attempts && error.name !== 'UnrecoverableError'
    say(`${job.data.shard} failed: ${error.message}; ${more ? 'it will be tried again' : 'given up'}`)
  })
  worker.on('stalled', id => say(`${id}: its worker is gone; taken over`))
  onSignals(
    () => {
      say('finishing the current shard; once more to put it back')
      finish(130)
    },
    () => putBack.abort(new Error('put back')),
  )
  void untilNothingIsLeft(queue, redis, () => running === 0).then(() => finish())

  const code = await finished
  // Where Redis is away it does not end; a second signal does not wait for it.
  const hurried = new Promise(resolve => putBack.signal.addEventListener('abort', () => resolve(pause(5000))))
  await Promise.race([worker.close(), hurried])
  redis.disconnect()
  if (code !== undefined) return code
  const left = (await missingShards(plan)).length
  say(
    left === 0
      ? 'all shards are done'
      : `nothing is queued, ${left} shards are not done: see \`dead\`, or \`plan\` again`,
  )
  return left === 0 ? 0 : 1
}
