/** Merges the finished shards, in order, into one search store. Needs no Redis. */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { withModel, withStore } from './model.mjs'
import { doneShards, shardNames } from './plan.mjs'
import { missingShards, Totals } from './reports.mjs'

/** The names in one line; of many, only the first ones. */
const some = names =>
  names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ')

/** Removes the leftovers of killed workers for shards that are done. */
async function removeLeftovers(plan) {
  const done = await doneShards(plan)
  for (const name of await readdir(join(plan.folder, 'done')))
    if (name.endsWith('.part') && done.has(name.split('.')[0]))
      await rm(join(plan.folder, 'done', name), { recursive: true, force: true })
}

/**
 * If it is killed at any moment, the same call continues: existing rows are skipped. Rejects if shards are missing, unless
 * `allowMissing` is set; the store then has the rows of the other shards, in order.
 */
export async function merge(plan, { store: path, model, allowMissing, signal, onProgress = () => {} }) {
  const missing = await missingShards(plan)
  if (missing.length > 0 && !allowMissing)
    throw new Error(
      `${missing.length} of ${plan.shards} shards are not done: ${some(missing)}. Finish them (\`status\`, \`dead\`), or merge the others with --allow-missing`,
    )
  const totals = new Totals()
  await totals.read(plan)
  const absent = new Set(missing)
  const sum = { added: 0, updated: 0, skipped: 0 }
  let merged = 0
  const options = { create: true, dtype: plan.storeDtype, signal }
  const size = await withModel(model ?? plan.model.source, {}, clip =>
    withStore(clip, path, options, async target => {
      for (const shard of shardNames(plan)) {
        if (absent.has(shard)) continue
        const folder = join(plan.folder, 'done', shard, 'store')
        const result = await withStore(clip, folder, { signal }, source => target.merge(source, { signal }))
        for (const key of Object.keys(sum)) sum[key] += result[key]
        onProgress(++merged)
      }
      return target.size
    }),
  )
  await removeLeftovers(plan)
  const { embedded, failed, duplicates, backends } = totals
  return {
    size,
    shards: merged,
    missing,
    ...sum,
    embedded,
    failed: failed.length,
    duplicates,
    backends: [...backends.keys()],
  }
}
