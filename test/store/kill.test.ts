/** kill -9 in the middle of `embed --store`, again and again: what is finished in the end is what it would have been. */

import { type ChildProcess, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { patience } from '../helpers/patience.js'
import { generator } from '../helpers/random.js'
import { all, embedder, model, scratch, writeImages } from './helpers.js'

const { folder, fresh } = await scratch(test)
const main = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
const kills = 20
const count = 1024
const more = 1200

interface Run {
  child: ChildProcess
  output: () => string
  ended: Promise<{ code: number | null; signal: string | null }>
}

function embed(images: string, store: string): Run {
  const args = [main, 'embed', images, '--store', store, '--json', '--threads', '1']
  if (model) args.push('--model', model)
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', piece => {
      text += piece
    })
  const ended = new Promise<{ code: number | null; signal: string | null }>(resolve =>
    child.on('close', (code, signal) => resolve({ code, signal })),
  )
  return { child, output: () => text, ended }
}

const linesOf = async (store: string) =>
  (await readFile(join(store, 'items.log'), 'utf8').catch(() => '')).split('\n').length - 1

test(`an add that is killed ${kills} times gives the same ids and vectors as an uninterrupted one`, async t => {
  t.timeout(patience * 540_000)
  const images = join(folder, 'images')
  await writeImages(images, count)
  const whole = fresh()
  const undisturbed = performance.now()
  const first = embed(images, whole)
  t.deepEqual(await first.ended, { code: 0, signal: null }, first.output())
  const took = performance.now() - undisturbed
  t.like(JSON.parse(first.output()), { size: count, added: count, stopped: false })

  const store = fresh()
  const random = generator(Date.now())
  let done = 0
  let cutShort = 0
  for (let i = 0; i < kills; i++) {
    const run = embed(images, store)
    const ended = run.ended.then(() => true)
    // At a random moment of the part that writes: from its first new row on, or while it starts.
    if (random() < 0.5)
      while ((await linesOf(store)) === done && !(await Promise.race([ended, sleep(3, false)])));
    await sleep((random() * took) / kills)
    run.child.kill('SIGKILL')
    const { signal } = await run.ended
    if (signal === 'SIGKILL') cutShort++
    const now = await linesOf(store)
    t.true(now >= done, 'nothing that was done is lost')
    done = now
  }
  t.true(cutShort > kills / 2, `${cutShort} runs were killed before they ended`)
  const last = embed(images, store)
  t.deepEqual(await last.ended, { code: 0, signal: null }, last.output())
  t.like(JSON.parse(last.output()), { size: count, stopped: false })
  t.log(`${cutShort} of ${kills} killed before their end; ${done} of ${count} done when the last was`)

  const clip = await embedder()
  await using a = await clip.openStore(whole)
  await using b = await clip.openStore(store)
  const ids = await all(b.ids())
  t.is(new Set(ids).size, count)
  t.deepEqual(ids, await all(a.ids()))
  t.deepEqual(await readFile(join(store, 'vectors.bin')), await readFile(join(whole, 'vectors.bin')))
})

test('Ctrl-C ends cleanly, and the same command continues', async t => {
  if (process.platform === 'win32') return t.pass()
  t.timeout(patience * 300_000)
  const images = join(folder, 'more')
  await writeImages(images, more)
  const store = fresh()
  const run = embed(images, store)
  const ended = run.ended.then(() => true)
  while ((await linesOf(store)) === 0 && !(await Promise.race([ended, sleep(5, false)])));
  run.child.kill('SIGINT')
  const { code, signal } = await run.ended
  t.is(signal, null)
  const said = JSON.parse(run.output())
  if (code === 130) t.true(said.stopped && said.size < more && said.size === (await linesOf(store)))
  else t.is(code, 0) // it was done before the signal came
  const again = embed(images, store)
  t.is((await again.ended).code, 0, again.output())
  t.like(JSON.parse(again.output()), { size: more, stopped: false })
})
