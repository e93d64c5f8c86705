/** What is exported, read back: .npy by hand, Arrow and Parquet by their libraries, LanceDB's absence by its error. */

import { existsSync, promises } from 'node:fs'
import { mkdtemp, readdir, readFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Worker, WorkerOptions } from 'node:worker_threads'
import test from 'ava'
import { parquetReadObjects } from 'hyparquet'
import { ClipError, toLanceDB } from '../../lib/index.js'
import { optionalPeer } from '../../lib/store/errors.js'
import { all, embedder, items, noise, scratch } from './helpers.js'

/** Its own types need a browser's. */
interface Table {
  numRows: number
  schema: { fields: { type: object }[] }
  getChild(name: 'id'): Iterable<string>
  getChild(name: 'vector'): Iterable<{ toArray(): Float32Array }>
}
const arrow: string = 'apache-arrow'
const { tableFromIPC } = (await import(arrow)) as { tableFromIPC(bytes: Uint8Array): Table }
const { folder, fresh } = await scratch(test)

async function filled(n: number, dtype: 'float32' | 'bfloat16' | 'int8' = 'float32') {
  const store = await (await embedder()).openStore(fresh(), { create: true, dtype })
  await store.add([...items(n), { id: 'Äpfel "und"\nBirnen', image: noise(999) }])
  const ids: string[] = []
  const rows: Float32Array[] = []
  for await (const batch of store.batches()) {
    ids.push(...batch.ids)
    for (const row of batch.embeddings) rows.push(row)
  }
  return { store, ids, rows }
}

for (const dtype of ['float32', 'bfloat16', 'int8'] as const)
  test(`${dtype}: an exported .npy file has the right header, rows and ids`, async t => {
    const n = dtype === 'float32' ? 1100 : 100
    const { store, ids, rows } = await filled(n, dtype)
    const file = join(folder, `${dtype}.npy`)
    await store.export(file)
    const bytes = await readFile(file)
    t.is(bytes.toString('latin1', 0, 8), '\u0093NUMPY\u0001\0')
    const length = bytes.readUInt16LE(8)
    t.is((10 + length) % 64, 0)
    const header = bytes.toString('latin1', 10, 10 + length)
    t.regex(
      header,
      new RegExp(
        `^\\{'descr': '<f4', 'fortran_order': False, 'shape': \\(${n + 1}, ${store.embedDim}\\), \\} *\\n$`,
      ),
    )
    const data = new Float32Array(
      bytes.buffer.slice(bytes.byteOffset + 10 + length, bytes.byteOffset + bytes.length),
    )
    t.is(data.length, (n + 1) * store.embedDim)
    for (const [i, row] of rows.entries())
      t.deepEqual(data.subarray(i * row.length, (i + 1) * row.length), row)
    const lines = (await readFile(join(folder, `${dtype}.ids.jsonl`), 'utf8')).trimEnd().split('\n')
    t.deepEqual(
      lines.map(line => JSON.parse(line)),
      ids,
    )
  })

test('apache-arrow reads an exported .arrow file', async t => {
  const { store, ids, rows } = await filled(1100)
  const file = join(folder, 'x.arrow')
  await store.export(file)
  const table = tableFromIPC(await readFile(file))
  t.is(table.numRows, 1101)
  t.is(String(table.schema.fields[1]!.type), `FixedSizeList[${store.embedDim}]<Float32>`)
  t.deepEqual([...table.getChild('id')], ids)
  let i = 0
  for (const vector of table.getChild('vector')) t.deepEqual(vector.toArray(), rows[i++])
})

test('hyparquet reads an exported .parquet file', async t => {
  const { store, ids, rows } = await filled(1100)
  const file = join(folder, 'x.parquet')
  await store.export(file)
  const bytes = await readFile(file)
  const read = await parquetReadObjects({
    file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer,
  })
  t.is(read.length, 1101)
  for (const [i, { id, vector }] of read.entries()) {
    t.is(id, ids[i])
    t.deepEqual(Float32Array.from(vector), rows[i])
  }
})

test.serial('a separate thread writes every format, and an abort leaves no file', async t => {
  const { store } = await filled(40)
  const threads: Worker[] = []
  const seen = (thread: Worker) => threads.push(thread)
  process.on('worker', seen)
  try {
    for (const kind of ['npy', 'arrow', 'parquet']) {
      await store.export(join(folder, `thread.${kind}`))
      t.is(threads.length, 1, kind)
      t.is(threads.pop()!.threadId, -1, 'it is gone when the promise settles')
      const control = new AbortController()
      const reason = new Error('enough')
      const file = join(folder, `stopped.${kind}`)
      const stopped = store.export(file, { signal: control.signal })
      process.once('worker', () => control.abort(reason))
      await t.throwsAsync(stopped, { is: reason })
      threads.length = 0
      t.false(
        (await readdir(folder)).some(name => name.startsWith('stopped.')),
        kind,
      )
    }
  } finally {
    process.off('worker', seen)
  }
})

