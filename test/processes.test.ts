/** Processes of other kinds than this one: forked, workers of a cluster, under `node --test`. The same bits, and a clean end. */

import { type ChildProcess, execFile, fork } from 'node:child_process'
import cluster, { type Worker } from 'node:cluster'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { packageRoot } from '../lib/base/package.js'
import { load } from '../lib/index.js'

// What the installed package is tested with, too (scripts/test-package.mjs).
const child = join(packageRoot, 'test/package/encode-child.mjs')

interface Sent {
  image: number[]
  text: number[]
}

async function expected(): Promise<Sent> {
  await using clip = await load()
  const data = new Uint8Array(90 * 60 * 3).map((_, i) => i % 253)
  const image = await clip.encodeImage({ data, width: 90, height: 60, channels: 3 })
  return { image: [...image.data], text: [...(await clip.encodeText('a dog')).data] }
}

/** What a process sent, when it has ended by itself. */
function sentBy(one: ChildProcess | Worker): Promise<Sent> {
  return new Promise((resolve, reject) => {
    let sent: Sent | undefined
    const emitter = one as ChildProcess
    emitter.on('message', message => {
      sent = message as Sent
    })
    emitter.on('error', reject)
    emitter.on('exit', (code, signal) => {
      if (code === 0 && sent) resolve(sent)
      else reject(new Error(`ended with ${signal ?? code}, sent ${sent !== undefined}`))
    })
  })
}

test('two forked processes compute the same embeddings', async t => {
  const wanted = await expected()
  t.is(wanted.image.length, 192)
  for (const sent of await Promise.all([fork(child), fork(child)].map(sentBy))) t.deepEqual(sent, wanted)
})

test('two workers of a cluster compute the same embeddings', async t => {
  cluster.setupPrimary({ exec: child })
  // Listened to from the start: a message that comes before would be lost.
  const answers = [cluster.fork(), cluster.fork()].map(sentBy)
  const [wanted, ...all] = await Promise.all([expected(), ...answers])
  t.is(all.length, 2)
  for (const sent of all) t.deepEqual(sent, wanted)
})

test('tests under node --test load the package', async t => {
  // Below the package, whose own name resolves there.
  const folder = await mkdtemp(join(packageRoot, 'build/node-test-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'icons.test.mjs')
  await writeFile(
    file,
    `import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { load } from 'clip-native'
const clip = await load()
after(() => clip.dispose())
test('a text', async () => assert.deepEqual((await clip.encodeText('a dog')).shape, [1, 192]))
test('another at once', { concurrency: true }, async () => assert.equal((await clip.encodeText(['a', 'b'])).data.length, 384))
`,
  )
  const env = { ...process.env }
  delete env.NODE_TEST_CONTEXT
  const { stdout } = await promisify(execFile)(process.execPath, ['--test', '--test-reporter=tap', file], {
    env,
  })
  t.regex(stdout, /^# pass 2$/m)
  t.regex(stdout, /^# fail 0$/m)
})
