/** The option `background`: of the model, of one call, and what is no colour. Its arithmetic: variants.test.ts. */

import test from 'ava'
import { load } from '../../lib/index.js'

const half = {
  data: new Uint8Array([200, 100, 50, 128, 9, 9, 9, 0]),
  width: 2,
  height: 1,
  channels: 4,
} as const
const opaque = { data: new Uint8Array([200, 100, 50, 9, 9, 9]), width: 2, height: 1, channels: 3 } as const

test('the background of the model and of one call give the same result, and opaque images do not change', async t => {
  const plain = await load(undefined, { threads: 1 })
  const white = await load(undefined, { threads: 1, background: '#ffffff' })
  const expected = await white.encodeImage(half)
  for (const background of ['#fff', '#FFFFFF', 'white'])
    t.deepEqual(await plain.encodeImage([half, half], { background }).then(e => e.row(1)), expected.row(0))
  t.deepEqual(await plain.preprocess(half, { background: '#fff' }), await white.preprocess(half))
  t.notDeepEqual(await plain.preprocess(half), await white.preprocess(half))
  t.deepEqual(
    await white.preprocess(half, { background: 'black' }),
    await plain.preprocess(half, { background: '#000' }),
  )
  t.deepEqual(await white.preprocess(opaque), await plain.preprocess(opaque))
  // Composed by hand: (200 * 128 + 255 * 127) / 255 and so on.
  const composed = { ...opaque, data: new Uint8Array([227, 177, 152, 255, 255, 255]) }
  t.deepEqual(await white.preprocess(half), await plain.preprocess(composed))
  await plain.dispose()
  await white.dispose()
})

test('an invalid colour is a TypeError', async t => {
  const clip = await load(undefined, { threads: 1 })
  for (const background of ['beige', '#ff', '#12345', 'fff', '', 7, null, ['#fff'], 'constructor']) {
    const options = { background: background as string }
    for (const call of [
      load(undefined, options),
      clip.encodeImage(half, options),
      clip.preprocess(half, options),
    ]) {
      const error = await t.throwsAsync(call, { instanceOf: TypeError })
      t.regex(error!.message, /`background` to be a colour as '#ffffff'/)
    }
  }
  for (const decodeTimeout of [0, -1, 1.5, Number.NaN, '30'])
    await t.throwsAsync(load(undefined, { decodeTimeout: decodeTimeout as number }), {
      message: /`decodeTimeout`/,
    })
  await t.throwsAsync(load(undefined, { svg: 'yes' as unknown as boolean }), {
    message: /`svg` to be true or false/,
  })
  await clip.dispose()
})
