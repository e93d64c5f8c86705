/** `embed FOLDER --store`, `search`, `duplicates`, `export`: commands that create and query stores. */

import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { argumentError, ClipError, got, printable } from '../base/errors.js'
import { checkPath, nameOfPath } from '../base/file-name.js'
import { systemReason } from '../base/regular-file.js'
import { imageFiles, type LeftOut } from '../image/files.js'
import { LeftOutList } from '../image/left-out.js'
import type { Store, StoreDtype, StoreQuery } from '../index.js'
import { untilInterrupted } from './interrupt.js'
import { tellLeftOut } from './left-out.js'
import { loadFor, type ModelOptions, number, progress, withModel } from './model.js'
import { bold, dim, errorJson, errorLine, print } from './output.js'

export interface EmbedStoreCommand extends ModelOptions {
  store: string
  storeDtype?: string
  followLinks?: boolean
  json?: boolean
}

/** An argument of the command line: an image or a folder of images, as an absolute path or a file: URL. */
interface Root {
  path: string
  folder: boolean
}

async function rootOf(input: string): Promise<Root> {
  const path = checkPath('image', input)
  const stats = await stat(path).catch(cause => {
    throw new ClipError('ERR_CLIP_INPUT', `${input}: ${systemReason(cause, 'opened', path)}`, {
      file: input,
      cause,
    })
  })
  return { path: typeof path === 'string' ? resolve(path) : nameOfPath(path), folder: stats.isDirectory() }
}

/**
 * Embeds images and folders of images into a store. Exit code: 1 if an image could not be embedded or a folder could not be
 * read, 130 after Ctrl-C.
 */
export async function embedStore(inputs: string[], options: EmbedStoreCommand): Promise<number> {
  if (inputs.length === 0) throw argumentError('embed --store', 'have folders or images', got('none'))
  return untilInterrupted(async signal => {
    const roots: Root[] = []
    for (const input of inputs) roots.push(await rootOf(input))
    const leftOut = new LeftOutList()
    const files = async function* (onLeftOut = (_: LeftOut) => {}) {
      for (const { path, folder } of roots) {
        if (!folder) yield path
        else yield* imageFiles(path, { followLinks: options.followLinks ?? false, onLeftOut, signal })
      }
    }
    let total = 0
    for await (const _ of files(leftOut.add)) total++
    await using clip = await loadFor(options, { signal, note: true })
    const dtype = options.storeDtype as StoreDtype | undefined
    await using store = await clip.openStore(options.store, {
      create: true,
      signal,
      ...(dtype === undefined ? {} : { dtype }),
    })
    const bar = barOf(total)
    let last = { added: 0, skipped: 0, failed: 0 }
    let ended = false
    try {
      const { errors } = await store.add(files(), {
        errors: 'collect',
        signal,
        onProgress: ({ done, added, skipped, failed }) => {
          last = { added, skipped, failed }
          bar?.update(done)
        },
      })
      ended = true
      bar?.stop()
      for (const { id, error } of errors) {
        if (options.json) await print(JSON.stringify({ image: id, error: errorJson(error) }))
        else process.stderr.write(`clip-native: ${errorLine(error)}\n`)
      }
      return errors.length > 0 || leftOut.unreadable > 0 ? 1 : 0
    } finally {
      bar?.stop()
      const { size } = store
      if (options.json)
        await print(JSON.stringify({ store: store.folder, size, ...last, leftOut, stopped: !ended }))
      else {
        tellLeftOut(leftOut)
        await print(
          `${bold(printable(options.store))}: ${size} images (${last.added} embedded, ${last.skipped} already present${last.failed > 0 ? `, ${last.failed} failed` : ''})${ended ? '' : '\nStopped. Run the same command to continue.'}`,
        )
      }
    }
  })
}

/** A progress bar on a terminal, even if stdout is the same terminal, because nothing else is printed in the meantime. */
function barOf(total: number): SingleBar | undefined {
  if (!process.stderr.isTTY || total < 2) return undefined
  const bar = new SingleBar({
    format: 'embedded {bar} {value}/{total}  {eta_formatted} left',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
  })
  bar.start(total, 0)
  return bar
}

/** Runs a function on an open store; Ctrl-C aborts it. */
function withStore(
  path: string,
  options: ModelOptions,
  run: (store: Store, signal: AbortSignal) => Promise<number>,
  note = false,
): Promise<number> {
  return untilInterrupted(async signal => {
    await using clip = await loadFor(options, { signal, note })
    await using store = await clip.openStore(path, { signal })
    return await run(store, signal)
  })
}

