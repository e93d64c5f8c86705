/** Resize is integer arithmetic: every backend gives the bytes of the reference. (Against Pillow: test/image.) */

import { canaryBytes } from '../helpers/canary.js'
import { casesOf } from '../helpers/cases.js'
import { sameBytes } from '../helpers/close.js'
import { eachBackend } from '../helpers/each-backend.js'
import { randomBytes } from '../helpers/random.js'

const cases = casesOf('resize', { width: 0, height: 0, outWidth: 0, outHeight: 0 }).flatMap(
  ({ name, width, height, outWidth, outHeight }) =>
    (['nearest', 'bilinear', 'bicubic'] as const).flatMap(filter =>
      (filter === 'bicubic' ? [1, 2, 3, 4] : [3]).map(channels => ({
        name: `${name}, ${filter}, ${channels} channels`,
        width,
        height,
        outWidth,
        outHeight,
        filter,
        channels,
      })),
    ),
)

eachBackend('resize gives the bytes of the reference', cases, async (t, on, c) => {
  const src = randomBytes(1, c.width * c.height * c.channels)
  const whole = { x: 0, y: 0, width: c.outWidth, height: c.outHeight }
  const window = {
    x: c.outWidth >> 2,
    y: c.outHeight >> 1,
    width: (c.outWidth + 1) >> 1,
    height: (c.outHeight + 1) >> 1,
  }
  for (const crop of [whole, window])
    for (const threads of [1, 2]) {
      const n = crop.width * crop.height * c.channels
      const got = canaryBytes(n)
      const want = new Uint8Array(n)
      await on.run('resize', { ...c, src, crop, out: got.array, threads })
      await on.reference('resize', { ...c, src, crop, out: want })
      sameBytes(t, got.array, want, `window at ${crop.x}, ${crop.y}`)
      got.check(t)
    }
})

eachBackend(
  'resize of a window gives the same bytes as the whole image there',
  [{ name: '20 x 21' }],
  async (t, on) => {
    const size = {
      width: 53,
      height: 41,
      channels: 3,
      outWidth: 29,
      outHeight: 35,
      filter: 'bicubic' as const,
    }
    const src = randomBytes(2, 53 * 41 * 3)
    const whole = new Uint8Array(29 * 35 * 3)
    await on.run('resize', { ...size, src, crop: { x: 0, y: 0, width: 29, height: 35 }, out: whole })
    const crop = { x: 3, y: 7, width: 20, height: 21 }
    const out = new Uint8Array(20 * 21 * 3)
    await on.run('resize', { ...size, src, crop, out })
    for (let y = 0; y < 21; y++) {
      const from = ((y + 7) * 29 + 3) * 3
      sameBytes(t, out.subarray(y * 60, (y + 1) * 60), whole.subarray(from, from + 60), `row ${y}`)
    }
  },
)
