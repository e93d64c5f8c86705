/**
 * Texts that are hard on patterns, sorting and normalization: their ids are those of the original, which
 * test/golden/tokenizer/make_adversarial.py made, and every one takes time that grows with its length alone.
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { atOnce } from '../../lib/base/slices.js'
import { createTokenizer } from '../../lib/tokenizer/index.js'
import { lower } from '../../lib/tokenizer/lower.js'
import { normalizeNfc } from '../../lib/tokenizer/normalize.js'
import { mostCharacters } from '../../lib/tokenizer/tokenizer.js'
import { generator } from '../helpers/random.js'

interface Case {
  /** The text: each part so many times, one after the other. */
  parts: [text: string, times: number][]
  /** How many ids it has, and the digest of them, separated by commas. */
  count: number
  sha256: string
}

const cases = (): Case[] =>
  JSON.parse(readFileSync(join(packageRoot, 'test/golden/tokenizer/adversarial.json'), 'utf8')).cases

const textOf = ({ parts }: Case): string => parts.map(([text, times]) => text.repeat(times)).join('')

test('difficult texts of thousands of characters have the ids of OpenAI', async t => {
  const tokenizer = await createTokenizer({ kind: 'bpe', contextLength: 100_000, family: 'openai' })
  const all = cases()
  t.true(all.length >= 60)
  const wrong = all.filter(one => {
    const ids = tokenizer.encode(textOf(one)).ids.slice(1, -1)
    return ids.length !== one.count || createHash('sha256').update(ids.join()).digest('hex') !== one.sha256
  })
  t.deepEqual(
    wrong.map(one => one.parts),
    [],
  )
})

test('NFC in pieces equals that of the engine, for runs of marks of every class and for every character', t => {
  const next = generator(5)
  const marks =
    '\u0301\u0323\u0327\u0334\u0345\u05b0\u0e38\u0f71\u0f72\u093c\u0903\u09be\u0dcf\u0dca\u0344\u{1d165}'
  const chars = [...`aeക中\u09c7\u0dd9\u1100\u1161\u11a8\u212b\u{16d67}\u{16d63}${marks}${marks}`]
  for (let i = 0; i < 200; i++) {
    let text = ''
    const few = Array.from({ length: 3 + (i % 9) }, () => chars[Math.floor(next() * chars.length)]!)
    while (text.length < 2500) text += few[Math.floor(next() * few.length)]!.repeat(next() < 0.1 ? 400 : 1)
    t.is(atOnce(normalizeNfc(text)), text.normalize('NFC'))
  }
  // Whatever stands at the seam of two pieces: every character after one that may take it up, or be taken up.
  for (const before of [
    'e',
    '\u1100',
    '\uac00',
    '\u09c7',
    '\u0dd9',
    '\u{11935}',
    '\u{16d67}',
    '\u{16d68}',
    'e\u0301',
  ]) {
    let text = 'x'.repeat(1024 - before.length)
    for (let code = 0x300; code < 0x20000; code++) {
      if (code >= 0xd800 && code <= 0xdfff) continue
      const char = String.fromCodePoint(code)
      if (/^[\p{M}\u1160-\u11ff\u{16d63}-\u{16d6a}]/u.test(char)) continue
      // A seam before this character is one that changes nothing.
      if ((before + char).normalize('NFC') !== before.normalize('NFC') + char.normalize('NFC')) text += char
    }
    t.is(text.length, 1024 - before.length, `characters that combine with ${JSON.stringify(before)}`)
  }
})

test('lower-casing in pieces equals that of the engine, for every character beside a sigma', t => {
  const wrong: string[] = []
  for (let code = 0; code < 0x20000; code++) {
    if ((code >= 0xd800 && code <= 0xdfff) || code === 0x295) continue
    const char = String.fromCodePoint(code)
    for (const text of [`${char}\u03a3`, `a\u03a3${char}`, `a${char}\u03a3`, `a\u03a3${char}b`])
      if (atOnce(lower(text)) !== text.toLowerCase()) wrong.push(text)
  }
  t.deepEqual(wrong, [])
  // Python 3.11 takes U+0295 for a cased letter, and skips a modifier letter, which is cased as well.
  t.is(atOnce(lower(`\u0295\u03a3${'\u0301'.repeat(3000)}`)), `\u0295\u03c2${'\u0301'.repeat(3000)}`)
  t.is(
    atOnce(lower(`\u0295\u03a3${'\u0301'.repeat(3000)}\u02b0a`)),
    `\u0295\u03c3${'\u0301'.repeat(3000)}\u02b0a`,
  )
  t.is(atOnce(lower('\u0295\u03a3\u02b0')), '\u0295\u03c2\u02b0')
})

test('a text beyond the limit is refused by name, even with truncate', async t => {
  const tokenizer = await createTokenizer({ kind: 'bpe', contextLength: 77, family: 'openai' })
  const long = 'a '.repeat(mostCharacters / 2)
  t.is(tokenizer.encode(long, { truncate: true }).tokens, mostCharacters / 2 + 2)
  const error = t.throws(() => tokenizer.encode(`${long}b`, { truncate: true }, 2), {
    code: 'ERR_CLIP_TEXT_TOO_LONG',
  })
  t.like(error, { index: 2, expected: 'have at most 1000000 characters', actual: '1000001' })
  const [good, refused] = await tokenizer.encodeAll(['cat', `${long}b`], { truncate: true })
  t.is(good!.refused, undefined)
  t.like(refused, { ids: [], refused: { actual: '1000001' } })
})