interface SearchCommand extends ModelOptions {
  image?: string
  weight?: string
  top?: string
  json?: boolean
}

async function search(path: string, text: string | undefined, options: SearchCommand): Promise<number> {
  const { image } = options
  if (text === undefined && image === undefined)
    throw argumentError('search', 'have words, --image or both', got('neither'))
  const weight = options.weight === undefined ? undefined : Number(options.weight)
  const query: StoreQuery = {
    ...(text === undefined ? {} : { text }),
    ...(image === undefined ? {} : { image }),
    ...(weight === undefined ? {} : { weight }),
  }
  return withStore(
    path,
    options,
    async (store, signal) => {
      const topK = number(options.top)
      const matches = await store.search(query, { signal, ...(topK === undefined ? {} : { topK }) })
      for (const { id, score } of matches)
        await print(options.json ? JSON.stringify({ id, score }) : `${score.toFixed(4)}  ${printable(id)}`)
      if (matches.length === 0 && !options.json) process.stderr.write(`${printable(path)} is empty\n`)
      return 0
    },
    true,
  )
}

interface DuplicatesCommand extends ModelOptions {
  threshold: string
  json?: boolean
}

async function duplicates(path: string, options: DuplicatesCommand): Promise<number> {
  return withStore(path, options, async (store, signal) => {
    const bar = progress(1000, 'compared')
    let pairs = 0
    try {
      const onProgress = ({ done, total }: { done: number; total: number }) =>
        bar.update(Math.floor((1000 * done) / total))
      for await (const pair of store.nearDuplicates({
        threshold: Number(options.threshold),
        signal,
        onProgress,
      })) {
        pairs++
        const { a, b, score } = pair
        await print(
          options.json
            ? JSON.stringify(pair)
            : `${bold(score.toFixed(4))}  ${printable(a)}\n        ${printable(b)}`,
        )
      }
    } finally {
      bar.stop()
    }
    if (!options.json)
      await print(dim(`${pairs} ${pairs === 1 ? 'pair' : 'pairs'} among ${store.size} images`))
    return 0
  })
}

async function compact(path: string, options: ModelOptions & { json?: boolean }): Promise<number> {
  return withStore(path, options, async (store, signal) => {
    const bar = progress(1000, 'compacted')
    const onProgress = ({ done, total }: { done: number; total: number }) =>
      bar.update(Math.floor((1000 * done) / total))
    const { removed, bytes } = await store.compact({ signal, onProgress }).finally(() => bar.stop())
    const { size } = store
    const freed = `${removed} replaced ${removed === 1 ? 'row' : 'rows'} removed, ${(bytes / 1e6).toFixed(1)} MB freed`
    await print(
      options.json
        ? JSON.stringify({ store: store.folder, size, removed, bytes })
        : `${bold(printable(path))}: ${size} images (${removed === 0 ? 'nothing to remove' : freed})`,
    )
    return 0
  })
}

async function exportFile(path: string, file: string, options: ModelOptions): Promise<number> {
  return withStore(path, options, async (store, signal) => {
    await store.export(file, { signal })
    await print(`${printable(file)}: ${store.size} x ${store.embedDim} float32`)
    return 0
  })
}

export function registerStore(root: Command, finish: (code: number) => void): void {
  const json = ['--json', 'print JSON, one object per line'] as const
  withModel(
    root
      .command('search')
      .description('search a store by words, by an image or by both')
      .argument('<store>', 'store folder that embed --store created')
      .argument('[words]', 'text to search for')
      .option('--image <file>', 'image to search for')
      .option('--weight <share>', 'with words and an image: weight of the words, from 0 to 1 (default: 0.5)')
      .option('--top <count>', 'number of images to show', '10')
      .option(...json),
  ).action(async (store, words, options) => finish(await search(store, words, options)))
  withModel(
    root
      .command('duplicates')
      .description('list pairs of nearly identical images in a store')
      .argument('<store>', 'store folder that embed --store created')
      .option('--threshold <cosine>', 'smallest cosine of a pair, from -1 to 1', '0.95')
      .option(...json),
  ).action(async (store, options) => finish(await duplicates(store, options)))
  withModel(
    root
      .command('compact')
      .description('reclaim the disk space of rows that newer ones replaced')
      .argument('<store>', 'store folder that embed --store created')
      .option(...json),
  ).action(async (store, options) => finish(await compact(store, options)))
  withModel(
    root
      .command('export')
      .description('export a store to a .npy, .arrow or .parquet file')
      .argument('<store>', 'store folder that embed --store created')
      .argument('<file>', 'file to write'),
  ).action(async (store, file, options) => finish(await exportFile(store, file, options)))
}
