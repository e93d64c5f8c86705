/** Reads the reports of finished shards. */
import { join } from 'node:path'
import { readJson } from './files.mjs'
import { doneShards, shardNames } from './plan.mjs'

/** Undefined for a shard that is not finished. */
export const readReport = (plan, shard) => readJson(join(plan.folder, 'done', shard, 'report.json'))

/** Adds up reports; each report is read once. */
export class Totals {
  #seen = new Set()
  embedded = 0
  failed = []
  duplicates = 0
  backends = new Map()

  async read(plan) {
    const done = await doneShards(plan)
    for (const shard of [...done].sort()) {
      if (this.#seen.has(shard)) continue
      const report = await readReport(plan, shard)
      if (!report) continue
      this.#seen.add(shard)
      this.embedded += report.embedded
      this.duplicates += report.duplicates
      for (const failure of report.failed) this.failed.push({ shard, ...failure })
      const { backend } = report.model
      this.backends.set(backend, (this.backends.get(backend) ?? 0) + 1)
    }
    return done.size
  }
}

/** Shards without a result, in order. */
export async function missingShards(plan) {
  const done = await doneShards(plan)
  return [...shardNames(plan)].filter(shard => !done.has(shard))
}
