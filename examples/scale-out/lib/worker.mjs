/** A worker takes shards until none is left. Any number of workers may run on any number of machines with the same Redis. */
import { Queue, UnrecoverableError, WaitingError, Worker } from 'bullmq'
import { withModel } from './model.mjs'
import { readPlan } from './plan.mjs'
import { connect } from './queue.mjs'
import { missingShards } from './reports.mjs'
import { embedShard, HopelessShard } from './shard.mjs'

/** Why a model does not fit the plan, or undefined. */
function mismatch(wanted, info) {
  for (const field of ['fingerprint', 'dtype'])
    if (info[field] !== wanted[field])
      return `the plan is for a model with ${field} ${wanted[field]}, but this worker's model has ${info[field]}`
  return undefined
}

/** Calls `act` at most once every `ms` milliseconds. */
function seldom(ms, act) {
  let last = 0
  return value => {
    if (Date.now() - last < ms) return
    last = Date.now()
    act(value)
  }
}

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

/** Exit code: 0 if every shard is done, 1 if some are not, 2 for a model that does not fit, 130 after a signal. */
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

/** Resolves when no shard is waiting, running or to be tried again, because a running shard may return to the queue. */
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

/** Handles the first and the second Ctrl-C; the third ends the process, and other workers find its shard stalled. */
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
    // Without counting an attempt. If Redis can't be reached, the lock expires, which has the same effect.
    await Promise.race([job.moveToWait(token), pause(3000)])
    throw new WaitingError()
  }
  const embed = async (job, token) => {
    const { shard, digest } = job.data
    const other = mismatch(job.data, clip.info)
    if (other) {
      say(`refused ${shard}: ${other}`)
      finish(2)
      // Before the job is back in the queue, or this worker would take it again.
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
    // A worker that has not renewed its job for this long is considered dead, and others take the job.
    lockDuration: 1000 * lockSeconds,
    stalledInterval: 1000 * lockSeconds,
    maxStalledCount: crashes,
    runRetryDelay: 1000,
    drainDelay: 1,
  })
  // Lost connections and locks; the work that they were for is repeated by some worker.
  for (const source of [worker, queue]) source.on('error', error => verbose && say(error.message))
  worker.on('failed', (job, error) => {
    if (!job) return
    const more = job.attemptsMade < job.opts.attempts && error.name !== 'UnrecoverableError'
    say(
      `${job.data.shard} failed: ${error.message}; ${more ? 'it will be tried again' : 'no attempts are left'}`,
    )
  })
  worker.on('stalled', id => say(`${id}: its worker has died; another one takes it`))
  onSignals(
    () => {
      say('finishing the current shard; press Ctrl-C again to put it back')
      finish(130)
    },
    () => putBack.abort(new Error('put back')),
  )
  void untilNothingIsLeft(queue, redis, () => running === 0).then(() => finish())

  const code = await finished
  // This does not end while Redis can't be reached, so a second signal does not wait for it.
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
