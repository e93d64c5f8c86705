/** A worker: takes shards until none is left. As many as you like, on as many machines, with the same Redis. */
import { Queue, UnrecoverableError, WaitingError, Worker } from 'bullmq'
import { withModel } from './model.mjs'
import { doneShards, readPlan } from './plan.mjs'
import { connect } from './queue.mjs'
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

const pause = ms => new Promise(resolve => setTimeout(resolve, ms).unref())

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

async function takeShards(plan, clip, options) {
  const { redis: address, concurrency, lockSeconds, crashes, say } = options
  const root = options.root ?? plan.root
  const wrong = mismatch(plan.model, clip.info)
  if (wrong) {
    say(`refused: ${wrong}`)
    return 2
  }

  const putBack = new AbortController()
  let code
  let finish
  const finished = new Promise(resolve => {
    finish = value => {
      code ??= value
      resolve()
    }
  })
  const redis = connect(address, { patient: true, say })

  const giveBack = async (job, token) => {
    // Without counting an attempt. Where Redis is away its lock runs out, which comes to the same.
    await Promise.race([job.moveToWait(token), pause(3000)])
    throw new WaitingError()
  }
  const handle = async (job, token) => {
    const other = mismatch(job.data, clip.info)
    if (other) {
      say(`refused ${job.data.shard}: ${other}`)
      finish(2)
      void worker.close()
      return giveBack(job, token)
    }
    const { shard, digest } = job.data
    try {
      const report = await embedShard(clip, plan, shard, {
        digest,
        root,
        signal: putBack.signal,
        lastAttempt: job.attemptsMade + 1 >= job.opts.attempts,
        onProgress: seldom(5000, done => void job.updateProgress(done).catch(() => {})),
      })
      const { embedded, failed, seconds } = report
      const bad = failed.length > 0 ? `, ${failed.length} could not be` : ''
      say(`${shard}: ${embedded} embedded${bad}, ${(embedded / Math.max(seconds, 1e-3)).toFixed(0)}/s`)
      return { embedded, failed: failed.length }
    } catch (error) {
      if (putBack.signal.aborted) return giveBack(job, token)
      if (error instanceof HopelessShard) throw new UnrecoverableError(error.message)
      throw error
    }
  }

  const worker = new Worker(plan.queue, handle, {
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
  worker.on('error', error => options.verbose && say(error.message))
  worker.on('failed', (job, error) => {
    if (!job) return
    const more = job.attemptsMade < job.opts.attempts && error.name !== 'UnrecoverableError'
    say(`${job.data.shard} failed: ${error.message}; ${more ? 'it will be tried again' : 'given up'}`)
  })
  worker.on('stalled', id => say(`${id}: its worker is gone; taken over`))

  // While anybody has a shard it may come back.
  const queue = new Queue(plan.queue, { connection: redis })
  queue.on('error', () => {})
  let asking = false
  const timer = setInterval(async () => {
    if (asking || redis.status !== 'ready') return
    asking = true
    const open = await queue.getJobCountByTypes('waiting', 'active', 'delayed').catch(() => undefined)
    if (open === 0) finish()
    asking = false
  }, 1000)

  let signals = 0
  const stop = () => {
    signals++
    if (signals === 1) {
      say('finishing the current shard; once more to put it back')
      finish(130)
    } else if (signals === 2) putBack.abort(new Error('put back'))
    else process.exit(130)
  }
  for (const name of ['SIGINT', 'SIGTERM']) process.on(name, stop)

  await finished
  clearInterval(timer)
  // Where Redis is away it does not end; a second signal does not wait for it.
  const hurried = new Promise(resolve => putBack.signal.addEventListener('abort', () => resolve(pause(5000))))
  await Promise.race([worker.close(), hurried])
  redis.disconnect()
  const left = plan.shards - (await doneShards(plan)).size
  if (code === undefined)
    say(
      left === 0
        ? 'all shards are done'
        : `nothing is queued, ${left} shards are not done: see \`dead\`, or \`plan\` again`,
    )
  return code ?? (left === 0 ? 0 : 1)
}
