/**
 * A job folder, which all workers see:
 *
 *   plan.json          what is embedded, with which model; written last, so where it is the shards are
 *   shards/000017.json what belongs to a shard: { images: [...] } or { tar }, relative to the root
 *   done/000017/       a finished shard: a store of its own and report.json; appears whole, by rename
 *
 * What is done is what lies in done/. Redis only says who does the rest: if it loses everything, `plan` queues it again.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { basename, join, relative, resolve } from 'node:path'
import { readJson, syncFolder, writeWhole } from './files.mjs'
import { imagesOfFolder, sourceOf } from './images.mjs'

export const digestOf = text => createHash('sha256').update(text).digest('hex').slice(0, 16)
export const shardName = number => String(number).padStart(6, '0')

/** Names of all shards, in order. */
export function* shardNames(plan) {
  for (let i = 0; i < plan.shards; i++) yield shardName(i)
}

export async function readPlan(folder) {
  const plan = await readJson(join(folder, 'plan.json'))
  if (!plan) throw new Error(`${folder} has no plan.json: create one with \`plan\``)
  if (plan.format !== 'clip-native/scale-out' || plan.version !== 1)
    throw new Error(`${folder}/plan.json is not a plan of this version`)
  return { ...plan, folder: resolve(folder) }
}

/** The text of a shard's list, and its digest. */
export async function readShard(plan, shard) {
  const text = await readFile(join(plan.folder, 'shards', `${shard}.json`), 'utf8')
  return { list: JSON.parse(text), digest: digestOf(text) }
}

/** Names of the shards that are finished. */
export async function doneShards(plan) {
  const names = await readdir(join(plan.folder, 'done')).catch(() => [])
  return new Set(names.filter(name => /^\d{6,}$/.test(name)))
}

/** Divides folders into shards of `size` images; each tar is a shard. */
async function* shardsOf({ kind, root, sources }, size) {
  if (kind === 'tars') {
    for (const tar of sources) yield { tar: relative(root, tar).replaceAll('\\', '/') }
    return
  }
  let images = []
  for await (const path of imagesOfFolder(root)) {
    images.push(path)
    if (images.length < size) continue
    yield { images }
    images = []
  }
  if (images.length > 0) yield { images }
}

/** Reads the sources, and writes the lists of the shards unless `folder` is undefined. */
async function cut(source, size, folder) {
  const all = createHash('sha256')
  let shards = 0
  let images = 0
  for await (const list of shardsOf(source, size)) {
    const text = `${JSON.stringify(list)}\n`
    all.update(digestOf(text))
    images += list.images?.length ?? 0
    if (folder) await writeWhole(join(folder, 'shards', `${shardName(shards)}.json`), text)
    shards++
  }
  return { shards, images: source.kind === 'folder' ? images : undefined, digest: all.digest('hex') }
}

/**
 * Creates the plan of a job folder, or reads an existing one. Sources that differ from those of an existing plan are refused,
 * because the images of a shard must not change while shards are being done.
 */
export async function makePlan(folder, paths, { shardSize, storeDtype, attempts, backoff, modelOf }) {
  const there = await readJson(join(folder, 'plan.json'))
  if (paths.length === 0) {
    if (!there) throw new Error('plan: expected a folder of images or tar files for a new plan')
    return await readPlan(folder)
  }
  const source = await sourceOf(paths)
  const model = await modelOf()
  if (there) {
    const plan = await readPlan(folder)
    const { digest } = await cut(source, plan.shardSize, undefined)
    if (digest !== plan.digest || source.root !== plan.root)
      throw new Error(
        `${folder} has a plan of other images (of ${plan.root}; were some added or removed?): plan these in another folder, because stores can be merged`,
      )
    const other = Object.entries(model).find(([field, value]) => plan.model[field] !== value)
    if (other)
      throw new Error(`${folder} has a plan for ${other[0]} ${plan.model[other[0]]}, not ${other[1]}`)
    return plan
  }
  await mkdir(join(folder, 'done'), { recursive: true })
  // Left by a plan that was not finished.
  await rm(join(folder, 'shards'), { recursive: true, force: true })
  await mkdir(join(folder, 'shards'))
  const { shards, images, digest } = await cut(source, shardSize, folder)
  if (shards === 0) throw new Error(`${paths.join(', ')}: there are no images`)
  await syncFolder(folder)
  const plan = {
    format: 'clip-native/scale-out',
    version: 1,
    queue: `scale-out-${basename(resolve(folder)).replace(/[^\w-]/g, '_')}-${randomBytes(4).toString('hex')}`,
    kind: source.kind,
    root: source.root,
    shards,
    images,
    shardSize,
    storeDtype,
    attempts,
    backoff,
    model,
    digest,
  }
  await writeWhole(join(folder, 'plan.json'), `${JSON.stringify(plan, null, 2)}\n`)
  return await readPlan(folder)
}
