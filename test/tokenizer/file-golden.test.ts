/**
 * Token ids of vocabularies of files, equal to those of the classes of transformers 5.17.0 on odd strings of all scripts.
 * With CLIP_VOCABULARIES=FOLDER of `make_files.py --count 5000 --out FOLDER`, on those strings instead.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { createTokenizer } from '../../lib/tokenizer/index.js'
import { patience } from '../helpers/patience.js'
import { golden, unpacked } from './files.js'

const given = process.env.CLIP_VOCABULARIES
const { strings, cases } = given
  ? (JSON.parse(readFileSync(join(given, 'expected.json'), 'utf8')) as ReturnType<typeof golden>)
  : golden()

test('every kind is compared on 500 strings or more', t => {
  t.true(strings.length >= 500)
  t.deepEqual([...new Set(cases.map(one => one.class))].sort(), [
    'BertTokenizer',
    'GemmaTokenizer',
    'NllbTokenizer',
    'PreTrainedTokenizerFast',
    'RobertaTokenizer',
    'Siglip2Tokenizer',
    'SiglipTokenizer',
    'T5Tokenizer',
    'XLMRobertaTokenizer',
  ])
})

for (const { name, folder, file, class: like, cleaning, language, ids, pad, decoded } of cases)
  test(`all ids of ${name} equal those of ${like}`, async t => {
    t.timeout(patience * 120_000)
    const place = given ? { folder: join(given, folder), remove: () => {} } : unpacked(folder)
    t.teardown(place.remove)
    const tokenizer = await createTokenizer({
      kind: 'file',
      file: join(place.folder, file),
      class: like,
      contextLength: 20_000,
      cleaning,
      ...(language === undefined ? {} : { language }),
    })
    const got = await tokenizer.encodeAll(strings)
    const wrong = strings.flatMap((text, i) =>
      got[i]!.ids.join() === ids[i]!.join() ? [] : [{ text, expected: ids[i], got: got[i]!.ids }],
    )
    t.deepEqual(wrong.slice(0, 5), [])
    if (pad !== null) t.is(tokenizer.padId, pad)
    // One by one on this thread, and back.
    for (const [i, text] of strings.slice(0, 150).entries()) {
      t.deepEqual(tokenizer.encode(text).ids, ids[i], text)
      if (decoded[i] !== null) t.is(tokenizer.decode(ids[i]!), decoded[i], text)
    }
  })
