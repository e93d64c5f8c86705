/**
 * Run by turns.test.ts, group by group: the package at work on what is hardest on the event loop. `npm run nightly` takes
 * larger inputs.
 */

import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseJson, VOCABULARY_LIMITS } from '../lib/base/json.js'
import { inSlices, type Steps } from '../lib/base/slices.js'
import { readCheckpoint } from '../lib/checkpoint/index.js'
import { type Clip, Embeddings, imageFiles, load } from '../lib/index.js'
import { testEntries } from '../lib/native/test-entries.js'
import { createTokenizer } from '../lib/tokenizer/index.js'
import { goldenFolder } from './checkpoint/goldens.js'
import { readTensors, type Stored, safetensors, savedDict, zip } from './checkpoint/torch-files.js'
import { writeTinyModel } from './helpers/tiny-model.js'
import { measure, type TurnCase } from './helpers/turns.js'
import { unpacked } from './tokenizer/files.js'

const isNightly = process.env.CLIP_NIGHTLY === '1'
const folder = await mkdtemp(join(tmpdir(), 'clip-turns-'))
/** Characters of a text. */
const size = isNightly ? 200_000 : 30_000

const times = (part: string, characters = size): string =>
  part.repeat(Math.ceil(characters / part.length)).slice(0, characters)
/** So many times as long: of what takes little time. */
const more = (factor: number, part: string): string => times(part, Math.min(900_000, factor * size))
const misread = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

const texts: Record<string, string> = {
  'a sigma after U+0295 and combining acutes': `\u0295\u03a3${times('\u0301')}`,
  'sigmas and acutes': times('\u03a3\u0301'),
  'full-width letters': more(4, '\uff21\uff41\uff11'),
  'control characters': more(4, '\x01\x02a'),
  'one word': times('abcdefgh'),
  'one letter': times('a'),
  mojibake: more(4, '\u00c3\u00a9\u00e2\u20ac\u2122'),
  'mojibake of mojibake': more(4, misread(misread('\u00e9\u201c'))),
  'mojibake that no encoding explains': more(4, '\u00c3\u00a9\u00d0\u00a0\u4e2d'),
  'C1 controls': times('\x80\x9f'),
  'marks in the wrong order': `a${times('\u0301\u0323')}`,
  'marks of one class': `a${times('\u0301')}`,
  'marks of no class': `\u0915${times('\u0903')}`,
  jamo: times('\u1100\u1161\u11a8'),
  'lone surrogates': times('\ud800'),
  'surrogates the wrong way round': more(4, '\udc00\ud800'),
  emoji: times('\u{1f600}'),
  entities: more(20, '&amp;&eacute;'),
  'entities within entities': `&${more(8, 'amp;')}`,
  'entities within entities after a letter': `\u00e9&${more(8, 'amp;')}`,
  ampersands: more(8, '&'),
  'names that begin like entities': more(20, '&notitxyzabcdefghijklmnopqrstuvwxyz'),
  'a reference of many digits': `&#${more(8, '0')}65;`,
  'a terminal escape of many digits': `\x1b[${more(8, '1;')}`,
  'terminal escapes': more(8, '\x1b[1;2'),
  spaces: `x${more(30, ' ')}x`,
  'line ends': more(30, '\r\n\u2028'),
  punctuation: times('!?'),
  digits: more(4, '1'),
  ideographs: times('\u4e2d\u6587'),
  contractions: more(8, "'s"),
  ligatures: times('\ufb01'),
  quotes: times('\u2018\u201c'),
  'special tokens': more(20, '<|endoftext|>'),
  'U+FFFD': times('\ufffd'),
  'CESU-8': more(4, '\u00ed\u00a0\u00bd\u00ed\u00b8\u0080'),
}

async function textCases(): Promise<Record<string, TurnCase>> {
  const tokenizer = await createTokenizer({ kind: 'bpe', contextLength: 77, family: 'openai' })
  const cases: Record<string, TurnCase> = {}
  for (const cleaning of ['openai', 'huggingface'] as const)
    for (const [name, text] of Object.entries(texts))
      cases[`${name} (${cleaning})`] = () =>
        tokenizer.encodeAll([text], { truncate: true, cleaning, specialTokens: 'parse' })
  return cases
}

