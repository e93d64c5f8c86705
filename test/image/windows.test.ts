/** The decode gate and the windows it bounds: order, limits, errors, aborts, and nobody waiting for ever. */

import { join } from 'node:path'
import test from 'ava'
import sharp from 'sharp'
import { ClipError } from '../../lib/base/errors.js'
import { packageRoot } from '../../lib/base/package.js'
import { DecodeGate } from '../../lib/image/gate.js'
import type { ImageInput } from '../../lib/image/input.js'
import type { NativeImage } from '../../lib/image/pixels.js'
import { decodeWindows, type WindowOptions } from '../../lib/image/windows.js'

const later = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
const idle = { images: 0, bytes: 0, waiting: 0 }

/** n one-colour images; the red value says which. */
const colours = (n: number) =>
  Promise.all(
    Array.from({ length: n }, (_, i) =>
      sharp({ create: { width: 8, height: 4, channels: 3, background: { r: i, g: 0, b: 0 } } })
        .png()
        .toBuffer(),
    ),
  )
const red = (image: NativeImage | ClipError) => (image as { data: Uint8Array }).data[0]

test('DecodeGate admits up to 2 x threads images in the order of the requests', async t => {
  const gate = new DecodeGate(1)
  const [a, b] = [await gate.enter(10), await gate.enter(10)]
  const order: number[] = []
  const waiting = [0, 1, 2].map(i => gate.enter(1).then(permit => [order.push(i), permit.leave()]))
  await later(5)
  t.deepEqual(order, [])
  t.is(gate.tryEnter(1), undefined)
  a.leave()
  a.leave() // twice does no harm
  await Promise.all(waiting)
  t.deepEqual(order, [0, 1, 2])
  b.leave()
  t.deepEqual(gate.load, idle)
})

test('DecodeGate limits the bytes, and admits one larger image alone', async t => {
  const gate = new DecodeGate(4, 100)
  const small = await gate.enter(60)
  let large = false
  const huge = gate.enter(1000).then(permit => {
    large = true
    return permit
  })
  const behind = gate.enter(1) // would fit, but does not overtake
  await later(5)
  t.deepEqual(gate.load, { images: 1, bytes: 60, waiting: 2 })
  t.false(large)
  small.leave()
  const permit = await huge
  t.is(gate.load.images, 1)
  permit.leave()
  const last = await behind
  last.leave()
  t.deepEqual(gate.load, idle)
})

test('an aborted request leaves the queue of DecodeGate, and others are admitted', async t => {
  const gate = new DecodeGate(4, 100)
  const first = await gate.enter(60)
  const stop = new AbortController()
  const huge = gate.enter(1000, stop.signal)
  const small = gate.enter(10)
  stop.abort(new Error('gone'))
  await t.throwsAsync(huge, { message: 'gone' })
  await t.throwsAsync(gate.enter(1, stop.signal), { message: 'gone' })
  const second = await small
  first.leave()
  second.leave()
  t.deepEqual(gate.load, idle)
})

async function collect(
  inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
  options: Partial<WindowOptions> & { gate: DecodeGate },
  encode: () => Promise<unknown> = () => later(0),
) {
  const images: (NativeImage | ClipError)[] = []
  let most = 0
  for await (const window of decodeWindows(inputs, { threads: 2, ...options })) {
    if (window.start !== images.length) throw new Error(`start ${window.start}, expected ${images.length}`)
    most = Math.max(most, options.gate.load.images)
    await encode()
    images.push(...window.images)
    window.release()
  }
  return { images, most }
}

test('windows keep the order, decode at most 2 x threads images, and prepare the next window meanwhile', async t => {
  const gate = new DecodeGate(2)
  const files = await colours(23)
  const { images, most } = await collect(files, { gate }, () => later(10))
  t.deepEqual(
    images.map(red),
    files.map((_, i) => i),
  )
  t.true(most <= 4)
  let ahead = 0
  for await (const window of decodeWindows(await colours(6), { threads: 2, gate })) {
    await later(30)
    ahead = Math.max(ahead, gate.load.images - window.images.length)
  }
  t.true(ahead > 0)
  t.deepEqual(gate.load, idle)
})

test('many calls that share a DecodeGate finish', async t => {
  const gate = new DecodeGate(1, 200) // 8 x 4 x 3 bytes and the file: hardly one image at a time
  const files = await colours(12)
  const results = await Promise.all(
    Array.from({ length: 9 }, (_, i) =>
      collect(files.slice(i), { gate, threads: 1 + (i % 3) }, () => later(i % 2)),
    ),
  )
  for (const [i, { images }] of results.entries())
    t.deepEqual(
      images.map(red),
      files.slice(i).map((_, k) => i + k),
    )
  t.deepEqual(gate.load, idle)
})

