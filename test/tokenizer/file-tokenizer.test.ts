/** Tokenizers of vocabulary files: lengths, pads, options, and files that can't be used. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError } from '../../lib/index.js'
import { createTokenizer } from '../../lib/tokenizer/index.js'
import type { FileTokenizerSpec, TokenizerClass } from '../../lib/tokenizer/spec.js'
import { golden, unpacked } from './files.js'

function folderOf(t: ExecutionContext, name: string): string {
  const { folder, remove } = unpacked(name)
  t.teardown(remove)
  return folder
}

const opened = (file: string, like: TokenizerClass, more: Partial<FileTokenizerSpec> = {}) =>
  createTokenizer({ kind: 'file', file, class: like, contextLength: 8, cleaning: 'none', ...more })

test('a long text keeps what every text begins and ends with, and is refused without truncate', async t => {
  const folder = folderOf(t, 'bert')
  const tokenizer = await opened(join(folder, 'vocab.txt'), 'BertTokenizer')
  const text = 'a photo of the cat and the dog and the cat'
  const whole = (await opened(join(folder, 'vocab.txt'), 'BertTokenizer', { contextLength: 99 })).encode(
    text,
  ).ids
  const cut = tokenizer.encode(text, { truncate: true })
  t.deepEqual(cut.ids, [...whole.slice(0, 7), whole.at(-1)])
  t.true(cut.truncated)
  t.is(cut.tokens, whole.length)
  t.throws(() => tokenizer.encode(text, {}, 3), { instanceOf: ClipError, code: 'ERR_CLIP_TEXT_TOO_LONG' })
  const error = await t.throwsAsync(tokenizer.encodeAll(['a', text]), { instanceOf: ClipError })
  t.is((error as ClipError).code, 'ERR_CLIP_TEXT_TOO_LONG')
  t.is((error as ClipError).index, 1)
  t.deepEqual((await tokenizer.encodeAll(['a', text], { truncate: true }))[1], cut)
})

test('CLIPA: every [SEP] becomes 0, whether it ends the text or stands in it', async t => {
  const folder = folderOf(t, 'bert')
  const file = join(folder, 'vocab.txt')
  const plain = await opened(file, 'BertTokenizer')
  const clipa = await opened(file, 'BertTokenizer', { stripSeparators: true })
  for (const text of ['', 'a cat', 'a [SEP] cat'])
    t.deepEqual(
      clipa.encode(text).ids,
      plain.encode(text).ids.map(id => (id === plain.endId ? 0 : id)),
    )
  t.is(clipa.endId, 0)
})

test('an empty text of SigLIP is its end token, which is also its pad', async t => {
  const t5 = await opened(join(folderOf(t, 't5'), 'tokenizer.json'), 'T5Tokenizer', {
    cleaning: 'canonicalize',
  })
  t.deepEqual(t5.encode('').ids, [1])
  t.is(t5.padId, 1)
  t.is((await opened(join(folderOf(t, 't5'), 'tokenizer.json'), 'T5Tokenizer', { padId: 0 })).padId, 0)
})

test('special tokens in a text are characters with specialTokens: text', async t => {
  const tokenizer = await opened(join(folderOf(t, 't5'), 'tokenizer.json'), 'T5Tokenizer', {
    contextLength: 64,
  })
  const parsed = tokenizer.encode('a </s> cat').ids
  const plain = tokenizer.encode('a </s> cat', { specialTokens: 'text' }).ids
  t.is(parsed.filter(id => id === 1).length, 2)
  t.is(plain.filter(id => id === 1).length, 1)
  t.deepEqual(tokenizer.encode('a </s> cat', { specialTokens: 'parse' }).ids, parsed)
  const siglip = await opened(join(folderOf(t, 'siglip'), 'spiece.model'), 'SiglipTokenizer', {
    contextLength: 64,
  })
  t.is(siglip.encode('a </s> cat', { specialTokens: 'text' }).ids.filter(id => id === 1).length, 1)
})

test('half of a surrogate pair is U+FFFD, at once and in slices, within a text and between its pieces', async t => {
  const tokenizer = await opened(join(folderOf(t, 'roberta'), 'tokenizer.json'), 'RobertaTokenizer', {
    contextLength: 60_000,
  })
  for (const text of [
    '\ud83d',
    'a\udc00b',
    `${'x'.repeat(16_383)}\ud83d\ude00y`,
    `${'x'.repeat(16_384)}\ud83d`,
  ]) {
    const [sliced] = await tokenizer.encodeAll([text])
    t.deepEqual(sliced, tokenizer.encode(text))
    t.deepEqual(sliced!.ids, tokenizer.encode(Buffer.from(text, 'utf8').toString('utf8')).ids)
  }
})

test('a text of more than a million characters is refused; one of a million is not', async t => {
  const tokenizer = await opened(join(folderOf(t, 'gemma'), 'tokenizer.json'), 'GemmaTokenizer', {
    contextLength: 64,
  })
  const [long, longest] = await tokenizer.encodeAll(['x'.repeat(1_000_001), '日'.repeat(1_000_000)], {
    truncate: true,
  })
  t.truthy(long!.refused)
  t.is(longest!.ids.length, 64)
  t.true(longest!.truncated)
  t.throws(() => tokenizer.encode('x'.repeat(1_000_001)), { code: 'ERR_CLIP_TEXT_TOO_LONG' })
})

test('an abort ends opening and encodeAll with its reason', async t => {
  const file = join(folderOf(t, 'gemma'), 'tokenizer.json')
  const reason = new Error('enough')
  const aborted = AbortSignal.abort(reason)
  await t.throwsAsync(
    createTokenizer(
      { kind: 'file', file, class: 'GemmaTokenizer', contextLength: 64, cleaning: 'none' },
      undefined,
      aborted,
    ),
    { is: reason },
  )
  const tokenizer = await opened(file, 'GemmaTokenizer')
  await t.throwsAsync(tokenizer.encodeAll(['a'], {}, aborted), { is: reason })
})

test('decode refuses what is no id', async t => {
  const tokenizer = await opened(join(folderOf(t, 'bert'), 'vocab.txt'), 'BertTokenizer')
  for (const id of [-1, tokenizer.vocabSize, 0.5, Number.NaN, 2 ** 40])
    t.throws(() => tokenizer.decode([1, id]), { instanceOf: RangeError, message: /ids\[1\]/ })
})

test('many calls at once on one tokenizer give what each gives alone', async t => {
  const tokenizer = await opened(join(folderOf(t, 't5'), 'tokenizer.json'), 'T5Tokenizer', {
    contextLength: 20_000,
  })
  const { strings } = golden()
  const alone = strings.map(text => tokenizer.encode(text))
  const parts = [0, 1, 2, 3].map(i => strings.slice(i * 100, i * 100 + 100))
  const together = await Promise.all(parts.map(part => tokenizer.encodeAll(part)))
  t.deepEqual(together.flat(), alone.slice(0, 400))
})

/** An edit of a parsed tokenizer.json, and what the error must name. */
// biome-ignore lint/suspicious/noExplicitAny: the tests break what a file may be
type Edit = [title: string, edit: (root: any) => void, field: RegExp]

