import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { withLock } from '../../lib/hub/lock.js'

const newLock = () => join(mkdtempSync(join(tmpdir(), 'clip-native-lock-')), 'deep', 'model.lock')

/** The owner line of a lock that this process holds now: how this machine and pid namespace are written. */
async function ownOwner(): Promise<{ id: string; pid: number; host: string }> {
  const file = newLock()
  return withLock(file, {}, async () => JSON.parse(readFileSync(file, 'utf8')))
}

/** A process id that was in use and is not any more. */
const deadPid = () => spawnSync(process.execPath, ['-e', '']).pid

async function contend(file: string, runners: number, stale?: number): Promise<number> {
  let inside = 0
  let most = 0
  let done = 0
  await Promise.all(
    Array.from({ length: runners }, () =>
      withLock(file, { poll: 1, stale }, async lock => {
        most = Math.max(most, ++inside)
        await sleep(2)
        await lock.check()
        inside--
        done++
      }),
    ),
  )
  return done === runners ? most : Number.NaN
}

test('one at a time, and the file is gone afterwards', async t => {
  const file = newLock()
  t.is(await contend(file, 12), 1)
  t.deepEqual(readdirSync(join(file, '..')), [])
})

test('given back when the body throws', async t => {
  const file = newLock()
  const mine = new Error('mine')
  t.is(await t.throwsAsync(withLock(file, {}, () => Promise.reject(mine))), mine)
  t.false(existsSync(file))
})

test('the lock of a process that is gone is taken over at once, by one of many', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  const dead = { ...(await ownOwner()), pid: deadPid() }
  for (let round = 0; round < 20; round++) {
    writeFileSync(file, JSON.stringify({ ...dead, id: `dead-${round}` }))
    t.is(await contend(file, 6), 1)
  }
  t.deepEqual(readdirSync(join(file, '..')), [])
})

test('a lock of another machine is dead only when nobody touches it', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  // The pid is dead here; there, it may live.
  writeFileSync(file, JSON.stringify({ id: 'far', pid: deadPid(), host: `not-${hostname()}` }))
  const touching = setInterval(() => {
    const now = new Date()
    utimesSync(file, now, now)
  }, 20)
  let waits = 0
  let entered = false
  const waiting = withLock(
    file,
    {
      poll: 20,
      stale: 2000,
      // Touched for a while, then left: only then may the lock be entered.
      onWait: () => {
        if (++waits === 10) clearInterval(touching)
      },
    },
    async () => {
      entered = true
    },
  )
  await waiting
  t.true(entered)
  t.true(waits >= 10)
})

test('a lock that was cut while it was written is dead only after a while', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  writeFileSync(file, '{"id":')
  let waits = 0
  await withLock(file, { poll: 5, stale: 100, onWait: () => void waits++ }, async () => {})
  t.true(waits > 0)
})

test('abort while waiting rejects with the reason and leaves the lock to its holder', async t => {
  const file = newLock()
  const control = new AbortController()
  const reason = new Error('enough')
  await withLock(file, {}, async lock => {
    const onWait = () => control.abort(reason)
    t.is(await t.throwsAsync(withLock(file, { signal: control.signal, onWait }, async () => {})), reason)
    await lock.check()
  })
})

test('a holder whose lock was taken over is told, and does not remove the other one’s', async t => {
  const file = newLock()
  await withLock(file, {}, async lock => {
    writeFileSync(file, JSON.stringify({ id: 'other', pid: process.pid, host: 'elsewhere' }))
    const error = await t.throwsAsync(lock.check(), { code: 'ERR_CLIP_DOWNLOAD' })
    t.regex(error!.message, /took this lock over/)
  })
  t.true(existsSync(file))
})

test('a takeover that was cut off does not keep the lock for ever', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  const dead = JSON.stringify({ ...(await ownOwner()), id: 'dead', pid: deadPid() })
  writeFileSync(file, dead)
  writeFileSync(`${file}.takeover`, dead)
  t.is(await contend(file, 4), 1)
  t.deepEqual(readdirSync(join(file, '..')), [])
})

const noLinks = process.platform === 'win32'
;(noLinks ? test.skip : test)('a link to nowhere in the lock’s place is an error, not a wait', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  symlinkSync('/nowhere/at/all', file)
  const error = await t.throwsAsync(
    withLock(file, {}, async () => {}),
    { code: 'ERR_CLIP_DOWNLOAD' },
  )
  t.true(error!.message.includes(file))
})

test('a folder that can not be made is said so', async t => {
  const file = newLock()
  const base = join(file, '..', '..')
  writeFileSync(join(base, 'file'), '')
  const error = await t.throwsAsync(
    withLock(join(base, 'file', 'x', 'model.lock'), {}, async () => {}),
    { code: 'ERR_CLIP_DOWNLOAD' },
  )
  t.regex(error!.message, /no folder \((ENOTDIR|EEXIST)\).*CLIP_NATIVE_CACHE/)
})
