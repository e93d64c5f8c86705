/** embed, gather, normalize and patches: the ops that move rows. */

import { canaryFloats } from '../helpers/canary.js'
import { casesOf } from '../helpers/cases.js'
import { bound, close, sameBytes } from '../helpers/close.js'
import { eachBackend } from '../helpers/each-backend.js'
import { integers, normal, randomBytes } from '../helpers/random.js'

eachBackend(
  'embed adds the rows of token and position',
  casesOf('embed', { rows: 0, cols: 0 }),
  async (t, on, { rows, cols }) => {
    const table = normal(1, 50 * cols)
    const positions = normal(2, 33 * cols)
    const ids = integers(3, rows, 50)
    const position = integers(4, rows, 33)
    ids[0] = 49
    position[0] = 32
    const got = canaryFloats(rows * cols)
    await on.run('embed', { table, ids, positions, position, out: got.array, rows, cols })
    // One addition: there is only one right answer.
    const want = new Float32Array(rows * cols)
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < cols; c++)
        want[r * cols + c] = table[ids[r] * cols + c] + positions[position[r] * cols + c]
    sameBytes(t, got.array, want, 'out')
    got.check(t)
  },
)

eachBackend(
  'gather copies the rows in the given order',
  casesOf('gather', { rows: 0, cols: 0 }),
  async (t, on, { rows, cols }) => {
    const x = normal(1, 40 * cols)
    x[3 * cols] = Number.NaN
    const row = integers(2, rows, 40)
    row[rows - 1] = 3
    const got = canaryFloats(rows * cols)
    await on.run('gather', { x, row, out: got.array, count: rows, cols })
    const want = new Float32Array(rows * cols)
    row.forEach((r, i) => {
      want.set(x.subarray(r * cols, (r + 1) * cols), i * cols)
    })
    sameBytes(t, got.array, want, 'out')
    got.check(t)
  },
)

eachBackend(
  'normalise scales rows to length 1',
  casesOf('normalise', { rows: 0, cols: 0, scale: 1 }),
  async (t, on, c) => {
    const { rows, cols } = c
    const x = normal(1, rows * cols, c.scale)
    if (rows > 2) {
      x.fill(0, 0, cols) // a zero row stays zero
      x[cols + cols - 1] = Number.NaN
    }
    const got = canaryFloats(rows * cols)
    const want = new Float32Array(rows * cols)
    await on.run('normalise', { x, out: got.array, rows, cols })
    await on.reference('normalise', { x, out: want, rows, cols })
    close(t, got.array, want, bound(cols, on.epsilon, 1) + 2 * on.epsilon, 'out')
    got.check(t)
    if (rows > 2) t.true(got.array.subarray(0, cols).every(v => v === 0))
    // In place, alone, and with another number of threads: the same bits.
    const inPlace = x.slice()
    await on.run('normalise', { x: inPlace, out: inPlace, rows, cols, threads: 1 })
    sameBytes(t, inPlace, got.array, 'in place')
    const last = new Float32Array(cols)
    await on.run('normalise', { x: x.subarray((rows - 1) * cols), out: last, rows: 1, cols })
    sameBytes(t, last, got.array.subarray((rows - 1) * cols), 'the last row alone')
  },
)

const grids = casesOf('patches', { images: 0, size: 0, patch: 0 })

/** torch.nn.functional.unfold of planes, as a matrix of patches. */
function unfold(
  plane: (image: number, c: number, y: number, x: number) => number,
  g: (typeof grids)[number],
) {
  const grid = Math.floor(g.size / g.patch)
  const want = new Float32Array(g.images * grid * grid * 3 * g.patch * g.patch)
  let at = 0
  for (let image = 0; image < g.images; image++)
    for (let row = 0; row < grid; row++)
      for (let column = 0; column < grid; column++)
        for (let c = 0; c < 3; c++)
          for (let y = 0; y < g.patch; y++)
            for (let x = 0; x < g.patch; x++)
              want[at++] = plane(image, c, row * g.patch + y, column * g.patch + x)
  return want
}

eachBackend('patches of bytes are normalized and placed row by row', grids, async (t, on, g) => {
  const pixels = randomBytes(1, g.images * g.size * g.size * 3)
  const value = normal(2, 3 * 256)
  const want = unfold((i, c, y, x) => value[c * 256 + pixels[((i * g.size + y) * g.size + x) * 3 + c]], g)
  const got = canaryFloats(want.length)
  await on.run('patches', { pixels, value, out: got.array, images: g.images, size: g.size, patch: g.patch })
  sameBytes(t, got.array, want, 'out')
  got.check(t)
})

eachBackend('patches of planes are placed row by row', grids, async (t, on, g) => {
  const planes = normal(3, g.images * 3 * g.size * g.size)
  const want = unfold((i, c, y, x) => planes[((i * 3 + c) * g.size + y) * g.size + x], g)
  const got = canaryFloats(want.length)
  await on.run('patches', { planes, out: got.array, images: g.images, size: g.size, patch: g.patch })
  sameBytes(t, got.array, want, 'out')
  got.check(t)
})
