/**
 * A lock file for one process at a time. It names its holder, which touches it every few seconds. A lock whose process is
 * gone, or that was not touched for a while, is taken over. A holder that was stopped for that long may continue at any
 * moment, so the guarded code must tolerate that: see {@link Lock.check}.
 */

import { randomUUID } from 'node:crypto'
import { constants, readlinkSync } from 'node:fs'
import { type FileHandle, link, lstat, lutimes, open, unlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { sleep } from '../base/abort.js'
import { ClipError } from '../base/errors.js'
import { makeFolder } from '../base/make-folder.js'
import { kindOf, readSome } from '../base/regular-file.js'
import { fileError } from './file-error.js'

export interface LockOptions {
  signal?: AbortSignal
  /** Called before each check of a lock that another process holds, with the holder and the time waited so far. */
  onWait?: (holder: string, milliseconds: number) => void | Promise<void>
  /** Converts system errors; default `fileError`. */
  systemError?: (error: unknown, file: string) => unknown
  /** Interval in milliseconds at which the holder touches the lock; default 5000. */
  heartbeat?: number
  /** Milliseconds after which an untouched lock is considered dead; default 30 000. */
  stale?: number
  /** Interval in milliseconds at which a waiting process checks the lock; default 200. */
  poll?: number
}

/** A lock that is held. */
export interface Lock {
  /**
   * Throws if the lock was taken over because this process was stopped for too long: it must not touch the files. Note that the
   * process may still be stopped right after the check.
   */
  check(): Promise<void>
}

interface Owner {
  id: string
  pid: number
  host: string
}

/** A lock file as it was found. */
interface Held {
  /** Undefined if the file does not name a holder: it was truncated, or is not a lock of this package. */
  owner: Owner | undefined
  /** Changes if the file is touched or replaced. */
  state: string
}

// Process ids are valid only within one machine and one pid namespace (containers may share host names).
const where = (() => {
  let space = ''
  try {
    space = readlinkSync('/proc/self/ns/pid')
  } catch {}
  return `${hostname()} ${space}`
})()

/** Milliseconds after which a lock without a holder, or a takeover, is considered to be left by a crash. */
const soon = 2000
const largest = 4096
/** Locks of this process that could not be removed: the next caller in this process takes them. */
const unreleased = new Set<string>()

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code

async function remove(file: string): Promise<void> {
  try {
    await unlink(file)
  } catch (error) {
    // Windows: the file is being deleted, or is open elsewhere.
    if (codeOf(error) !== 'ENOENT' && process.platform !== 'win32') throw error
  }
}

function noLock(file: string, actual: string): ClipError {
  const message = `${file}: is ${actual}, not a lock file: remove it`
  return new ClipError('ERR_CLIP_DOWNLOAD', message, { file, expected: 'a lock file', actual })
}

async function writeNew(file: string, owner: Owner): Promise<void> {
  const handle = await open(file, 'wx')
  try {
    await handle.writeFile(JSON.stringify(owner))
  } catch (error) {
    await remove(file) // the disk is full: don't leave an empty lock that others would wait for
    throw error
  } finally {
    await handle.close()
  }
}

/** For file systems without hard links: FAT, some network file systems, Android. */
const oneName = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES', 'EMLINK', 'EXDEV', 'EINVAL'])

/** Creates the file together with its contents atomically, only if it does not exist. */
async function create(file: string, owner: Owner): Promise<boolean> {
  const beside = `${file}.${owner.id}`
  try {
    await writeNew(beside, owner)
    try {
      await link(beside, file)
    } catch (error) {
      // Another process got the lock in the meantime and removed this file as a leftover.
      if (codeOf(error) === 'ENOENT') return false
      if (!oneName.has(codeOf(error) ?? '')) throw error
      await writeNew(file, owner)
    }
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    // Windows: the file is being deleted.
    if (process.platform === 'win32' && codeOf(error) === 'EPERM') return false
    throw error
  } finally {
    await remove(beside).catch(() => {})
  }
}

function parseOwner(text: string): Owner | undefined {
  try {
    const { id, pid, host } = JSON.parse(text) ?? {}
    if (typeof id === 'string' && Number.isInteger(pid) && pid > 0 && typeof host === 'string')
      return { id, pid, host }
  } catch {}
  return undefined
}

/** Undefined if there is none. Rejects if it is not a regular file; such a file is neither opened nor followed. */
async function read(file: string): Promise<Held | undefined> {
  let handle: FileHandle | undefined
  try {
    const found = await lstat(file)
    if (!found.isFile()) throw noLock(file, kindOf(found))
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
    handle = await open(file, O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0))
    const stats = await handle.stat()
    if (!stats.isFile()) throw noLock(file, kindOf(stats))
    const buffer = Buffer.alloc(largest)
    let bytes = 0
    for (let more = -1; more !== 0 && bytes < largest; bytes += more)
      more = await readSome(handle, buffer, bytes, largest - bytes, bytes)
    const text = buffer.toString('utf8', 0, bytes)
    return { owner: parseOwner(text), state: `${stats.ino} ${stats.mtimeMs} ${stats.size} ${text}` }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    if (codeOf(error) === 'ELOOP') throw noLock(file, 'a symbolic link')
    throw error
  } finally {
    await handle?.close()
  }
}

