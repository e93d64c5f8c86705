/**
 * One process at a time: a lock file beside what it guards. It holds who has it; the holder touches it every few
 * seconds. A lock whose process is gone, or that nobody touched for a while, is taken over.
 */

import { randomUUID } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { mkdir, open, readFile, stat, unlink, utimes } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ClipError } from '../errors.js'
import { fileError } from './file-error.js'

export interface LockOptions {
  signal?: AbortSignal
  /** Called before each look at a lock that somebody else holds. */
  onWait?: () => void | Promise<void>
  /** Milliseconds between two touches; default 5000. */
  heartbeat?: number
  /** An untouched lock is dead after so many milliseconds; default 30 000. */
  stale?: number
  /** Milliseconds between two looks; default 200. */
  poll?: number
}

/** A lock that is held. */
export interface Lock {
  /** Throws when somebody took the lock over: this process slept too long, and must not touch the files now. */
  check(): Promise<void>
}

interface Owner {
  id: string
  pid: number
  host: string
}

// Process ids mean something only within one machine and one pid namespace (containers share host names at times).
const where = (() => {
  let space = ''
  try {
    space = readlinkSync('/proc/self/ns/pid')
  } catch {}
  return `${hostname()} ${space}`
})()

const remove = (file: string) => unlink(file).catch(() => {})

/** Creates the file only if it is not there. */
async function create(file: string, owner: Owner): Promise<boolean> {
  let handle: Awaited<ReturnType<typeof open>>
  try {
    handle = await open(file, 'wx')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    // Windows: a file that is being deleted.
    if (process.platform === 'win32' && (error as NodeJS.ErrnoException).code === 'EPERM') return false
    throw error
  }
  try {
    await handle.writeFile(JSON.stringify(owner))
  } catch (error) {
    await remove(file) // a full disk: nobody shall wait for an empty lock
    throw error
  } finally {
    await handle.close()
  }
  return true
}

async function read(file: string): Promise<{ owner: Partial<Owner>; touched: number } | undefined> {
  try {
    const { mtimeMs } = await stat(file)
    const text = await readFile(file, 'utf8')
    let owner: Partial<Owner> = {}
    try {
      owner = JSON.parse(text) ?? {}
    } catch {} // just created and not written yet, or cut by a crash: only time tells
    return { owner, touched: mtimeMs }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function isGone(owner: Partial<Owner>): boolean {
  if (owner.host !== where || !Number.isInteger(owner.pid) || owner.pid! <= 0) return false
  try {
    process.kill(owner.pid!, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/**
 * Takes a dead lock away. Two who saw the same dead lock must not both do it, or the second removes the first one's
 * fresh lock: a guard file decides, and under it the lock is looked at again.
 */
async function takeAway(file: string, dead: { owner: Partial<Owner>; touched: number }, stale: number) {
  const guard = `${file}.takeover`
  if (!(await create(guard, { id: randomUUID(), pid: process.pid, host: where }))) {
    const left = await read(guard)
    // Held for a few system calls; one that outlives its process or `stale` was left by a crash.
    if (left && (isGone(left.owner) || Date.now() - left.touched > stale)) await remove(guard)
    return
  }
  try {
    const now = await read(file)
    if (now && now.owner.id === dead.owner.id && now.touched === dead.touched) await remove(file)
  } finally {
    await remove(guard)
  }
}

/** Runs `body` while this process holds the lock. Rejects with `signal.reason`, or ERR_CLIP_DOWNLOAD naming the file. */
export async function withLock<T>(
  file: string,
  options: LockOptions,
  body: (lock: Lock) => Promise<T>,
): Promise<T> {
  const { signal, onWait, heartbeat = 5000, stale = 30_000, poll = 200 } = options
  const owner: Owner = { id: randomUUID(), pid: process.pid, host: where }
  let seen = { id: undefined as string | undefined, touched: Number.NaN, at: 0 }
  let misses = 0
  try {
    await mkdir(dirname(file), { recursive: true })
    while (!(await create(file, owner))) {
      signal?.throwIfAborted()
      const held = await read(file)
      if (!held) {
        // Given back between two looks; but a link to nowhere is there and not there for ever.
        if (++misses > 200)
          throw new ClipError('ERR_CLIP_DOWNLOAD', `${file} can be neither created nor read: remove it`, {
            file,
          })
        await sleep(Math.random() * 10)
        continue
      }
      misses = 0
      // Clocks of file servers differ from ours: what counts is how long we saw no touch, on our own clock.
      if (held.owner.id !== seen.id || held.touched !== seen.touched)
        seen = { id: held.owner.id, touched: held.touched, at: performance.now() }
      if (isGone(held.owner) || performance.now() - seen.at > stale) {
        await takeAway(file, held, stale)
        await sleep(Math.random() * 10)
        continue
      }
      await onWait?.()
      await sleep(poll * (0.5 + Math.random()), undefined, { signal })
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw fileError(error, file)
  }
  const timer = setInterval(() => {
    const now = new Date()
    utimes(file, now, now).catch(() => {})
  }, heartbeat)
  timer.unref()
  const isOurs = async () => (await read(file).catch(() => undefined))?.owner.id === owner.id
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
    if (await isOurs()) await remove(file)
  }
}
