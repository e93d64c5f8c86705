import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { createTokenizer, readVocabulary } from '../../lib/tokenizer/index.js'
import { processorMs } from '../processor-time.js'

const openai = () => createTokenizer({ kind: 'bpe', contextLength: 77, family: 'openai' })
const folder = () => mkdtempSync(join(tmpdir(), 'clip-vocabulary-'))

test('known texts have their known ids', async t => {
  const tokenizer = await openai()
  t.deepEqual(tokenizer.encode('Hello World!').ids, [49406, 3306, 1002, 256, 49407])
  t.is(tokenizer.vocabSize, 49408)
  t.is(tokenizer.padId, 0)
  t.is(tokenizer.decode([49406, 3306, 1002, 256, 49407]), '<|startoftext|>hello world ! <|endoftext|>')
  const error = t.throws(() => tokenizer.decode([49408]), { instanceOf: RangeError })
  t.is((error as Error & { code: string }).code, 'ERR_CLIP_INPUT')
})

test('a sigma after U+0295, a cased letter in the Unicode of the original, becomes final', async t => {
  const tokenizer = await openai()
  const lower = (text: string): string => tokenizer.decode(tokenizer.encode(text).ids.slice(1, -1)).trim()
  // Python 3.11: 'ΑΣ\u0295'.lower() and '\u0295Σ'.lower().
  t.is(lower('ΑΣ\u0295'), 'ασ\u0295')
  t.is(lower('\u0295Σ'), '\u0295ς')
})

test("special tokens in a text are treated as characters unless specialTokens is 'parse'", async t => {
  const tokenizer = await openai()
  for (const cleaning of ['openai', 'huggingface'] as const) {
    const { ids } = tokenizer.encode('<|endoftext|> hello <|startoftext|>', { cleaning })
    t.true(ids.slice(1, -1).every(id => id < 49406))
    t.is(tokenizer.decode(ids.slice(1, -1)), '<| endoftext |> hello <| startoftext |> ')
    const parsed = tokenizer.encode('<|endoftext|> hello', { cleaning, specialTokens: 'parse' })
    t.deepEqual(parsed.ids, [49406, 49407, 3306, 49407])
  }
})

test('a text that is too long is an error with its length, or is truncated before the end token', async t => {
  const tokenizer = await openai()
  const text = 'cat '.repeat(100)
  const error = t.throws(() => tokenizer.encode(text, {}, 3), { code: 'ERR_CLIP_TEXT_TOO_LONG' })
  t.like(error, { index: 3, actual: '102 tokens', expected: 'at most 77 tokens' })
  const cut = tokenizer.encode(text, { truncate: true })
  t.like(cut, { truncated: true, tokens: 102 })
  t.is(cut.ids.length, 77)
  t.deepEqual([cut.ids[0], cut.ids[76]], [49406, 49407])
  await t.throwsAsync(tokenizer.encodeAll(['cat', text]), { code: 'ERR_CLIP_TEXT_TOO_LONG' })
})

test('a word of 200 kB takes no quadratic time and has the same ids in slices', async t => {
  const tokenizer = await openai()
  const long = 'abcdefgh'.repeat(25_000)
  const started = process.cpuUsage()
  const plain = tokenizer.encode(long, { truncate: true })
  t.true(processorMs(started) < 5000)
  t.deepEqual(await tokenizer.encodeAll([long], { truncate: true }), [plain])
})

test('an abort ends encodeAll with its reason', async t => {
  const tokenizer = await openai()
  const reason = new Error('enough')
  const controller = new AbortController()
  const running = tokenizer.encodeAll(['abcdefgh'.repeat(50_000)], { truncate: true }, controller.signal)
  controller.abort(reason)
  t.is(await t.throwsAsync(running), reason)
})

test('tokenizer.json with either form of merges gives the same ids as vocab.json and merges.txt', async t => {
  const model = join(packageRoot, 'models/icon-clip')
  const expected = await readVocabulary(model)
  const vocab = JSON.parse(readFileSync(join(model, 'vocab.json'), 'utf8')) as Record<string, number>
  const { '<|endoftext|>': end, ...rest } = vocab
  for (const pairs of [true, false]) {
    const dir = folder()
    const merges = expected!.merges.map(merge => (pairs ? merge.split(' ') : merge))
    const added = [{ id: end, content: '<|endoftext|>', special: true }]
    writeFileSync(
      join(dir, 'tokenizer.json'),
      JSON.stringify({ added_tokens: added, model: { type: 'BPE', vocab: rest, merges } }),
    )
    const read = await readVocabulary(dir)
    t.deepEqual(read!.merges, expected!.merges)
    t.deepEqual(Object.fromEntries(read!.vocab as Map<string, number>), vocab)
  }
  t.is(await readVocabulary(folder()), undefined)
})

test('errors for damaged vocabularies name file and field', async t => {
  const dir = folder()
  const vocab = join(dir, 'vocab.json')
  const merges = join(dir, 'merges.txt')
  const make = async (vocabText: string, mergesText: string): Promise<unknown> => {
    writeFileSync(vocab, vocabText)
    writeFileSync(merges, mergesText)
    return createTokenizer(
      { kind: 'bpe', contextLength: 8, family: 'huggingface' },
      await readVocabulary(dir),
    )
  }
  const good = '{"a":0,"b":1,"ab":2,"<|startoftext|>":3,"<|endoftext|>":4}'
  await t.notThrowsAsync(make(good, 'a b\n'))
  for (const [vocabText, mergesText, file] of [
    [good.slice(0, 20), 'a b\n', vocab],
    ['[1]', 'a b\n', vocab],
    ['{"a":-1}', 'a b\n', vocab],
    ['{"a":0,"b":0}', '', vocab],
    ['{"a":0}', '', vocab],
    [good, 'a\n', merges],
    [good, 'b a\n', vocab],
  ] as const) {
    const error = await t.throwsAsync(make(vocabText, mergesText), { code: 'ERR_CLIP_CHECKPOINT' })
    t.like(error, { file })
  }
})