test.serial('an export does no work on the JavaScript thread, whose event loop keeps running', async t => {
  const { store } = await filled(1100)
  const opened: string[] = []
  const { open } = promises
  // What this thread opens; the thread that exports has modules of its own.
  promises.open = (async (path: string, ...rest: []) => {
    opened.push(String(path))
    return open(path, ...rest)
  }) as typeof open
  syncBuiltinESMExports()
  try {
    await (await (await import('node:fs/promises')).open(fileURLToPath(import.meta.url))).close()
    t.is(opened.length, 1, 'what is opened here is seen')
    for (const kind of ['npy', 'arrow', 'parquet']) {
      opened.length = 0
      let worker: Worker | undefined
      process.once('worker', thread => {
        worker = thread
      })
      let turns = 0
      let done = false
      // Turns of this loop are counted while the other one works: it has no part in them.
      const busy = store.export(join(folder, `turns.${kind}`)).then(() => {
        done = true
      })
      const exported = () => existsSync(join(folder, `turns.${kind}`))
      while (!done) {
        await new Promise(setImmediate)
        if (worker && !exported()) turns++
      }
      await busy
      t.deepEqual(opened, [], kind)
      t.true(turns > 100, `${kind}: ${turns} turns before the file had its name`)
    }
  } finally {
    promises.open = open
    syncBuiltinESMExports()
  }
})

test('an empty store exports no rows', async t => {
  await using store = await (await embedder()).openStore(fresh(), { create: true })
  for (const kind of ['npy', 'arrow', 'parquet']) await store.export(join(folder, `empty.${kind}`))
  t.is(tableFromIPC(await readFile(join(folder, 'empty.arrow'))).numRows, 0)
  t.deepEqual(await all(store.batches()), [])
})

test('unknown file extensions, missing folders and missing packages are refused', async t => {
  const { store } = await filled(3)
  await t.throwsAsync(store.export('x.csv'), { instanceOf: TypeError, message: /\.parquet/ })
  for (const kind of ['npy', 'arrow', 'parquet']) {
    const file = join(folder, 'nowhere', `x.${kind}`)
    await t.throwsAsync(store.export(file), { code: 'ERR_CLIP_INPUT', message: /there is no folder/ })
  }
  const reason = new Error('enough')
  const own = await mkdtemp(join(folder, 'own-')) // the other tests write to `folder` meanwhile
  await t.throwsAsync(store.export(join(own, 'y.npy'), { signal: AbortSignal.abort(reason) }), {
    is: reason,
  })
  t.deepEqual(await readdir(own), [])
  const absent = optionalPeer('a-package-that-is-not-there', '1.2.3', 'Export')
  await t.throwsAsync(absent, {
    code: 'ERR_CLIP_INPUT',
    message: /npm install a-package-that-is-not-there@1\.2\.3$/,
  })
  await t.throwsAsync(toLanceDB(store, ''), { instanceOf: TypeError })
})

test.serial('an export thread that can not start, or runs out of memory, is a typed error', async t => {
  const { store } = await filled(3)
  const { default: threads } = await import('node:worker_threads')
  const { Worker: real } = threads
  const refuse = (failure: Error) => {
    // As Node 20 to 26 do where the system has no thread left (a limit of processes, a container's pids).
    threads.Worker = class {
      constructor() {
        throw failure
      }
    } as unknown as typeof Worker
  }
  try {
    const noThread = Object.assign(new Error('EAGAIN'), { code: 'ERR_WORKER_INIT_FAILED' })
    refuse(noThread)
    const error = await t.throwsAsync(store.export(join(folder, 'refused.npy')), { instanceOf: ClipError })
    t.like(error, { code: 'ERR_CLIP_MEMORY', cause: noThread })
    t.regex(error!.message, /could not start a thread .*EAGAIN.*limit of processes and threads/)
    // A thread with almost no heap: V8 ends it.
    threads.Worker = class extends real {
      constructor(file: string | URL, options: WorkerOptions) {
        super(file, {
          ...options,
          resourceLimits: { maxOldGenerationSizeMb: 1, maxYoungGenerationSizeMb: 1 },
        })
      }
    }
    await t.throwsAsync(store.export(join(folder, 'small.npy')), {
      code: 'ERR_CLIP_MEMORY',
      message: /out of memory/,
    })
  } finally {
    threads.Worker = real
  }
  await store.export(join(folder, 'again.npy'))
  t.false(existsSync(join(folder, 'refused.npy')))
})