const edits: Edit[] = [
  ['no model', root => delete root.model, /^model$/],
  ['a model of another type', root => (root.model.type = 'WordLevel'), /^model\.type$/],
  ['a vocabulary that is no object', root => (root.model.vocab = [['a', 0]]), /^model\.vocab$/],
  ['an empty vocabulary', root => (root.model.vocab = {}), /^model\.(vocab|merges\[0\])$/],
  ['an id twice', root => (root.model.vocab.twice = 5), /^model\.vocab\["twice"\]$/],
  ['an id below 0', root => (root.model.vocab.below = -1), /^model\.vocab\["below"\]$/],
  ['an id of billions', root => (root.model.vocab.large = 4e9), /^model\.vocab\["large"\]$/],
  ['an id that is no number', root => (root.model.vocab.text = '7'), /^model\.vocab\["text"\]$/],
  ['a merge of three pieces', root => (root.model.merges[1] = ['a', 'b', 'c']), /^model\.merges\[1\]$/],
  ['a merge of an unknown piece', root => (root.model.merges[2] = ['a', 'nobody']), /^model\.merges\[2\]$/],
  ['merges that are no array', root => (root.model.merges = {}), /^model\.merges$/],
  ['an added token without an id', root => delete root.added_tokens[0].id, /^added_tokens\[0\]\.id$/],
  ['an added token of another id', root => (root.added_tokens[0].id = 77), /^added token /],
  [
    'an added token of 2000 bytes',
    root => (root.added_tokens[0].content = 'x'.repeat(2000)),
    /^added_tokens\[0\]\.content$/,
  ],
  ['a normalizer that is not implemented', root => (root.normalizer = { type: 'Nmt' }), /^normalizer\.type$/],
  [
    'a regular expression',
    root => (root.normalizer = { type: 'Replace', pattern: { Regex: '(a+)+$' }, content: '' }),
    /^normalizer\.pattern\.Regex$/,
  ],
  [
    'a replacement that multiplies',
    root => (root.normalizer = { type: 'Replace', pattern: { String: 'a' }, content: 'a'.repeat(500) }),
    /^normalizer\.content$/,
  ],
  [
    'a charsmap that is no base64',
    root => (root.normalizer = { type: 'Precompiled', precompiled_charsmap: '?' }),
    /precompiled_charsmap$/,
  ],
  [
    'a charsmap whose trie is longer than the file',
    root =>
      (root.normalizer = {
        type: 'Precompiled',
        precompiled_charsmap: Buffer.from([0, 1, 0, 0, 1, 2, 3, 4]).toString('base64'),
      }),
    /precompiled_charsmap$/,
  ],
  [
    'a pre-tokenizer that is not implemented',
    root => (root.pre_tokenizer = { type: 'Digits' }),
    /^pre_tokenizer\.type$/,
  ],
  [
    'a template with an unknown token',
    root =>
      (root.post_processor = {
        type: 'TemplateProcessing',
        single: [{ Sequence: { id: 'A' } }, { SpecialToken: { id: '<no>' } }],
        special_tokens: {},
      }),
    /^post_processor\.special_tokens$/,
  ],
  [
    'a template with an id that is none',
    root => (root.post_processor = { type: 'BertProcessing', sep: ['x', 1e6], cls: ['y', 0] }),
    /^post_processor\.sep$/,
  ],
]

