/** A Redis of our own, the commands as a reader types them, and images. */
import { spawn, spawnSync } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, extname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { pack } from 'tar-stream'

export const example = fileURLToPath(new URL('..', import.meta.url))
const repository = join(example, '..', '..')

/** For `skip` of a test: false, or why. */
export const withoutRedis =
  spawnSync('redis-server', ['--version']).status === 0 ? false : 'redis-server is not installed'

export async function scratch(t) {
  const folder = await mkdtemp(join(tmpdir(), 'scale-out-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

/**
 * A redis-server with an append-only file. `appendfsync always`: what a client was answered is on the disk. A job of
 * ours is minutes of work and some ten commands, so an fsync for each costs nothing that can be measured; with
 * `everysec` a power failure (not a kill) could take a second of the queue back, and shards would be done twice.
 */
export async function startRedis(t, folder, appendfsync = 'always') {
  await mkdir(folder, { recursive: true })
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  let child
  const start = async () => {
    const settings = { port, bind: '127.0.0.1', dir: folder, save: '', appendonly: 'yes', appendfsync }
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
    child = spawn('redis-server', args, { stdio: 'ignore' })
    const client = new Redis(url, { retryStrategy: () => 20, maxRetriesPerRequest: 500 })
    client.on('error', () => {})
    await client.ping()
    client.disconnect()
  }
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise(resolve => child.once('close', resolve))
    child.kill('SIGKILL')
    await gone
  }
  await start()
  t.after(kill)
  return { url, kill, start }
}

/** A command that runs; `ended` resolves to its exit and what it said. */
export function start(...args) {
  const child = spawn(process.execPath, [join(example, 'main.mjs'), ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', text => {
    said.out += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    said.err += text
  })
  const run = { child, said, over: false }
  run.ended = new Promise(resolve =>
    child.on('close', (code, signal) => {
      run.over = true
      resolve({ code, signal, ...said })
    }),
  )
  return run
}

/** The same, to its end. */
export const run = (...args) => start(...args).ended

/** Until `holds`, looked at often. */
export async function until(holds, what, seconds = 60) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(20)) if (await holds()) return
  throw new Error(`waited ${seconds} s in vain: ${what}`)
}

async function* filesOf(folder) {
  for (const entry of (await readdir(folder, { withFileTypes: true, recursive: true })).sort((a, b) =>
    join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1,
  ))
    if (entry.isFile() && /\.(png|jpg)$/.test(entry.name)) yield join(entry.parentPath, entry.name)
}

/** Icons that the embedded model knows: its examples, then those of the repository's tests, which are archives there. */
export async function iconFiles(count) {
  const { testData } = await import(new URL('../../../dist/test/helpers/test-data.js', import.meta.url))
  const files = []
  for (const folder of [
    join(repository, 'models/icon-clip/examples'),
    ...['heldout', 'fewshot', 'styles'].map(name => join(testData, name)),
  ])
    for await (const file of filesOf(folder)) if (files.length < count) files.push(file)
  if (files.length < count) throw new Error(`only ${files.length} icons are there`)
  return files
}

/** Copies them to a folder of folders. */
export async function writeFolder(folder, count) {
  for (const [i, file] of (await iconFiles(count)).entries()) {
    const to = join(folder, `part-${i % 7}`, `${String(i).padStart(5, '0')}-${basename(file)}`)
    await mkdir(dirname(to), { recursive: true })
    await copyFile(file, to)
  }
}

/** One WebDataset tar: an image and a caption for each sample. */
export async function writeTar(path, files) {
  const archive = pack()
  const pieces = []
  const all = (async () => {
    for await (const piece of archive) pieces.push(piece)
  })()
  for (const [i, file] of files.entries()) {
    const key = String(i).padStart(6, '0')
    const ending = extname(typeof file === 'string' ? file : file.name)
    archive.entry({ name: `${key}${ending}` }, typeof file === 'string' ? await readFile(file) : file.bytes)
    archive.entry({ name: `${key}.txt` }, 'an icon')
  }
  archive.finalize()
  await all
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, Buffer.concat(pieces))
}

/** `tars` tars of `each` images, and a list of them. */
export async function writeTars(folder, tars, each) {
  const files = await iconFiles(tars * each)
  const names = []
  for (let i = 0; i < tars; i++) {
    names.push(`part-${String(i).padStart(4, '0')}.tar`)
    await writeTar(join(folder, names[i]), files.slice(i * each, (i + 1) * each))
  }
  const list = join(folder, 'tars.txt')
  await writeFile(list, `${names.join('\n')}\n`)
  return list
}
