/** Token ids equal to the originals', on thousands of odd strings; test/golden/tokenizer/make.py made them. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { createTokenizer, readVocabulary } from '../../lib/tokenizer/index.js'

const golden = (name: string): [text: string, ids: number[]][] =>
  JSON.parse(
    gunzipSync(readFileSync(join(packageRoot, 'test/golden/tokenizer', `${name}.json.gz`))).toString(),
  ).cases

test("all ids with OpenAI's cleaning equal those of SimpleTokenizer with ftfy 6.3.1", async t => {
  const tokenizer = await createTokenizer({ kind: 'bpe', contextLength: 100_000, family: 'openai' })
  const cases = golden('openai')
  t.true(cases.length >= 5000)
  const wrong = cases.filter(
    ([text, ids]) =>
      tokenizer.encode(text, { specialTokens: 'parse' }).ids.slice(1, -1).join() !== ids.join(),
  )
  t.deepEqual(wrong, [])
})

test("all ids with Hugging Face's cleaning equal those of CLIPTokenizerFast on the embedded model", async t => {
  const vocabulary = await readVocabulary(join(packageRoot, 'models/icon-clip'))
  const tokenizer = await createTokenizer(
    { kind: 'bpe', contextLength: 100_000, family: 'huggingface' },
    vocabulary,
  )
  const cases = golden('huggingface')
  t.true(cases.length >= 1500)
  const options = { specialTokens: 'parse', cleaning: 'huggingface' } as const
  const wrong = cases.filter(([text, ids]) => tokenizer.encode(text, options).ids.join() !== ids.join())
  t.deepEqual(wrong, [])
})
