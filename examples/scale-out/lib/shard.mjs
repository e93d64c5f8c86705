/**
 * Embeds one shard: its images become a separate store, which appears in done/ in one step. If two workers do the same shard,
 * one result remains.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { syncFolder, writeWhole } from './files.mjs'
import { DamagedArchive, imagesOfTar } from './images.mjs'
import { readShard } from './plan.mjs'
import { readReport } from './reports.mjs'

/** A shard that fails in the same way however often it is tried. */
export class HopelessShard extends Error {}

/** Whether a name is a valid id of a store. */
const isId = id => id.length <= 32768 && !/\p{Surrogate}/u.test(id)

/** An error of the file system, not of the image: a missing mount may come back, but a broken JPEG stays broken. */
const isUnreadable = error => typeof error?.cause?.code === 'string' && /^E[A-Z]+$/.test(error.cause.code)

/** Checks that the files exist, before anything is computed. */
async function missingFiles(root, images) {
  const reasons = []
  for (const path of images)
    await stat(join(root, path)).catch(error => reasons.push(`${path} (${error.code})`))
  return reasons
}

async function* imagesOf(list, root, fail) {
  const all = list.tar
    ? imagesOfTar(root, list.tar, (id, reason) => fail(id, 'TOO_LARGE', reason))
    : list.images.map(path => ({ id: path, image: join(root, path) }))
  for await (const image of all) {
    if (isId(image.id)) yield image
    else fail(image.id.slice(0, 200), 'NAME', 'its name is too long or not well-formed Unicode')
  }
}

/**
 * Embeds a shard and returns its report, which lists the images that can't be decoded, with the reasons. It rejects if files
 * can't be read and the shard will be tried again; in the last attempt these files are listed too, unless no file can be
 * read. Rejects with HopelessShard for a damaged archive or list, and with `signal.reason`.
 */
export async function embedShard(clip, plan, shard, { digest, root, signal, onProgress, lastAttempt }) {
  // Checked because it comes from Redis and becomes part of a path.
  if (!/^\d{6,}$/.test(shard)) throw new HopelessShard('expected the number of a shard')
  const there = await readReport(plan, shard)
  if (there) return there
  const { list, digest: found } = await readShard(plan, shard)
  if (found !== digest) throw new HopelessShard(`shards/${shard}.json is not the list of this job`)
  const failed = []
  const fail = (id, code, reason) => failed.push({ id, code, reason })
  if (list.images) {
    const missing = await missingFiles(root, list.images)
    const all = missing.length === list.images.length
    if (all || (missing.length > 0 && !lastAttempt))
      throw new Error(
        `${missing.length} of ${list.images.length} files in ${root} can't be read: ${missing[0]}`,
      )
  }

  const done = join(plan.folder, 'done')
  const part = join(done, `${shard}.${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}.part`)
  const started = performance.now()
  try {
    await mkdir(part)
    const store = await clip.openStore(join(part, 'store'), { create: true, dtype: plan.storeDtype, signal })
    const { added, skipped, errors } = await store.add(imagesOf(list, root, fail), {
      errors: 'collect',
      signal,
      onProgress: progress => onProgress(progress.done),
    })
    await store.close()
    const unreadable = errors.filter(({ error }) => isUnreadable(error))
    if (unreadable.length > 0 && !lastAttempt)
      throw new Error(`${unreadable.length} images can't be read: ${unreadable[0].error.message}`)
    for (const { id, error } of errors) fail(id, error.code, error.message)
    const { fingerprint, dtype, backend } = clip.info
    const report = {
      shard,
      images: added + failed.length,
      embedded: added,
      // Images whose name occurs repeatedly in a tar.
      duplicates: skipped,
      failed,
      model: { fingerprint, dtype, backend },
      host: hostname(),
      seconds: (performance.now() - started) / 1000,
    }
    await writeWhole(join(part, 'report.json'), `${JSON.stringify(report, null, 2)}\n`)
    await rename(part, join(done, shard))
    await syncFolder(done)
    return report
  } catch (error) {
    await rm(part, { recursive: true, force: true })
    // Another worker was quicker, after this one had been considered dead.
    const theirs = await readReport(plan, shard)
    if (theirs) return theirs
    if (error instanceof DamagedArchive) throw new HopelessShard(error.message, { cause: error })
    throw error
  }
}
