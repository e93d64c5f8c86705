/** Long texts and long lists: what is refused by name, and that the order of scores is kept whatever topK is. */

import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { atOnce, sorted } from '../../lib/base/slices.js'
import { bestLogits } from '../../lib/classifier/scorers.js'
import { type Clip, load } from '../../lib/index.js'
import { generator } from '../helpers/random.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

const tiny = async (): Promise<Clip> =>
  load(await writeTinyModel(await mkdtemp(join(tmpdir(), 'clip-limits-'))), { threads: 1 })

test('a text or prompt of more than a million characters is refused by name', async t => {
  await using clip = await tiny()
  const long = 'a '.repeat(500_001)
  const code = 'ERR_CLIP_TEXT_TOO_LONG'
  const expected = 'have at most 1000000 characters'
  const one = await t.throwsAsync(clip.encodeText(long, { truncate: true }), { code })
  t.like(one, { field: 'text', expected, actual: '1000002' })
  t.is(one!.message, 'Expected `text` to have at most 1000000 characters, got 1000002')
  const second = await t.throwsAsync(clip.tokenize(['cat', long], { truncate: true }), { code })
  t.like(second, { field: 'texts[1]', index: 1 })
  const { errors, data } = await clip.encodeText(['cat', long], { truncate: true, errors: 'collect' })
  t.is(errors![0], null)
  t.like(errors![1], { code, field: 'texts[1]', index: 1 })
  t.true(Number.isFinite(data[0]) && Number.isNaN(data[data.length - 1]))
  const prompt = clip.classifier(['cat', 'x'.repeat(2000)], {
    templates: ['{}', '{}'.repeat(1000)],
    truncate: true,
  })
  t.like(await t.throwsAsync(prompt, { code }), {
    field: 'labels[1] in templates[1]',
    index: 1,
    expected,
    actual: '2000000',
  })
  // Longer than any string can be: refused before it is made.
  const huge = clip.classifier(['x'.repeat(900_000)], { templates: '{}'.repeat(400_000), truncate: true })
  t.like(await t.throwsAsync(huge, { code }), { actual: '360000000000' })
  const template = clip.classifier(['cat'], { templates: ['a {}', `{}${long}`] })
  t.like(await t.throwsAsync(template, { code }), { field: 'templates[1]' })
})

test('HTML references that are nested too deeply are refused, others are read', async t => {
  await using clip = await tiny()
  // A full-width ampersand is made one by another repair: each level takes a pass over the whole text.
  const nested = (levels: number) => `&${'#65286;'.repeat(levels)}`
  const { ids } = await clip.tokenize([nested(200), '&'])
  const width = ids.length / 2
  t.deepEqual(ids.slice(0, width), ids.slice(width))
  t.like(await t.throwsAsync(clip.tokenize(nested(400)), { code: 'ERR_CLIP_TEXT_TOO_LONG' }), {
    field: 'text',
    expected: 'have at most 256 levels of HTML references within each other',
  })
  const deep = await clip.tokenize([`&${'amp;'.repeat(100_000)}`, '&'])
  t.deepEqual(deep.ids.slice(0, width), deep.ids.slice(width))
})

test('the best k logits are the first k in order, with NaN first and ties by index', async t => {
  const next = generator(3)
  for (const [classes, k] of [
    [40, 5],
    [40, 16],
    [40, 17],
    [40, 40],
    [5000, 300],
    [5000, 5000],
  ] as const) {
    const rows = 3
    const logits = Float32Array.from({ length: rows * classes }, (_, i) => {
      if (i >= 2 * classes && next() < 0.05) return Number.NaN
      return Math.floor(next() * 50) / 7 // many are equal
    })
    const { index, value } = await bestLogits(logits, rows, classes, k, 'logit')
    for (let r = 0; r < rows; r++) {
      const row = logits.subarray(r * classes, (r + 1) * classes)
      const all = Array.from(row.keys()).sort((a, b) => {
        const [x, y] = [row[a]!, row[b]!]
        if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? -1 : 1
        return y - x || a - b
      })
      t.deepEqual(Array.from(index.subarray(r * k, (r + 1) * k)), all.slice(0, k))
      t.deepEqual(
        Array.from(value.subarray(r * k, (r + 1) * k)),
        all.slice(0, k).map(c => row[c]!),
      )
    }
  }
})

test('sorting in steps gives the same order as a stable sort', t => {
  const next = generator(9)
  for (const count of [0, 1, 255, 256, 257, 1000, 5000]) {
    const items = Array.from({ length: count }, (_, i) => ({ key: Math.floor(next() * 100), i }))
    const compare = (a: { key: number }, b: { key: number }) => a.key - b.key
    t.deepEqual(atOnce(sorted(items, compare)), [...items].sort(compare))
  }
})