function isGone(owner: Owner | undefined): boolean {
  if (owner?.host !== where) return false
  try {
    process.kill(owner.pid, 0)
    return false
  } catch (error) {
    return codeOf(error) === 'ESRCH'
  }
}

/**
 * How long a file has been seen in the same state, measured with the local clock: the clocks of file servers differ, and a
 * modification time may be in the future.
 */
class Watch {
  private state: string | undefined
  private since = 0

  milliseconds({ state }: Held): number {
    const now = performance.now()
    if (state !== this.state) [this.state, this.since] = [state, now]
    return now - this.since
  }
}

/**
 * Removes a dead lock. If two processes saw the same dead lock, only one may remove it, or the second would remove the first
 * one's new lock. So a guard file is taken first, and the lock is checked again under it.
 */
async function takeAway(file: string, dead: Held, guards: Watch): Promise<void> {
  const guard = `${file}.takeover`
  const left = await read(guard)
  if (left) {
    // The guard is held for a few system calls only; one that is older, or whose process is gone, was left by a crash.
    if (isGone(left.owner) || guards.milliseconds(left) > soon) await remove(guard)
    return
  }
  if (!(await create(guard, { id: randomUUID(), pid: process.pid, host: where }))) return
  try {
    const now = await read(file)
    if (now?.state === dead.state) await remove(file)
  } finally {
    await remove(guard)
  }
}

const holderOf = ({ owner }: Held) =>
  owner
    ? `process ${owner.pid}${owner.host === where ? '' : ` of ${owner.host.trim()}`}`
    : 'an unknown process'

/** Milliseconds for which a lock may seem to be released at each check and yet be taken at each attempt to take it. */
const LONGEST_MISS = 10_000

async function take(file: string, owner: Owner, options: LockOptions): Promise<void> {
  const { signal, onWait, stale = 30_000, poll = 200 } = options
  const locks = new Watch()
  const guards = new Watch()
  const begin = performance.now()
  let missing: number | undefined // since when it could be neither read nor created
  await makeFolder(dirname(file))
  for (;;) {
    signal?.throwIfAborted()
    const held = await read(file)
    if (!held) {
      if (await create(file, owner)) return
      // Released between two checks; but on a faulty file system it may both exist and not exist for ever.
      missing ??= performance.now()
      if (performance.now() - missing > LONGEST_MISS)
        throw new ClipError('ERR_CLIP_DOWNLOAD', `${file}: can be neither created nor read: remove it`, {
          file,
        })
      await sleep(Math.random() * 10)
      continue
    }
    missing = undefined
    const own = unreleased.has(held.owner?.id ?? '')
    if (
      own ||
      isGone(held.owner) ||
      locks.milliseconds(held) > (held.owner ? stale : Math.min(stale, soon))
    ) {
      await takeAway(file, held, guards)
      await sleep(Math.random() * 10)
      continue
    }
    await onWait?.(holderOf(held), performance.now() - begin)
    await sleep(poll * (0.5 + Math.random()), signal)
  }
}

/** Runs `body` while this process holds the lock. Rejects with `signal.reason`, or ERR_CLIP_DOWNLOAD naming the file. */
export async function withLock<T>(
  file: string,
  options: LockOptions,
  body: (lock: Lock) => Promise<T>,
): Promise<T> {
  const { signal, systemError = fileError, heartbeat = 5000 } = options
  const owner: Owner = { id: randomUUID(), pid: process.pid, host: where }
  try {
    await take(file, owner, options)
  } catch (error) {
    signal?.throwIfAborted()
    throw systemError(error, file)
  }
  const timer = setInterval(() => {
    const now = new Date()
    lutimes(file, now, now).catch(() => {})
  }, heartbeat)
  timer.unref()
  const isOurs = async () => (await read(file).catch(() => undefined))?.owner?.id === owner.id
  try {
    signal?.throwIfAborted()
    return await body({
      async check() {
        if (!(await isOurs()))
          throw new ClipError(
            'ERR_CLIP_DOWNLOAD',
            `${file}: another process took this lock over while this one was stopped; try again`,
            { file },
          )
      },
    })
  } finally {
    clearInterval(timer)
    const held = await read(file).catch(() => 'unknown' as const)
    if (held === 'unknown') unreleased.add(owner.id)
    else if (held?.owner?.id === owner.id) await remove(file).catch(() => unreleased.add(owner.id))
  }
}