/** The same texts for vocabularies of files, whose ids native code finds, and a large vocabulary that is opened. */
async function vocabularyCases(): Promise<Record<string, TurnCase>> {
  const cases: Record<string, TurnCase> = {}
  const kinds = [
    ['t5', 'tokenizer.json', 'T5Tokenizer', 'canonicalize'],
    ['siglip', 'spiece.model', 'SiglipTokenizer', 'none'],
  ] as const
  for (const [name, file, like, cleaning] of kinds) {
    const { folder, remove } = unpacked(name)
    const tokenizer = await createTokenizer({
      kind: 'file',
      file: join(folder, file),
      class: like,
      contextLength: 64,
      cleaning,
    })
    remove()
    // The cleaning of OpenCLIP is under all texts; that of SigLIP has little of its own.
    const { emoji, spaces, punctuation } = texts
    const own = {
      ...(like === 'T5Tokenizer' ? texts : { emoji: emoji!, spaces: spaces!, punctuation: punctuation! }),
      'special tokens between letters': more(8, 'a</s>'),
    }
    for (const [title, text] of Object.entries(own))
      cases[`${title} (${like})`] = () => tokenizer.encodeAll([text], { truncate: true })
    cases[`many texts (${like})`] = () =>
      tokenizer.encodeAll(
        Array.from({ length: 2048 }, (_, i) => `a photo of cat ${i}`),
        { truncate: true },
      )
  }
  const spellings = Array.from({ length: isNightly ? 250_000 : 50_000 }, (_, i) => [`piece ${i}`, -i / 7])
  const file = join(folder, 'tokenizer.json')
  await writeFile(
    file,
    JSON.stringify({
      model: { type: 'Unigram', unk_id: 2, vocab: [['<pad>', 0], ['</s>', 0], ['<unk>', 0], ...spellings] },
    }),
  )
  cases['a vocabulary of many pieces'] = () =>
    createTokenizer({ kind: 'file', file, class: 'T5Tokenizer', contextLength: 64, cleaning: 'none' })
  return cases
}

const tiny = async (options: { maxQueue?: number } = {}): Promise<Clip> =>
  load(await writeTinyModel(join(folder, 'tiny')), { threads: 1, ...options })

const embeddings = (rows: number, width = 16): Embeddings => {
  const data = new Float32Array(rows * width)
  for (let i = 0; i < data.length; i++) data[i] = Math.sin(i * 12.9898 + ((i * i) % 1013))
  return new Embeddings(data, [rows, width] as const)
}

/** A call that is ended after a while, when its first turns are over: they are what counts. */
const forAWhile = (call: (signal: AbortSignal) => Promise<unknown>) => async (): Promise<void> => {
  await call(AbortSignal.timeout(isNightly ? 5000 : 700)).catch(error => {
    if (error?.name !== 'TimeoutError') throw error
  })
}

async function listCases(): Promise<Record<string, TurnCase>> {
  const clip = await tiny()
  const many = Array.from({ length: isNightly ? 300_000 : 100_000 }, (_, i) => `label ${i}`)
  const described = many.map(label => ({ label, names: [label, `${label}s`] }))
  const templates = Array.from({ length: 20_000 }, (_, i) => `a {} ${i}`)
  const alike = templates.map((_, i) => `{} ${i}`)
  const classifier = await clip.classifier(many.slice(0, 2000))
  const large = await clip.classifier(described.slice(0, isNightly ? 100_000 : 20_000))
  const saved = join(folder, 'classifier.safetensors')
  await large.save(saved)
  const [rows, half] = [embeddings(300), embeddings(1500)]
  const probe = await clip.linearProbe(
    { images: half, labels: many.slice(0, 1500) },
    { output: 'embedding', maxIterations: 2 },
  )
  const examples = embeddings(100_000)
  const labels = many.slice(0, 100_000).map((_, i) => `class ${i % 5}`)
  const long = '\u0295\u03a3'.padEnd(299, '\u0301')
  return {
    'two labels and 20 000 templates': forAWhile(signal =>
      clip.classifier(['cat', 'dog'], { templates, signal }),
    ),
    'templates that begin alike': forAWhile(signal =>
      clip.classifier(['cat', 'dog'], { templates: alike, signal }),
    ),
    'many labels': forAWhile(signal => clip.classifier(many, { signal })),
    'many described labels': forAWhile(signal => clip.classifier(described, { signal })),
    'a label in 149 places of a template': () =>
      assert.rejects(clip.classifier([long], { templates: '{}'.repeat(149) }), {
        code: 'ERR_CLIP_TEXT_TOO_LONG',
      }),
    'topK of 2000, 300 rows': () => classifier.classify(rows, { topK: 2000 }),
    'topK of 1500 of a linear probe': () => probe.classify(rows, { topK: 1500, as: 'logit' }),
    'a linear probe on many examples': forAWhile(signal =>
      clip.linearProbe({ images: examples, labels }, { output: 'embedding', signal }),
    ),
    'a Tip-Adapter on many examples': forAWhile(signal =>
      clip.tipAdapter({ images: examples, labels }, { signal }),
    ),
    'a classifier saved': () => large.save(saved),
    'a classifier loaded': () => clip.loadClassifier(saved),
    'similarity over images': () => clip.similarity(half, half, { over: 'images' }),
    'many texts': () => clip.encodeText(many.slice(0, 5000)),
    'every token of many texts': () => clip.encodeText(many.slice(0, 3000), { output: 'tokens' }),
    'texts that fail': () => clip.encodeText(Array(3000).fill(times('x ', 200)), { errors: 'collect' }),
    'token ids': () => clip.tokenize(many.slice(0, 20_000)),
  }
}