for (const [title, edit, field] of edits)
  test(`${title}: the error names the file and the field`, async t => {
    const file = join(folderOf(t, 'gemma'), 'tokenizer.json')
    const root = JSON.parse(readFileSync(file, 'utf8'))
    edit(root)
    writeFileSync(file, JSON.stringify(root))
    writeFileSync(join(file, '../tokenizer_config.json'), '{}')
    const error = await t.throwsAsync(opened(file, 'PreTrainedTokenizerFast'), { instanceOf: ClipError })
    const { code, file: named, field: found } = error as ClipError
    t.is(code, 'ERR_CLIP_CHECKPOINT')
    t.is(named, file)
    t.regex(String(found), field)
  })

const broken: [title: string, text: string | Buffer, message: RegExp][] = [
  ['not JSON', '{', /is not JSON/],
  ['nested a thousand deep', `{"decoder":${'['.repeat(1000)}`, /nested more than 32 deep/],
  ['skipped parts nested a thousand deep', `{"truncation":${'['.repeat(1000)}`, /nested more than 32 deep/],
  ['a key twice', '{"model":{"vocab":{"a":0,"a":1},"merges":[]}}', /"a"/],
  ['a section twice', '{"decoder":null,"decoder":null}', /duplicate key/],
  ['bytes that are not UTF-8', Buffer.from('{"model":{"vocab":{"a\xff":0}}}', 'latin1'), /not UTF-8/],
  ['half of a surrogate pair', '{"model":{"vocab":{"\\ud800":0}}}', /surrogate/],
  ['text after the value', '{"model":{"vocab":{"a":0},"merges":[]}} x', /after the value/],
]
for (const [title, text, message] of broken)
  test(`tokenizer.json with ${title} is refused`, async t => {
    const file = join(folderOf(t, 'gemma'), 'tokenizer.json')
    writeFileSync(file, text)
    await t.throwsAsync(opened(file, 'GemmaTokenizer'), {
      instanceOf: ClipError,
      code: 'ERR_CLIP_CHECKPOINT',
      message,
    })
  })

test('a vocabulary of another kind than its class is refused, as are unknown languages and pads on the left', async t => {
  const gemma = join(folderOf(t, 'gemma'), 'tokenizer.json')
  await t.throwsAsync(opened(gemma, 'T5Tokenizer'), { message: /`model\.type` to be "Unigram", got "BPE"/ })
  await t.throwsAsync(opened(gemma, 'NllbTokenizer', { language: 'xx_Nope' }), {
    code: 'ERR_CLIP_CHECKPOINT',
  })
  const config = join(gemma, '../tokenizer_config.json')
  writeFileSync(config, JSON.stringify({ padding_side: 'left' }))
  await t.throwsAsync(opened(gemma, 'GemmaTokenizer'), { message: /`padding_side` to be "right"/ })
  writeFileSync(config, JSON.stringify({ add_eos_token: 'yes' }))
  await t.throwsAsync(opened(gemma, 'GemmaTokenizer'), { message: /`add_eos_token` to be true or false/ })
})

test('a vocabulary without a class is refused unless it is a tokenizer.json', async t => {
  for (const [name, file] of [
    ['siglip', 'spiece.model'],
    ['bert', 'vocab.txt'],
    ['roberta-pair', 'vocab.json'],
  ] as const)
    await t.throwsAsync(opened(join(folderOf(t, name), file), 'PreTrainedTokenizerFast'), {
      code: 'ERR_CLIP_CHECKPOINT',
      message: /tokenizer_class/,
    })
})

test("a SentencePiece model's faults are named", async t => {
  const file = join(folderOf(t, 'siglip'), 'spiece.model')
  const bytes = readFileSync(file)
  writeFileSync(file, bytes.subarray(0, 1000))
  await t.throwsAsync(opened(file, 'SiglipTokenizer'), { message: /a message of SentencePiece's/ })
  writeFileSync(file, '')
  await t.throwsAsync(opened(file, 'SiglipTokenizer'), { message: /`pieces` to be one piece at least/ })
})
