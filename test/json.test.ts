/** The JSON parser: texts in pieces, which may be cut anywhere, are the same value or the same error as a whole text. */

import test from 'ava'
import { CONFIG_LIMITS, type Json, parseJson } from '../lib/base/json.js'
import { atOnce } from '../lib/base/slices.js'

const plain = (value: Json): unknown =>
  value instanceof Map
    ? Object.fromEntries([...value].map(([name, one]) => [name, plain(one)]))
    : Array.isArray(value)
      ? value.map(plain)
      : value

/** The value, or the message of the error. */
const result = (text: string | string[]): unknown => {
  try {
    return { value: plain(atOnce(parseJson(text, CONFIG_LIMITS))) }
  } catch (error) {
    return (error as Error).message
  }
}

const valid = [
  '{"name": "caf\u00e9 \\u00e9 \\"quoted\\" \\\\", "numbers": [0, -1.5, 2e10, 12345678901], "no": {}, "none": []}',
  ' [true, false, null, "", [[[]]], {"a": {"b": [1, {"c": "d"}]}}] \n\t',
  '-12.25e-3',
  '"a text alone"',
  `[${'  '.repeat(50)}1${'\n'.repeat(50)}]`,
]
const invalid = [
  '',
  '   ',
  '{"a": 1, "a": 2}',
  '["a", 01]',
  '[1, 2',
  '{"a" 1}',
  '"\\x"',
  '"never ends',
  '[truth]',
  '[nul',
  '1 2',
  '[1,]',
  `[${'1'.repeat(66)}]`,
  '{"a": "line\nend"}',
]

test('a valid text gives the same result as JSON.parse', t => {
  for (const text of valid) t.deepEqual(result(text), { value: JSON.parse(text) })
})

test('escapes in a long string are read correctly wherever it is divided', t => {
  const escapes = ['\\n', '\\\\', '\\"', '\\u00e9', '\\ud83d\\ude00', '\\ud83d', '\u{1f600}', 'x']
  for (const one of escapes)
    for (let shift = 0; shift < 12; shift++) {
      const string = `"${'-'.repeat(shift)}${one.repeat(Math.floor(50_000 / one.length))}"`
      const text = `{${string}:${string},"list":[${string},1]}`
      t.deepEqual(result(text), { value: JSON.parse(text) }, `${one} after ${shift}`)
      t.deepEqual(
        result(text.match(/[\s\S]{1,9000}/g)!),
        { value: JSON.parse(text) },
        `${one} after ${shift}`,
      )
    }
})

test('an invalid long string is refused with its position, like a short one', t => {
  const long = 'x'.repeat(40_000)
  t.is(result(`[1,"${long}\\x"]`), 'Bad escape in a string at character 4')
  t.is(result(`[1,"\\u12${long}"]`), 'Bad escape in a string at character 4')
  t.is(result(`[1,"${long}\n"]`), 'Control character in a string at character 40004')
  t.is(result(`[1,"${long}`), 'Unexpected end in a string at character 40004')
  t.regex(String(result(`{"${long}":1,"${long}":2}`)), /^Duplicate key .* at character 40006$/)
  t.is((result(`"${'x'.repeat((1 << 18) - 1)}"`) as { value: string }).value.length, (1 << 18) - 1)
  t.is(result(`[1,"${'x'.repeat(1 << 18)}"]`), 'String longer than 262144 characters at character 4')
})

test('a text that is not valid is refused', t => {
  for (const text of invalid) t.regex(String(result(text)), / at character \d+$/, text)
})

for (const [title, texts] of Object.entries({ valid, invalid }))
  test(`a text that is ${title} gives the same result wherever it is divided into pieces`, t => {
    for (const text of texts) {
      const whole = result(text)
      t.deepEqual(result([...text]), whole)
      t.deepEqual(result([...text].flatMap(c => [c, ''])), whole)
      for (let cut = 0; cut <= text.length; cut++)
        t.deepEqual(result([text.slice(0, cut), text.slice(cut)]), whole, `${text} cut at ${cut}`)
    }
  })
