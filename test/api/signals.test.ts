/** One AbortSignal for many calls. */

import { getEventListeners } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { onAbort, sleep } from '../../lib/base/abort.js'
import { type Clip, load } from '../../lib/index.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

const tiny = async (): Promise<Clip> =>
  load(await writeTinyModel(await mkdtemp(join(tmpdir(), 'clip-signals-'))), { threads: 1 })

const image = { data: new Uint8Array(16 * 16 * 3), width: 16, height: 16, channels: 3 } as const
const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

test('forty calls with one signal add one listener and remove it at the end', async t => {
  const warnings: string[] = []
  const note = (warning: Error) => warnings.push(warning.name)
  process.on('warning', note)
  await using clip = await tiny()
  const classifier = await clip.classifier(['a cat', 'a dog'])
  const { signal } = new AbortController()
  const encoded = await clip.encodeImage(image)
  const calls = Array.from({ length: 5 }, () => [
    clip.encodeText('a cat', { signal }),
    clip.encodeImage(image, { signal }),
    clip.encodeImage([image, image], { signal }),
    clip.preprocess(image, { signal }),
    clip.tokenize('a cat', { signal }),
    clip.similarity(image, ['a', 'b'], { signal }),
    classifier.classify(image, { signal }),
    clip.classifier(['x', 'y'], { signal }),
    clip.linearProbe({ images: [image, image], labels: ['a', 'b'] }, { signal }),
    classifier.classify(encoded, { signal }),
  ]).flat()
  t.true(listeners(signal) <= 1)
  const watching = setInterval(() => t.true(listeners(signal) <= 1), 0)
  await Promise.all(calls)
  clearInterval(watching)
  t.is(listeners(signal), 0)
  await new Promise(setImmediate)
  process.off('warning', note)
  t.deepEqual(warnings, [])
})

test('an abort reaches every call of a signal, of AbortSignal.any and of another realm alike', async t => {
  await using clip = await tiny()
  // As jsdom's, say: no class of this realm.
  const foreign = runInNewContext(`(() => {
    const told = new Set()
    const signal = {
      aborted: false,
      reason: undefined,
      throwIfAborted() { if (this.aborted) throw this.reason },
      addEventListener(type, listener) { told.add(listener) },
      removeEventListener(type, listener) { told.delete(listener) },
    }
    const abort = reason => {
      Object.assign(signal, { aborted: true, reason })
      const listeners = [...told]
      told.clear() // they are told once
      for (const listener of listeners) listener({ type: 'abort' })
    }
    return { signal, abort, told }
  })`) as () => { signal: AbortSignal; abort(reason: unknown): void; told: Set<unknown> }
  const makers: (() => {
    controller: { abort(reason: unknown): void }
    signal: AbortSignal
    left?(): number
  })[] = [
    () => {
      const controller = new AbortController()
      return { controller, signal: controller.signal }
    },
    () => {
      const controller = new AbortController()
      return { controller, signal: AbortSignal.any([controller.signal, new AbortController().signal]) }
    },
    () => {
      const controller = foreign()
      return { controller, signal: controller.signal, left: () => controller.told.size }
    },
  ]
  for (const make of makers) {
    const { controller, signal, left = () => listeners(signal) } = make()
    const reason = new Error('enough')
    const texts = Array.from({ length: 4000 }, (_, i) => `text ${i}`)
    const calls = Array.from({ length: 20 }, () => clip.encodeText(texts, { signal }))
    setImmediate(() => controller.abort(reason))
    for (const settled of await Promise.allSettled(calls)) t.like(settled, { status: 'rejected', reason })
    t.is(left(), 0)
  }
})

test('a callback that was removed is not called, and removing the last one removes the listener', async t => {
  const controller = new AbortController()
  const { signal } = controller
  const told: string[] = []
  const first = onAbort(signal, () => told.push('first'))
  const second = onAbort(signal, () => told.push('second'))
  t.is(listeners(signal), 1)
  first()
  first()
  t.is(listeners(signal), 1)
  const third = onAbort(signal, () => second())
  controller.abort(new Error('now'))
  // Those that were listening at the abort are all told, even when one of them stops another.
  t.deepEqual(told, ['second'])
  third()
  t.is(listeners(signal), 0)
  const waiting = new AbortController()
  const slept = sleep(100_000, waiting.signal)
  waiting.abort(new Error('no longer'))
  await t.throwsAsync(slept, { message: 'no longer' })
  await t.throwsAsync(sleep(1, waiting.signal), { message: 'no longer' })
  t.is(await sleep(1), undefined)
})
