/** Tokens that were added to a vocabulary (textual inversion): found as transformers finds them. */

import { mkdtempSync, readFileSync } from 'node:fs'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { ClipError, load } from '../../lib/index.js'
import { createTokenizer, readVocabulary } from '../../lib/tokenizer/index.js'
import { goldenPath } from '../checkpoint/goldens.js'
import { readTensors, safetensors } from '../checkpoint/torch-files.js'

const golden = join(packageRoot, 'test/golden/tokenizer/added')
const read = (name: string) => gunzipSync(readFileSync(join(golden, name)))
const scratch = mkdtempSync(join(tmpdir(), 'clip-native-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

type Case = [text: string, ids: number[]]
const spec = { kind: 'bpe', contextLength: 512, family: 'huggingface' } as const
const asTransformers = { cleaning: 'huggingface', specialTokens: 'parse' } as const

let folders = 0
async function folder(files: Record<string, Buffer | object>): Promise<string> {
  const path = join(scratch, String(++folders))
  await mkdir(path)
  for (const [name, content] of Object.entries(files))
    await writeFile(join(path, name), Buffer.isBuffer(content) ? content : JSON.stringify(content))
  return path
}
const tiny = async () => ({
  'vocab.json': await readFile(join(goldenPath('hf-4'), 'vocab.json')),
  'merges.txt': await readFile(join(goldenPath('hf-4'), 'merges.txt')),
})
const tokenizerOf = async (path: string) => createTokenizer(spec, await readVocabulary(path))

function wrong(tokenizer: Awaited<ReturnType<typeof tokenizerOf>>, cases: Case[]): string[] {
  return cases.flatMap(([text, ids]) => {
    const actual = tokenizer.encode(text, asTransformers).ids
    return actual.join() === ids.join() ? [] : [`${JSON.stringify(text)}: ${actual}, expected ${ids}`]
  })
}

test('added tokens of tokenizer.json with every flag are found in 3000 texts', async t => {
  const { cases } = JSON.parse(read('expected.json.gz').toString()) as { cases: Case[] }
  const tokenizer = await tokenizerOf(await folder({ 'tokenizer.json': read('tokenizer.json.gz') }))
  t.is(cases.length, 3000)
  t.deepEqual(wrong(tokenizer, cases).slice(0, 5), [])
  t.deepEqual(
    await tokenizer.encodeAll(
      cases.map(([text]) => text),
      asTransformers,
    ),
    cases.map(([text]) => tokenizer.encode(text, asTransformers)),
  )
})

test('the same added tokens are read beside vocab.json from tokenizer_config.json and tokenizer.json', async t => {
  const { cases } = JSON.parse(read('expected.json.gz').toString()) as { cases: Case[] }
  const json = read('tokenizer.json.gz')
  const { added_tokens } = JSON.parse(json.toString()) as { added_tokens: ({ id: number } & object)[] }
  const decoder = Object.fromEntries(added_tokens.map(({ id, ...token }) => [id, token]))
  const places: Record<string, Buffer | object>[] = [
    { 'tokenizer_config.json': { added_tokens_decoder: decoder } },
    { 'tokenizer.json': json },
    { 'tokenizer_config.json': { added_tokens_decoder: decoder }, 'tokenizer.json': json },
  ]
  for (const files of places) {
    const tokenizer = await tokenizerOf(await folder({ ...(await tiny()), ...files }))
    t.deepEqual(wrong(tokenizer, cases.slice(0, 500)).slice(0, 5), [], Object.keys(files).join())
  }
})

test('added tokens of added_tokens.json, which has no flags, are found in 1000 texts', async t => {
  const { added, cases } = JSON.parse(read('expected-plain.json.gz').toString()) as {
    added: Record<string, number>
    cases: Case[]
  }
  const tokenizer = await tokenizerOf(await folder({ ...(await tiny()), 'added_tokens.json': added }))
  t.is(cases.length, 1000)
  t.deepEqual(wrong(tokenizer, cases).slice(0, 5), [])
})

test("added tokens are found with OpenAI's cleaning, which is the default, and decode spells them out", async t => {
  const added = { '<cat-toy>': 524, '<été>': 525 }
  const tokenizer = await tokenizerOf(await folder({ ...(await tiny()), 'added_tokens.json': added }))
  const plain = await tokenizerOf(await folder(await tiny()))
  const words = (text: string) => plain.encode(text).ids.slice(1, -1)
  const { ids } = tokenizer.encode('A photo of  &lt;Cat-Toy&gt; and <été>, twice: <cat-toy><cat-toy>')
  t.deepEqual(ids.slice(1, -1), [
    ...words('a photo of'),
    524,
    ...words('and'),
    525,
    ...words(', twice:'),
    524,
    524,
  ])
  t.is(tokenizer.decode([524, 525]), '<cat-toy><été>')
  t.is(tokenizer.vocabSize, 526)
  // Start and end are ordinary characters unless the caller says otherwise.
  t.false(tokenizer.encode('<|endoftext|> <cat-toy>').ids.slice(0, -1).includes(tokenizer.endId))
})

test('invalid added tokens are refused by file and field', async t => {
  for (const [files, file, field] of [
    [{ 'added_tokens.json': { '<x>': 'a' } }, 'added_tokens.json', '["<x>"].id'],
    [{ 'added_tokens.json': { '<x>': 3 } }, 'added_tokens.json', undefined],
    [{ 'added_tokens.json': { 'a</w>': 600 } }, 'added_tokens.json', 'added token "a</w>"'],
    [{ 'added_tokens.json': { ['x'.repeat(300)]: 600 } }, 'added_tokens.json', undefined],
    [
      { 'tokenizer_config.json': { added_tokens_decoder: { 524: { content: '<x>', lstrip: 'yes' } } } },
      'tokenizer_config.json',
      'added_tokens_decoder.524.lstrip',
    ],
    [
      { 'tokenizer_config.json': { added_tokens_decoder: { x: { content: '<x>' } } } },
      'tokenizer_config.json',
      'added_tokens_decoder.x.id',
    ],
  ] as const) {
    const path = await folder({ ...(await tiny()), ...files })
    const error = await t.throwsAsync(tokenizerOf(path), {
      instanceOf: ClipError,
      code: 'ERR_CLIP_CHECKPOINT',
    })
    if (field) t.is(error?.field, field)
    t.true([join(path, file), join(path, 'vocab.json')].includes(error?.file ?? ''), error?.file)
  }
})

test('a model with an embedding for each added token opens, and one without is refused', async t => {
  const path = join(scratch, 'model')
  await cp(goldenPath('hf-4'), path, { recursive: true })
  await writeFile(join(path, 'added_tokens.json'), JSON.stringify({ '<cat-toy>': 524 }))
  const error = await t.throwsAsync(load(path), { instanceOf: ClipError, code: 'ERR_CLIP_CONFIG' })
  t.regex(
    error?.message ?? '',
    /524 token embeddings, but the vocabulary has 525 entries.*resize_token_embeddings/,
  )
  const file = join(path, 'model.safetensors')
  const tensors = readTensors(await readFile(file))
  const name = 'text_model.embeddings.token_embedding.weight'
  const { dtype, shape, data } = tensors.get(name)!
  // The row of "a".
  const { vocab } = (await readVocabulary(path))!
  const a = (vocab as Map<string, number>).get('a</w>')!
  const row = data.length / shape[0]!
  const enlarged = Buffer.concat([data, data.subarray(a * row, (a + 1) * row)])
  tensors.set(name, { dtype, shape: [525, shape[1]!], data: enlarged })
  await writeFile(file, safetensors(tensors))
  const config = JSON.parse(await readFile(join(path, 'config.json'), 'utf8'))
  config.text_config.vocab_size = 525
  await writeFile(join(path, 'config.json'), JSON.stringify(config))
  const clip = await load(path, { threads: 1 })
  const [ours, plain] = [await clip.encodeText('x <cat-toy> y'), await clip.encodeText('x a y')]
  t.deepEqual(ours.data, plain.data)
  await clip.dispose()
})