test('a consumer that does not release windows is not blocked', async t => {
  const gate = new DecodeGate(1)
  let seen = 0
  for await (const window of decodeWindows(await colours(9), { threads: 2, gate }))
    seen += window.images.length
  t.is(seen, 9)
  t.deepEqual(gate.load, idle)
})

test('errors of images that cannot be read keep their position in the windows', async t => {
  const gate = new DecodeGate(2)
  const [a, b] = await colours(2)
  const cut = new Uint8Array(a.subarray(0, a.length - 30))
  const missing = join(packageRoot, 'no-such-file.png')
  const { images } = await collect([a, missing, cut, b], { gate })
  t.deepEqual([red(images[0]), red(images[3])], [0, 1])
  for (const index of [1, 2]) {
    const error = images[index] as ClipError
    t.true(error instanceof ClipError)
    t.is(error.code, 'ERR_CLIP_IMAGE')
    t.is(error.index, index)
    t.is(error.field, `images[${index}]`)
  }
  t.is((images[1] as ClipError).file, missing)
  const single = await collect([missing], { gate, single: true })
  t.is((single.images[0] as ClipError).field, 'image')
  t.is((single.images[0] as ClipError).index, undefined)
  t.deepEqual(gate.load, idle)
})

test('an argument that is not an image ends the windows, and memory is released', async t => {
  const gate = new DecodeGate(2)
  const files: ImageInput[] = await colours(5)
  const error = await t.throwsAsync(collect([...files, 17 as unknown as ImageInput], { gate }))
  t.regex(error?.message ?? '', /`images\[5\]`/)
  async function* broken() {
    yield files[0]
    throw new Error('the source broke')
  }
  await t.throwsAsync(collect(broken(), { gate }), { message: 'the source broke' })
  for (let i = 0; i < 200 && JSON.stringify(gate.load) !== JSON.stringify(idle); i++) await later(50)
  t.deepEqual(gate.load, idle)
})

test('preprocessed inputs of windows are split into images and checked', async t => {
  const gate = new DecodeGate(2)
  const size = 4
  const data = new Float32Array(100 * 48).map((_, i) => Math.floor(i / 48))
  const [image] = await colours(1)
  const inputs: ImageInput[] = [{ data, shape: [100, 3, size, size] }, image]
  const images: (NativeImage | ClipError)[] = []
  const from: number[] = []
  for await (const window of decodeWindows(inputs, { threads: 2, gate, size })) {
    t.is(window.start, images.length)
    images.push(...window.images)
    from.push(...window.inputs)
  }
  t.is(images.length, 101)
  for (let i = 0; i < 100; i++) t.is((images[i] as { planes: Float32Array }).planes[47], i)
  t.deepEqual(from.slice(98), [0, 0, 1])
  const error = await t.throwsAsync(collect(inputs, { gate, size: 8 }))
  t.regex(error?.message ?? '', /`images\[0\]\.shape` to be \[n, 3, 8, 8\]/)
})

test('an abort or leaving the loop stops the source of windows and releases memory', async t => {
  const gate = new DecodeGate(2)
  const files = await colours(3)
  let closed = 0
  async function* endless() {
    try {
      for (let i = 0; ; i++) yield files[i % 3]
    } finally {
      closed++
    }
  }
  const stop = new AbortController()
  const reason = new Error('enough')
  let windows = 0
  const error = await t.throwsAsync(
    collect(endless(), { gate, signal: stop.signal }, async () => {
      if (++windows === 3) stop.abort(reason)
    }),
  )
  t.is(error, reason)
  for await (const window of decodeWindows(endless(), { threads: 2, gate })) if (window.start > 4) break
  await later(50)
  t.is(closed, 2)
  t.deepEqual(gate.load, idle)

  // A source that never answers.
  const silent = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }
  const silentStop = new AbortController()
  setTimeout(() => silentStop.abort(reason), 20)
  t.is(await t.throwsAsync(collect(silent, { gate, signal: silentStop.signal })), reason)
})

test('a slow source does not delay the windows of decoded images', async t => {
  const gate = new DecodeGate(2)
  const files = await colours(2)
  let release = () => {}
  const held = new Promise<void>(resolve => {
    release = resolve
  })
  async function* slow() {
    yield files[0]
    await held
    yield files[1]
  }
  const seen: number[] = []
  for await (const window of decodeWindows(slow(), { threads: 2, gate })) {
    seen.push(...window.images.map(red))
    release() // only after the first image has come out
  }
  t.deepEqual(seen, [0, 1])
})
