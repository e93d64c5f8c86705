import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
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

test('one holder at a time has the lock, and the file is removed afterwards', async t => {
  const file = newLock()
  t.is(await contend(file, 12), 1)
  t.deepEqual(readdirSync(join(file, '..')), [])
})

test('the lock is released when the body throws', async t => {
  const file = newLock()
  const mine = new Error('mine')
  t.is(await t.throwsAsync(withLock(file, {}, () => Promise.reject(mine))), mine)
  t.false(existsSync(file))
})

test('the lock of a process that has ended is taken over at once, by only one of many', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  const dead = { ...(await ownOwner()), pid: deadPid() }
  for (let round = 0; round < 20; round++) {
    writeFileSync(file, JSON.stringify({ ...dead, id: `dead-${round}` }))
    t.is(await contend(file, 6), 1)
  }
  t.deepEqual(readdirSync(join(file, '..')), [])
})

test('a lock of another machine is taken over only if it is no longer touched', async t => {
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

test('a truncated lock file is taken over only after a while', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  writeFileSync(file, '{"id":')
  let waits = 0
  await withLock(file, { poll: 5, stale: 100, onWait: () => void waits++ }, async () => {})
  t.true(waits > 0)
})

test('an abort while waiting rejects with the reason and does not change the lock', async t => {
  const file = newLock()
  const control = new AbortController()
  const reason = new Error('enough')
  await withLock(file, {}, async lock => {
    const onWait = () => control.abort(reason)
    t.is(await t.throwsAsync(withLock(file, { signal: control.signal, onWait }, async () => {})), reason)
    await lock.check()
  })
})

test('a holder whose lock was taken over gets an error, and does not remove its successor’s lock', async t => {
  const file = newLock()
  await withLock(file, {}, async lock => {
    writeFileSync(file, JSON.stringify({ id: 'other', pid: process.pid, host: 'elsewhere' }))
    const error = await t.throwsAsync(lock.check(), { code: 'ERR_CLIP_DOWNLOAD' })
    t.regex(error!.message, /took this lock over/)
  })
  t.true(existsSync(file))
})

test('an interrupted takeover does not block the lock for ever', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  const dead = JSON.stringify({ ...(await ownOwner()), id: 'dead', pid: deadPid() })
  writeFileSync(file, dead)
  writeFileSync(`${file}.takeover`, dead)
  t.is(await contend(file, 4), 1)
  t.deepEqual(readdirSync(join(file, '..')), [])
})

const posix = process.platform === 'win32' ? test.skip : test

for (const [kind, said, make] of [
  ['link to nowhere', 'a symbolic link', file => symlinkSync('/nowhere/at/all', file)],
  ['link to a file', 'a symbolic link', file => symlinkSync('/etc/hostname', file)],
  ['link to an endless device', 'a symbolic link', file => symlinkSync('/dev/zero', file)],
  ['link to itself', 'a symbolic link', file => symlinkSync(file, file)],
  ['FIFO', 'a FIFO', file => execFileSync('mkfifo', [file])],
  ['folder', 'a directory', file => mkdirSync(file)],
] as [string, string, (file: string) => void][])
  for (const which of ['lock', 'guard of a takeover'] as const)
    posix(`a ${kind} in place of the ${which} is an error, not a wait`, async t => {
      const file = newLock()
      await withLock(file, {}, async () => {})
      if (which !== 'lock') writeFileSync(file, JSON.stringify({ ...(await ownOwner()), pid: deadPid() }))
      const place = which === 'lock' ? file : `${file}.takeover`
      make(place)
      const error = await t.throwsAsync(
        withLock(file, {}, async () => {}),
        { code: 'ERR_CLIP_DOWNLOAD' },
      )
      t.is(error!.message, `${place}: is ${said}, not a lock file: remove it`)
      t.false(lstatSync(place).isFile())
    })

for (const [name, content] of [
  ['empty', ''],
  ['an array', '[]'],
  ['null', 'null'],
  ['a number', '1'],
  ['an owner without an id', '{"pid":1}'],
  ['an owner that is no process', '{"id":"x","pid":-1,"host":"here"}'],
  ['binary', '\xff\xfe\0'],
  ['large', 'x'.repeat(1 << 20)],
] as const)
  test(`a lock that names no owner (${name}) is taken over, and until then a signal ends the wait`, async t => {
    const file = newLock()
    await withLock(file, {}, async () => {})
    writeFileSync(file, content)
    const reason = new Error('enough')
    const control = new AbortController()
    const onWait = () => control.abort(reason)
    const { signal } = control
    t.is(await t.throwsAsync(withLock(file, { signal, onWait }, async () => {})), reason)
    await withLock(file, { poll: 5 }, lock => lock.check())
    t.deepEqual(readdirSync(join(file, '..')), [])
  })

test('a waiting process names the holder of a lock that is not touched, and waits until it is stale', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  writeFileSync(file, JSON.stringify({ ...(await ownOwner()), pid: 1 }))
  // A time of modification in the future is no sign of life.
  utimesSync(file, 4e9, 4e9)
  const holders = new Set<string>()
  await withLock(file, { poll: 5, stale: 100, onWait: holder => void holders.add(holder) }, async () => {})
  t.deepEqual([...holders], ['process 1'])
})

test('a process that exits at any moment leaves either a lock that names its holder, or none', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  const lock = pathToFileURL(join(packageRoot, 'dist/lib/hub/lock.js')).href
  // Before, while and after the lock is made: its own steps are some milliseconds of file operations.
  for (const wait of ['queueMicrotask', 'setImmediate', 'f => setTimeout(f, 1)', 'f => setTimeout(f, 4)']) {
    const code = `import { withLock } from ${JSON.stringify(lock)};
      withLock(${JSON.stringify(file)}, {}, () => new Promise(() => setInterval(() => {}, 1000)));
      (${wait})(() => process.exit(0))`
    t.is(spawnSync(process.execPath, ['--input-type=module', '-e', code]).status, 0)
    if (existsSync(file)) t.true(JSON.parse(readFileSync(file, 'utf8')).pid > 0)
    let waits = 0
    await withLock(file, { onWait: () => void waits++ }, async () => {})
    t.is(waits, 0)
  }
})

test('an error says which folder cannot be created', async t => {
  const file = newLock()
  const base = join(file, '..', '..')
  writeFileSync(join(base, 'file'), '')
  const error = await t.throwsAsync(
    withLock(join(base, 'file', 'x', 'model.lock'), {}, async () => {}),
    { code: 'ERR_CLIP_DOWNLOAD' },
  )
  t.regex(error!.message, /not a folder \((ENOTDIR|EEXIST)\).*CLIP_NATIVE_CACHE/)
})

const linux = process.platform === 'linux' ? test : test.skip
linux('a folder below /proc, where nothing can be made, is an error at once', async t => {
  for (const place of ['/proc/nope/model.lock', '/proc/nope/deep/er/model.lock', '/proc/self/model.lock']) {
    const error = await t.throwsAsync(
      withLock(place, {}, async () => {}),
      { code: 'ERR_CLIP_DOWNLOAD' },
    )
    t.true(error!.message.startsWith(place), error!.message)
  }
})

test('a waiter tries again if its lock file is removed before it takes the lock', async t => {
  const file = newLock()
  await withLock(file, {}, async () => {})
  const folder = join(file, '..')
  const sweep = setInterval(() => {
    for (const name of readdirSync(folder))
      if (/\.[0-9a-f-]{36}$/.test(name)) rmSync(join(folder, name), { force: true })
  }, 20)
  t.teardown(() => clearInterval(sweep))
  t.is(await contend(file, 30), 1)
})