async function waitingCases(): Promise<Record<string, TurnCase>> {
  const clip = await tiny({ maxQueue: 20_000 })
  const image = { data: new Uint8Array(16 * 16 * 3), width: 16, height: 16, channels: 3 } as const
  const calls = {
    texts: (i: number) => clip.encodeText(`text ${i}`),
    'long texts': (i: number) => clip.encodeText(times(`text ${i} `, 4000), { truncate: true }),
    images: () => clip.encodeImage(image),
  }
  const cases: Record<string, TurnCase> = {}
  for (const [name, call] of Object.entries(calls))
    cases[`3000 calls: ${name}`] = {
      // The caller's own turn, in which he makes the calls, is over before the measuring begins.
      before: () => Array.from({ length: 3000 }, (_, i) => call(i)),
      run: calls => Promise.all(calls as Promise<unknown>[]),
    }
  return cases
}

/** What AdamW and an average of ViT-H's 900 parameters would be, and more, beside a model. */
function trained(): Map<string, Stored> {
  const plain = readTensors(readFileSync(join(goldenFolder, 'trained', 'plain.safetensors')))
  const all = new Map<string, Stored>([...plain].map(([name, value]) => [`model.${name}`, value]))
  for (let i = 0; i < 6000; i++)
    all.set(`optimizer.state.${i}.exp_avg`, { dtype: 'F32', shape: [1], data: Buffer.alloc(4) })
  return all
}

/** A safetensors file of so many tensors of one number. */
function headerOf(tensors: number): Buffer {
  const header: Record<string, unknown> = {}
  for (let i = 0; i < tensors; i++)
    header[`tensor.${i}.weight`] = { dtype: 'F32', shape: [1], data_offsets: [4 * i, 4 * i + 4] }
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([length, json, Buffer.alloc(4 * tensors)])
}

async function fileCases(): Promise<Record<string, TurnCase>> {
  const written = async (name: string, data: Uint8Array): Promise<string> => {
    const file = join(folder, name)
    await writeFile(file, data)
    return file
  }
  const names = (count: number) => Array.from({ length: count }, (_, i) => `${(i * 7919) % 100_003}.jpg`)
  const images = join(folder, 'images')
  await mkdir(images)
  const files = names(isNightly ? 100_000 : 3000)
  for (const name of files) closeSync(openSync(join(images, name), 'w'))
  const entries = names(isNightly ? 50_000 : 10_000)
  const archive = await written('model.pt', zip(entries.map(name => ({ name, data: Buffer.alloc(0) }))))
  const header = await written('model.safetensors', headerOf(isNightly ? 20_000 : 5000))
  const all = trained()
  const checkpoints = {
    'a pickle of 6000 tensors beside the model': await written('trained.pt', savedDict(all)),
    'a header of 6000 tensors beside the model': await written('trained.safetensors', safetensors(all)),
  }
  const deep = `${'['.repeat(31)}${']'.repeat(31)}`
  const json = {
    deep: `[${Array(3000).fill(deep).join()}]`,
    objects: JSON.stringify(
      Array.from({ length: 9000 }, (_, i) => ({ [`key ${i}`]: i, text: 'x'.repeat(20) })),
    ),
    blanks: `[${' '.repeat(4_000_000)}1]`,
    strings: JSON.stringify(Array.from({ length: 60_000 }, (_, i) => `\u00e9"\\ ${i}`)),
    long: JSON.stringify(Array.from({ length: 20 }, () => 'x\n'.repeat(30_000))),
  }
  const cases: Record<string, TurnCase> = {
    'a header of many tensors': () => assert.rejects(load(header), { code: 'ERR_CLIP_CHECKPOINT' }),
    'an archive of many entries': () => assert.rejects(load(archive), { code: 'ERR_CLIP_CHECKPOINT' }),
    'a folder of many images': async () => {
      let count = 0
      for await (const _ of imageFiles(images)) count++
      assert.equal(count, files.length)
    },
  }
  for (const [name, file] of Object.entries(checkpoints))
    cases[name] = async () => {
      const { ignored } = await readCheckpoint(file, { activation: 'quickGelu', heads: 1 })
      assert.deepEqual(ignored, ['optimizer.* (6000)'])
    }
  for (const [name, text] of Object.entries(json))
    cases[`JSON: ${name}`] = () => inSlices(parseJson(text, VOCABULARY_LIMITS))
  return cases
}

/** Short slices with a turn of so many milliseconds among them, which must be found. */
function* planted(milliseconds: number): Steps<void> {
  const { threadTime } = testEntries().measure
  const kept: string[][] = []
  for (let i = 0; i < 200_000; i++) {
    if (i % 1000 === 0) kept.push([])
    kept.at(-1)!.push(`text ${i}`)
    if (i === 100_000) for (const end = threadTime() + milliseconds; threadTime() < end; );
    if (i % 16 === 0) yield
  }
}

const groups: Record<string, () => Promise<Record<string, TurnCase>>> = {
  texts: textCases,
  vocabularies: vocabularyCases,
  lists: listCases,
  waiting: waitingCases,
  files: fileCases,
  planted: async () => ({
    'no long turn': () => inSlices(planted(0)),
    'one turn of 3 ms': () => inSlices(planted(3)),
  }),
}

await measure(await groups[process.argv[2]!]!())
await rm(folder, { recursive: true, force: true })
process.exit()
