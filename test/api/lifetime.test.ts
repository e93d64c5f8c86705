import test from 'ava'
import { type ClipError, type LoadOptions, load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import type { NativeModel } from '../../lib/native/surface.js'
import { bits, exampleImages } from './helpers.js'

const many = (n: number) => Array.from({ length: n }, (_, i) => exampleImages[i % exampleImages.length]!)

/** A model and a way to wait until native code has taken up a job: timers can't know. */
async function watched(options: LoadOptions) {
  const native = binding()
  const original = native.loadModel
  let model: NativeModel | undefined
  native.loadModel = async (...rest) => {
    model = await original.apply(native, rest)
    return model
  }
  const clip = await load(undefined, options).finally(() => {
    native.loadModel = original
  })
  return {
    clip,
    passes: () => model!.counters().passes,
    jobs: () => model!.counters().jobs,
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 1))
}

const numbers = Array.from({ length: 500 }, (_, i) => `number ${i}`)

test('a call with an aborted signal rejects with its reason before any work', async t => {
  await using clip = await load()
  const reason = new Error('not wanted')
  const signal = AbortSignal.abort(reason)
  const classifier = await clip.classifier(['dog', 'cat'])
  const calls = [
    () => load(undefined, { signal }),
    () => clip.encodeImage('/no/such/file', { signal }),
    () => clip.encodeText('dog', { signal }),
    () => clip.preprocess(exampleImages[0]!, { signal }),
    () => clip.tokenize('dog', { signal }),
    () => clip.similarity(exampleImages[0]!, 'dog', { signal }),
    () => clip.classifier(['dog'], { signal }),
    () => classifier.classify(exampleImages[0]!, { signal }),
    () => classifier.stream([exampleImages[0]!], { signal }).next(),
  ]
  for (const call of calls) t.is(await t.throwsAsync(call()), reason, call.toString())
})

test('an abort during a call rejects with the reason and does not affect other calls', async t => {
  await using clip = await load(undefined, { threads: 1 })
  const controller = new AbortController()
  const reason = new Error('enough')
  const golden = await clip.encodeImage(exampleImages[0]!)
  const long = clip.encodeImage(many(200), {
    signal: controller.signal,
    onProgress: ({ done }) => {
      if (done >= 4) controller.abort(reason)
    },
  })
  const neighbour = clip.encodeImage(exampleImages[0]!)
  t.is(await t.throwsAsync(long), reason)
  t.true(bits((await neighbour).data).equals(bits(golden.data)))
  // and the model is as good as before
  t.true(bits((await clip.encodeImage(exampleImages[0]!)).data).equals(bits(golden.data)))
})

test.serial('a waiting call rejects at once when it is aborted', async t => {
  const { clip, passes, jobs } = await watched({ threads: 1, device: 'reference' })
  let firstDone = false
  const first = clip.encodeText(numbers).then(() => {
    firstDone = true
  })
  await until(() => passes() === 1)
  const controller = new AbortController()
  const waiting = clip.encodeText('dog', { signal: controller.signal })
  waiting.catch(() => {})
  await until(() => jobs() === 2)
  t.is(passes(), 1)
  const reason = new Error('never mind')
  controller.abort(reason)
  t.is(await t.throwsAsync(waiting), reason)
  t.false(firstDone)
  await first
  await clip.dispose()
})

test('maxQueue calls may wait, and one more rejects at once', async t => {
  await using clip = await load(undefined, { maxQueue: 2 })
  const calls = Array.from({ length: 5 }, (_, i) => clip.encodeText(`text ${i}`))
  const settled = await Promise.allSettled(calls)
  t.deepEqual(
    settled.map(s => s.status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'],
  )
  const { reason } = settled[3] as PromiseRejectedResult
  t.is((reason as ClipError).code, 'ERR_CLIP_BUSY')
  t.is((await clip.encodeText(['one', 'call', 'of', 'any', 'length'])).shape[0], 5)
})

test.serial(
  'after dispose, running calls finish, waiting and later calls reject, and a second dispose has no effect',
  async t => {
    const { clip, passes, jobs } = await watched({ threads: 1, device: 'reference' })
    const classifier = await clip.classifier(['dog', 'cat'])
    const before = { passes: passes(), jobs: jobs() }
    const running = clip.encodeText(numbers)
    await until(() => passes() === before.passes + 1)
    const waiting = clip.encodeText('dog')
    await until(() => jobs() === before.jobs + 2)
    const disposed = clip.dispose()
    const outcome = await Promise.allSettled([running, waiting])
    t.is(outcome[0].status, 'fulfilled')
    t.is((outcome[1] as PromiseRejectedResult).reason.code, 'ERR_CLIP_DISPOSED')
    await disposed
    await clip.dispose()
    for (const call of [
      () => clip.encodeImage(exampleImages[0]!),
      () => clip.encodeText('dog'),
      () => clip.preprocess(exampleImages[0]!),
      () => clip.tokenize('dog'),
      () => clip.similarity(exampleImages[0]!, 'dog'),
      () => clip.classifier(['dog']),
      () => classifier.classify(exampleImages[0]!),
      () => classifier.stream([]).next(),
    ])
      await t.throwsAsync(call(), { code: 'ERR_CLIP_DISPOSED' }, call.toString())
  },
)

test('one tower works alone, and the error for the other tower says that it is not loaded', async t => {
  await using image = await load(undefined, { towers: ['image'] })
  t.deepEqual(image.info.towers, ['image'])
  t.is(image.info.contextLength, undefined)
  t.is((await image.encodeImage(exampleImages[0]!)).shape[1], 192)
  await t.throwsAsync(image.encodeText('dog'), { code: 'ERR_CLIP_CONFIG', message: /text tower/ })
  await using text = await load(undefined, { towers: ['text'] })
  t.is((await text.encodeText('dog')).shape[1], 192)
  await t.throwsAsync(text.encodeImage(exampleImages[0]!), {
    code: 'ERR_CLIP_CONFIG',
    message: /image tower/,
  })
})
