/** One shard: its images become a store of its own that appears in done/ as a whole. Done twice it is done once. */
import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { syncFolder, writeWhole } from './files.mjs'
import { DamagedArchive, imagesOfTar } from './images.mjs'
import { readShard } from './plan.mjs'
import { readReport } from './reports.mjs'

/** A shard that will not become better by trying again. */
export class HopelessShard extends Error {}

/** A name that the store takes. */
const isId = id => id.length <= 32768 && !/\p{Surrogate}/u.test(id)

/** Of the file system, not of the image: a mount that is away comes back, a broken JPEG stays broken. */
const isUnreadable = error => typeof error?.cause?.code === 'string' && /^E[A-Z]+$/.test(error.cause.code)

/** Before anything is computed: whether its files are there. */
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
 * Embeds a shard and returns its report. Images that can't be decoded are in it with their reasons. Files that can't
 * be read make it reject while it is going to be tried again; in the last attempt they are images that failed, too,
 * unless no file can be read. Rejects with HopelessShard for a damaged archive or list, and with `signal.reason`.
 */
export async function embedShard(clip, plan, shard, { digest, root, signal, onProgress, lastAttempt }) {
  // From Redis, and part of a path.
  if (!/^\d{6,}$/.test(shard)) throw new HopelessShard('expected the number of a shard')
  const there = await readReport(plan, shard)
  if (there) return there
  const { list, digest: found } = await readShard(plan, shard)
  if (found !== digest)
    throw new HopelessShard(`shards/${shard}.json is not the list that this job was made for`)
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
      // The same name again in one tar.
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
    // Somebody else was quicker, after this worker had been taken for dead.
    const theirs = await readReport(plan, shard)
    if (theirs) return theirs
    if (error instanceof DamagedArchive) throw new HopelessShard(error.message, { cause: error })
    throw error
  }
}
