/** Sources and decoders that never answer: each holds up itself alone, and only for a time. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import test from 'ava'
import sharp from 'sharp'
import { packageRoot } from '../../lib/base/package.js'
import { DecodeGate } from '../../lib/image/gate.js'
import { type ClipError, evaluate, type ImageInput, load } from '../../lib/index.js'

const scratch = mkdtempSync(join(tmpdir(), 'clip-native-hanging-'))
test.after.always(() => rmSync(scratch, { recursive: true, force: true }))
const good = readFileSync(join(packageRoot, 'test', 'golden', 'image', 'files', 'png-rgb.png'))
const raw = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 } as const
const never = () => new Promise<never>(() => {})

/** Each says nothing more from some point on. */
const silent: Record<string, () => ImageInput> = {
  'a node stream without a byte': () => new Readable({ read() {} }),
  'a node stream that stops half way': () => {
    const stream = new PassThrough()
    stream.write(good.subarray(0, good.length >> 1))
    return stream
  },
  'a web stream': () => new ReadableStream({ start: c => c.enqueue(new Uint8Array(good.subarray(0, 9))) }),
  'an async iterable': () => ({ [Symbol.asyncIterator]: () => ({ next: never }) }),
  'a sharp instance that is never written to': () => sharp() as unknown as ImageInput,
  'a sharp instance whose stream never ends': () => {
    const instance = sharp()
    instance.write(good)
    return instance as unknown as ImageInput
  },
  'a sharp pipeline that never gives pixels': () => {
    const pipeline = {
      clone: () => pipeline,
      metadata: async () => ({ width: 4000, height: 4000 }),
      toColourspace: () => pipeline,
      raw: () => pipeline,
      toBuffer: never,
    }
    return pipeline
  },
  'a Blob that is never read': () => {
    const blob = new Blob([good])
    Object.defineProperty(blob, 'arrayBuffer', { value: never })
    return blob
  },
}
const some = () => [...Object.values(silent), ...Object.values(silent)].map(make => make())

test('bytes, files and raw pixels are read while sixteen streams are silent', async t => {
  const clip = await load(undefined, { threads: 1 })
  const stop = new AbortController()
  const hanging = some().map(image => clip.encodeImage(image, { signal: stop.signal }))
  for (const promise of hanging) promise.catch(() => {})
  await new Promise(resolve => setTimeout(resolve, 50))
  t.is((await clip.encodeImage(raw)).shape[0], 1)
  stop.abort(new Error('enough'))
  const ended = await Promise.allSettled(hanging)
  for (const end of ended) t.is(end.status === 'rejected' && end.reason.message, 'enough')
  // What was aborted holds nothing.
  t.is((await clip.encodeImage([good, raw, new Blob([good])])).shape[0], 3)
  await clip.dispose()
})

test('each hanging input is refused after decodeTimeout, alone and among others', async t => {
  const clip = await load(undefined, { threads: 1, decodeTimeout: 1000 })
  await clip.encodeImage(good) // loads sharp
  await Promise.all(
    Object.entries(silent).map(async ([name, make]) => {
      const error = (await t.throwsAsync(clip.encodeImage(make()), undefined, name)) as ClipError
      t.is(error.code, 'ERR_CLIP_IMAGE', name)
      t.regex(error.message, /`decodeTimeout` \(1000 ms\)/, name)
    }),
  )
  const mixed = Object.values(silent).flatMap(make => [good, make(), raw])
  const { errors } = await clip.encodeImage(mixed, { errors: 'collect' })
  t.deepEqual(
    errors?.map(e => e?.code),
    mixed.map((_, i) => (i % 3 === 1 ? 'ERR_CLIP_IMAGE' : undefined)),
  )
  await clip.dispose()
})

test('a stream may take longer than decodeTimeout as long as chunks arrive', async t => {
  const clip = await load(undefined, { threads: 1, decodeTimeout: 1500 })
  async function* slow() {
    for (let at = 0; at < good.length; at += Math.ceil(good.length / 8)) {
      await new Promise(resolve => setTimeout(resolve, 250))
      yield good.subarray(at, at + Math.ceil(good.length / 8))
    }
  }
  t.is((await clip.encodeImage(slow())).shape[0], 1)
  await clip.dispose()
})

test('store.add and evaluate end at an abort whatever they are waiting for, and the store closes', async t => {
  const clip = await load(undefined, { threads: 1 })
  const store = await clip.openStore(join(scratch, 'store'), { create: true })
  const enough = new Error('enough')
  const soon = () => {
    const stop = new AbortController()
    setTimeout(() => stop.abort(enough), 30)
    return stop.signal
  }
  for (const make of Object.values(silent)) {
    const item = { id: 'x', image: make() }
    t.is(await t.throwsAsync(store.add(item, { signal: soon() })), enough)
    for (const task of ['zeroshot', 'retrieval'] as const) {
      const dataset = [
        { image: good, label: 'a' },
        { image: make(), label: 'b' },
      ]
      t.is(await t.throwsAsync(evaluate(clip, dataset, { task, signal: soon() })), enough)
    }
  }
  const source = { [Symbol.asyncIterator]: () => ({ next: never }) }
  t.is(await t.throwsAsync(store.add(source, { signal: soon() })), enough)
  const dataset = { name: 'none', samples: () => source }
  t.is(await t.throwsAsync(evaluate(clip, dataset, { signal: soon() })), enough)
  await store.add({ id: 'good', image: good })
  t.is(store.size, 1)
  await store.close()
  await clip.dispose()
})

test('abandoned decoding releases its place at once, and its bytes at its end or time limit', async t => {
  const gate = new DecodeGate(1, 100)
  const stop = new AbortController()
  const start = async (ms: number, foreign?: boolean) => {
    let end = () => {}
    const work = new Promise<void>(resolve => {
      end = resolve
    })
    const permit = await gate.enter(40)
    const limit = { ms, fault: () => new Error('too slow') }
    const run = gate.decode(permit, { decode: () => work, limit, foreign }, stop.signal)
    run.catch(() => {}).finally(() => permit.leave())
    return { end, run }
  }
  const first = await start(60_000)
  t.deepEqual(gate.load, { images: 1, bytes: 40, waiting: 0 })
  stop.abort(new Error('gone'))
  await t.throwsAsync(first.run, { message: 'gone' })
  t.deepEqual(gate.load, { images: 0, bytes: 40, waiting: 0 })
  first.end()
  await new Promise(setImmediate)
  t.deepEqual(gate.load, { images: 0, bytes: 0, waiting: 0 })

  const permit = await gate.enter(70)
  const limit = { ms: 10, fault: () => new Error('too slow') }
  await t.throwsAsync(gate.decode(permit, { decode: never, limit }), { message: 'too slow' })
  t.deepEqual(gate.load, { images: 0, bytes: 70, waiting: 0 })
  const next = await gate.enter(70) // waits for the time to be over
  next.leave()
  t.deepEqual(gate.load, { images: 0, bytes: 0, waiting: 0 })
})
