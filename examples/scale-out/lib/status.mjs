/** The progress of a job: finished shards in done/, and the state of the others in Redis. */
import cliProgress from 'cli-progress'
import { deadJobs, withQueue } from './queue.mjs'
import { Totals } from './reports.mjs'

export async function statusOf(plan, queue, totals) {
  const done = await totals.read(plan)
  const counts = await queue.getJobCounts('waiting', 'active', 'delayed', 'failed')
  const active = await queue.getActive(0, 999)
  const running = active.reduce((sum, job) => sum + (Number(job?.progress) || 0), 0)
  return {
    shards: plan.shards,
    done,
    waiting: counts.waiting,
    active: counts.active,
    retrying: counts.delayed,
    dead: counts.failed,
    // Neither done nor in the queue, because Redis lost the job or `plan` was killed. `plan` queues it again.
    lost: Math.max(0, plan.shards - done - counts.waiting - counts.active - counts.delayed - counts.failed),
    images: plan.images,
    embedded: totals.embedded,
    failed: totals.failed.length,
    duplicates: totals.duplicates,
    running,
  }
}

const barsize = 30
const bar = {
  barsize,
  barCompleteString: '█'.repeat(barsize),
  barIncompleteString: '░'.repeat(barsize),
  barGlue: '',
}

function restOf(s) {
  const parts = [`${s.embedded + s.running}${s.images ? ` of ${s.images}` : ''} images`]
  for (const [name, count] of [
    ['failed', s.failed],
    ['active', s.active],
    ['waiting', s.waiting],
    ['retrying', s.retrying],
    ['dead', s.dead],
    ['lost', s.lost],
  ])
    if (count > 0) parts.push(`${count} ${name}`)
  return parts.join(', ')
}

/** The bar as one line, for output that is not a terminal. */
function lineOf(now) {
  const part = now.done / now.shards
  const percentage = String(Math.floor(100 * part)).padStart(3)
  return `${cliProgress.Format.BarFormat(part, bar)} ${percentage} %  ${now.done} of ${now.shards} shards  ${restOf(now)}`
}

/** Follows a job until nothing is queued, with a bar on a terminal; elsewhere it only waits. */
async function follow(queue, look) {
  const one = new cliProgress.SingleBar({
    barsize,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    format: '{bar} {percentage} %  {value} of {total} shards  {rest}  {eta_formatted} left',
    hideCursor: true,
    clearOnComplete: true,
  })
  let started = false
  try {
    for (;;) {
      const now = await look(queue)
      if (process.stdout.isTTY) {
        if (!started) one.start(now.shards, now.done, { rest: restOf(now) })
        started = true
        one.update(now.done, { rest: restOf(now) })
      }
      if (now.waiting + now.active + now.retrying === 0) return now
      await new Promise(resolve => setTimeout(resolve, 1000))
    }
  } finally {
    if (started) one.stop()
  }
}

/** Exit code: 0 if every shard is done. */
export async function status(plan, { redis, json, failures, watch, print }) {
  const totals = new Totals()
  const look = queue => statusOf(plan, queue, totals)
  const now = await withQueue(plan, redis, queue => (watch ? follow(queue, look) : look(queue)))
  if (json) print(JSON.stringify({ ...now, ...(failures ? { failures: totals.failed } : {}) }))
  else {
    print(lineOf(now))
    if (failures) for (const { id, code, reason } of totals.failed) print(`  ${id}: ${reason} (${code})`)
  }
  return now.done === now.shards ? 0 : 1
}

/** The dead-letter list: shards that failed in all their attempts, with the reasons. */
export async function deadList(queue) {
  const list = []
  for await (const job of deadJobs(queue)) {
    const { shard } = job.data
    list.push({ job, shard, attempts: job.attemptsMade, reason: job.failedReason })
  }
  return list.sort((a, b) => (a.shard < b.shard ? -1 : 1))
}
