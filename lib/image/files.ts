/** The image files of a folder and its subfolders. Everything in this package that reads folders uses this walk. */

import type { BigIntStats, Dirent } from 'node:fs'
import { lstat, opendir, readdir, realpath, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { untilAborted } from '../base/abort.js'
import { ClipError } from '../base/errors.js'
import { checkPath, joinBytes, nameOfPath } from '../base/file-name.js'
import { callback, checkOptions, checkSignal, flag } from '../base/options.js'
import { kindOf, systemReason } from '../base/regular-file.js'
import { inSlices, Slices, sorted } from '../base/slices.js'
import { isImageName } from './extensions.js'

/**
 * Why a file or folder was left out. 'name': it has no image extension; 'place': images are not expected there;
 * 'link': a symbolic link that leads out of the folder or nowhere; 'counted': a link to something that is counted already;
 * 'special': a FIFO, device or socket; 'unreadable': it could not be read, so images may be missing.
 */
export type LeftOutReason = 'name' | 'place' | 'link' | 'counted' | 'special' | 'unreadable'

/** A file or folder that was left out. */
export interface LeftOut {
  /** Its path, or its name in an archive. */
  path: string
  /** The reason, for programs. */
  reason: LeftOutReason
  /** The reason as a phrase that follows the path: "has no image extension". */
  message: string
}

/** Options of {@link imageFiles}. */
export interface ImageFilesOptions {
  /** Follow symbolic links that lead out of the folder; default false. Cycles end, and no file is returned twice. */
  followLinks?: boolean
  /** Called for every file and folder that is left out. */
  onLeftOut?: (leftOut: LeftOut) => void
  /** Aborts the walk, which then rejects with the signal's reason. */
  signal?: AbortSignal
}

/** An accepted entry of a folder: a subfolder to visit, or an image. */
export interface Found {
  path: Buffer
  name: string
  isFolder: boolean
  /** Reached through a link, so its contents may be found again. */
  byLink: boolean
}

/** Errors for which a folder is left out. Any other error (too many open files, a broken disk) ends the walk. */
const passable = new Set(['EACCES', 'EPERM', 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'])

const identity = ({ dev, ino }: BigIntStats) => `${dev}:${ino}`

/** Compares by code unit, so that the order does not depend on the locale. */
const byCode = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

/** An entry as `opendir` describes it. */
type Entry = Pick<
  Dirent<Buffer>,
  | 'name'
  | 'isFile'
  | 'isDirectory'
  | 'isSymbolicLink'
  | 'isFIFO'
  | 'isSocket'
  | 'isCharacterDevice'
  | 'isBlockDevice'
>
const isNode = !process.versions.bun && !process.versions.deno

const byName = (a: Entry, b: Entry) => Buffer.compare(a.name, b.name)

/** A folder is sorted as the paths in it are. */
const byPath = (a: Found, b: Found) =>
  byCode(a.isFolder ? `${a.name}/` : a.name, b.isFolder ? `${b.name}/` : b.name) ||
  Buffer.compare(a.path, b.path)

/** One walk through a folder, possibly in several parts, which share the record of what has been found. */
export class Walk {
  readonly #root: Buffer
  readonly #isWalked: (inside: string, isFolder: boolean) => boolean
  readonly #followLinks: boolean
  readonly #leftOut: (leftOut: LeftOut) => void
  readonly #signal: AbortSignal | undefined
  readonly #met = new Set<string>()
  #realRoot: Promise<Buffer> | undefined

  /** `isWalked` says whether this walk reaches a path inside the root without links; default always. */
  constructor(
    root: Buffer,
    { followLinks = false, onLeftOut = () => {}, signal }: ImageFilesOptions,
    isWalked: (inside: string, isFolder: boolean) => boolean = () => true,
  ) {
    this.#root = root
    this.#isWalked = isWalked
    this.#followLinks = followLinks
    this.#leftOut = onLeftOut
    this.#signal = signal
  }

  leaveOut(path: Buffer, reason: LeftOutReason, message: string): undefined {
    this.#leftOut({ path: nameOfPath(path), reason, message })
  }

  /** The entries of a folder, in order; undefined if the folder itself is left out. */
  async entries(folder: Buffer, byLink = false): Promise<Found[] | undefined> {
    const isRoot = folder === this.#root
    try {
      if (byLink || this.#followLinks) {
        const stats = await this.#wait(stat(folder, { bigint: true }))
        if (this.#isMet(folder, stats)) return undefined
      }
      const all: Entry[] = []
      for await (const entry of isNode ? this.#listed(folder) : this.#looked(folder)) {
        this.#signal?.throwIfAborted()
        all.push(entry)
      }
      const found: Found[] = []
      const slices = new Slices()
      // In order, so that of two paths to a file the same one comes first on every machine.
      for (const entry of await inSlices(sorted(all, byName), this.#signal)) {
        this.#signal?.throwIfAborted()
        const one = entry.isSymbolicLink()
          ? this.#link(joinBytes(folder, entry.name), entry.name.toString('utf8'))
          : this.#found(folder, entry, byLink)
        const taken = one instanceof Promise ? await one : one
        if (taken) found.push(taken)
        if (slices.due()) await slices.pause(this.#signal)
      }
      return await inSlices(sorted(found, byPath), this.#signal)
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException
      if (this.#signal?.aborted || cause instanceof ClipError || code === undefined) throw cause
      const path = nameOfPath(folder)
      const reason =
        code === 'ENOTDIR' ? 'is not a folder' : systemReason(cause, 'opened', isRoot ? path : folder)
      if (isRoot || !passable.has(code))
        throw new ClipError('ERR_CLIP_INPUT', `${path}: ${reason}`, { file: path, cause })
      return this.leaveOut(folder, 'unreadable', code === 'ENOENT' ? 'vanished while it was read' : reason)
    }
  }

  async *#listed(folder: Buffer): AsyncGenerator<Entry, void, void> {
    const open = opendir(folder, { encoding: 'buffer' as BufferEncoding, bufferSize: 128 })
    const dir = await this.#wait(open).catch(cause => {
      open.then(late => late.close()).catch(() => {}) // an abort did not wait for opendir
      throw cause
    })
    yield* dir as AsyncIterable<unknown> as AsyncIterable<Dirent<Buffer>>
  }

  /** The same for Bun and Deno, whose `opendir` gives no names as bytes. */
  async *#looked(folder: Buffer): AsyncGenerator<Entry, void, void> {
    for (const name of await this.#wait(readdir(folder, { encoding: 'buffer' }))) {
      const stats = await this.#wait(lstat(joinBytes(folder, name))).catch(cause => {
        if (cause?.code === 'ENOENT') return undefined // removed in the meantime
        throw cause
      })
      if (stats) yield Object.assign(stats, { name })
    }
  }

  /** Every image in a folder and below, in order. */
  async *images(folder: Buffer, byLink = false): AsyncGenerator<Buffer, void, void> {
    // An explicit stack instead of recursion, because folders may be nested very deeply.
    const stack: Found[] = [{ path: folder, name: '', isFolder: true, byLink }]
    const slices = new Slices()
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      this.#signal?.throwIfAborted()
      if (slices.due()) await slices.pause(this.#signal)
      if (!at.isFolder) yield at.path
      else {
        const inside = (await this.entries(at.path, at.byLink)) ?? []
        for (let i = inside.length; i-- > 0; ) {
          stack.push(inside[i]!)
          if (i % 1024 === 0 && slices.due()) await slices.pause(this.#signal)
        }
      }
    }
  }

  #wait<T>(promise: Promise<T>): Promise<T> {
    return untilAborted(promise, this.#signal)
  }

  #found(folder: Buffer, entry: Entry, byLink: boolean): Found | undefined | Promise<Found | undefined> {
    const path = joinBytes(folder, entry.name)
    const name = entry.name.toString('utf8')
    if (entry.isDirectory()) return { path, name, isFolder: true, byLink }
    if (!isImageName(name)) return this.leaveOut(path, 'name', 'has no image extension')
    if (!entry.isFile()) return this.leaveOut(path, 'special', `is ${kindOf(entry)}, not a file`)
    const found = { path, name, isFolder: false, byLink }
    if (!byLink) return found
    // A file below a link may have been found through another link.
    return stat(path, { bigint: true }).then(
      stats => (this.#isMet(path, stats) ? undefined : found),
      () => found,
    )
  }

  /** Resolves a link. Usually its target is counted at its own place, or is outside the root. */
  async #link(path: Buffer, name: string): Promise<Found | undefined> {
    let stats: BigIntStats
    let target: Buffer
    try {
      stats = await this.#wait(stat(path, { bigint: true }))
      target = await this.#wait(realpath(path, { encoding: 'buffer' }))
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException
      if (this.#signal?.aborted || !passable.has(code ?? '')) throw cause
      const why =
        code === 'ENOENT' ? 'that leads nowhere' : `whose target ${systemReason(cause, 'opened', path)}`
      return this.leaveOut(path, isImageName(name) ? 'unreadable' : 'link', `is a link ${why}`)
    }
    const isFolder = stats.isDirectory()
    if (!isFolder && !isImageName(name)) return this.leaveOut(path, 'name', 'has no image extension')
    if (!isFolder && !stats.isFile())
      return this.leaveOut(path, 'special', 'is a link to something that is not a file')
    const inside = await this.#inside(target)
    if (inside === undefined && !this.#followLinks)
      return this.leaveOut(path, 'link', 'is a link out of the folder (`followLinks: true` follows it)')
    if (inside !== undefined && this.#isWalked(inside, isFolder) && (isFolder || isImageName(inside)))
      return this.leaveOut(
        path,
        'counted',
        `is a link to something that is counted at its own path: ${inside || '.'}`,
      )
    return !isFolder && this.#isMet(path, stats) ? undefined : { path, name, isFolder, byLink: true }
  }

  /** Whether it was already counted under another name; marks it as counted. */
  #isMet(path: Buffer, stats: BigIntStats): boolean {
    const id = identity(stats)
    if (this.#met.has(id)) {
      this.leaveOut(path, 'counted', 'was already counted under another name')
      return true
    }
    this.#met.add(id)
    return false
  }

  /** The target's path relative to the root: '' for the root itself or a folder above it, undefined if it is outside. */
  async #inside(target: Buffer): Promise<string | undefined> {
    this.#realRoot ??= realpath(this.#root, { encoding: 'buffer' }) as Promise<Buffer>
    const root = joinBytes(await this.#wait(this.#realRoot), Buffer.alloc(0))
    const folder = joinBytes(target, Buffer.alloc(0))
    if (folder.equals(root)) return ''
    return target.subarray(0, root.length).equals(root)
      ? target.subarray(root.length).toString('utf8').split(sep).join('/')
      : undefined
  }
}

/**
 * Yields the image files of a folder and its subfolders, chosen by their names (`isImageName`), as paths that begin with
 * the folder as it was given. They are sorted by code unit, which is the same on every machine and in every version of
 * Node. A file whose name is not UTF-8 is yielded as a file: URL with its bytes percent-encoded, which every method of
 * this package accepts as an image.
 *
 * Symbolic links that lead out of the folder are followed only with `followLinks`; cycles end, and no file is yielded
 * twice. Files and folders that are left out are passed to `onLeftOut`. Rejects with a ClipError ERR_CLIP_INPUT for a folder
 * that can't be read, with a TypeError for invalid arguments, or with `signal.reason`.
 *
 * @example
 * ```js
 * import { imageFiles, load } from 'clip-native'
 *
 * const clip = await load()
 * const store = await clip.openStore('images.store', { create: true })
 * const files = imageFiles('images', { onLeftOut: ({ path, message }) => console.warn(path, message) })
 * await store.add(files, { errors: 'collect' })
 * ```
 */
export async function* imageFiles(
  folder: string | URL,
  options?: ImageFilesOptions,
): AsyncGenerator<string, void, void> {
  const o = checkOptions(options, ['followLinks', 'onLeftOut', 'signal'])
  const root = rootOf(checkPath('folder', folder))
  const walk = new Walk(root, {
    followLinks: flag('followLinks', o.followLinks ?? false),
    onLeftOut: callback('onLeftOut', o.onLeftOut) ?? (() => {}),
    signal: checkSignal(o.signal),
  } as ImageFilesOptions)
  for await (const path of walk.images(root)) yield nameOfPath(path)
}

/** The path of the root, as bytes. */
export const rootOf = (path: string | Buffer): Buffer =>
  typeof path === 'string' ? Buffer.from(join(path)) : path
