import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { writeJson } from '../../lib/base/json.js'
import { atOnce } from '../../lib/base/slices.js'
import { type Clip, type ClipError, load, templates } from '../../lib/index.js'
import { writeTinyModel } from '../helpers/tiny-model.js'
import { bits, exampleImages, expected } from './helpers.js'

const clip = await load()
const folder = await mkdtemp(join(tmpdir(), 'clip-classifier-'))
test.after.always(async () => {
  await clip.dispose()
  await rm(folder, { recursive: true })
})

interface Header {
  __metadata__: Record<string, string>
  classes: { shape: number[] }
  about: { shape: number[]; data_offsets: number[] }
}

const failure = async (call: Promise<unknown>): Promise<ClipError> => {
  try {
    await call
  } catch (error) {
    return error as ClipError
  }
  throw new Error('nothing was thrown')
}

test('a saved classifier gives the same bits and scores, and names its model', async t => {
  const file = join(folder, 'animals.safetensors')
  const made = await clip.classifier(
    ['dog', ['cat', 'kitten'], { label: 'key', names: 'door key', templates: 'a {}' }],
    {
      templates: templates.imagenet7,
    },
  )
  await made.save(file)
  const read = await clip.loadClassifier(pathToFileURL(file))
  t.is(read.kind, 'zero-shot')
  t.deepEqual(read.labels, ['dog', 'cat', 'key'])
  t.true(bits(read.embeddings.data).equals(bits(made.embeddings.data)))
  t.deepEqual(await read.classify(exampleImages[4]!), await made.classify(exampleImages[4]!))
  // Written beside and renamed: nothing else is left. The other tests write in this folder too.
  const beside = (name: string) => name.startsWith(basename(file)) && name.includes('part')
  t.deepEqual((await readdir(folder)).filter(beside), [])
  // A second save replaces the first; what was read says what it was made of, too.
  await read.save(file)
  const again = await readFile(file)
  const header = JSON.parse(again.subarray(8, 8 + Number(again.readBigUInt64LE(0))).toString())
  t.is(header.__metadata__.fingerprint, clip.info.fingerprint)
  const about = JSON.parse(again.subarray(again.length - header.about.shape[0]).toString())
  t.deepEqual(about.origin.templates, [...templates.imagenet7])
  t.deepEqual(about.origin.classes[2], { names: ['door key'], templates: ['a {}'] })
})

test('labels may have their own templates', async t => {
  const own = await clip.classifier(
    [
      { label: 'pet', names: ['dog', 'cat'], templates: ['an icon of {}', (x: string) => `${x}!`] },
      'key',
    ] as const,
    { templates: 'a drawing of {}' },
  )
  const texts = ['an icon of dog', 'dog!', 'an icon of cat', 'cat!']
  const rows = [...(await clip.encodeText(texts))]
  const mean = Array.from(rows[0]!, (_, j) => rows.reduce((sum, row) => sum + row[j]!, 0))
  const norm = Math.hypot(...mean)
  t.true(own.embeddings.row(0).every((value, j) => Math.abs(value - mean[j]! / norm) < 1e-6))
  const key = await clip.encodeText('a drawing of key')
  t.true(own.embeddings.row(1).every((value, j) => Math.abs(value - key.data[j]!) < 1e-6))
  const label: 'pet' | 'key' = (await own.classify(exampleImages[4]!))[0]!.label
  t.is(label, 'pet')
  for (const [labels, message] of [
    [[{ name: 'x' }], /`labels\[0\]` to have known names \(did you mean `names`\?\), got `name`/],
    [[{ label: 3 }], /`labels\[0\]\.label` to be a string, got 3/],
    [
      ['a', { label: 'x', templates: 'no place' }],
      /`labels\[1\]\.templates` to contain \{\} in place of the label/,
    ],
    [[{ label: 'x', names: [] }], /`labels\[0\]\.names` to be a string or an array of strings/],
  ] as const)
    await t.throwsAsync(clip.classifier(labels as never), { instanceOf: TypeError, message })
})

test('classify with a threshold returns none, one or several labels', async t => {
  const classifier = await clip.classifier(expected.labels, { templates: expected.template })
  const all = await classifier.classify(exampleImages[4]!, { as: 'cosine', topK: 100 })
  const between = (all[2]!.score + all[3]!.score) / 2
  t.deepEqual(
    await classifier.classify(exampleImages[4]!, { as: 'cosine', threshold: between }),
    all.slice(0, 3),
  )
  t.deepEqual(
    await classifier.classify(exampleImages[4]!, { as: 'cosine', threshold: between, topK: 2 }),
    all.slice(0, 2),
  )
  t.deepEqual(await classifier.classify([exampleImages[4]!], { as: 'cosine', threshold: 1.5 }), [[]])
  await t.throwsAsync(classifier.classify(exampleImages[4]!, { threshold: Number.NaN }), {
    instanceOf: TypeError,
    message: /`threshold` to be a number, got NaN/,
  })
})

test('a classifier of another model is refused', async t => {
  const file = join(folder, 'other.safetensors')
  const other: Clip = await load(await writeTinyModel(join(folder, 'tiny')))
  try {
    await (await other.classifier(['a', 'b'])).save(file)
    const error = await failure(clip.loadClassifier(file))
    t.is(error.code, 'ERR_CLIP_MODEL_MISMATCH')
    t.is(error.file, file)
    t.is(error.field, 'fingerprint')
    t.is(error.expected, clip.info.fingerprint)
    t.is(error.actual, other.info.fingerprint)
  } finally {
    await other.dispose()
  }
})

test('damaged files, files of other kinds and missing folders are refused by name', async t => {
  const good = join(folder, 'good.safetensors')
  await (await clip.classifier(['a', 'b'])).save(good)
  const bytes = await readFile(good)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString())
  const bad = join(folder, 'bad.safetensors')
  const withHeader = (change: (h: Header) => void, data: Uint8Array = bytes.subarray(8 + length)) => {
    const copy = structuredClone(header)
    change(copy)
    const json = Buffer.from(JSON.stringify(copy))
    const head = Buffer.alloc(8)
    head.writeBigUInt64LE(BigInt(json.length))
    return Buffer.concat([head, json, data])
  }
  const about = (value: unknown) => {
    const text = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
    const [from] = header.about.data_offsets
    return withHeader(
      h => {
        h.about.shape = [text.length]
        h.about.data_offsets = [from, from + text.length]
      },
      Buffer.concat([bytes.subarray(8 + length, 8 + length + from), text]),
    )
  }
  const cases: [string, Uint8Array, string | undefined][] = [
    ['empty', Buffer.alloc(0), 'header'],
    ['cut', bytes.subarray(0, bytes.length - 1), undefined],
    ['noise', Buffer.from('hello, I am no classifier at all'), 'header'],
    ['a model', await readFile('models/icon-clip/model.safetensors'), '__metadata__.format'],
    [
      'version',
      withHeader(h => {
        h.__metadata__.version = '2'
      }),
      '__metadata__.version',
    ],
    [
      'kind',
      withHeader(h => {
        h.__metadata__.kind = '__proto__'
      }),
      '__metadata__.kind',
    ],
    [
      'no kind',
      withHeader(h => {
        h.__metadata__ = {
          format: h.__metadata__.format!,
          version: '1',
          fingerprint: h.__metadata__.fingerprint!,
        }
      }),
      '__metadata__.kind',
    ],
    [
      'shape',
      withHeader(h => {
        h.classes.shape = [192, 2]
      }),
      'classes',
    ],
    ['labels', about({ labels: ['only one'] }), 'classes'],
    ['labels', about({ labels: [1, 2] }), 'about.labels'],
    ['labels', about([]), 'about'],
    ['json', about('{"labels": ["a", '), 'about'],
  ]
  for (const [name, data, field] of cases) {
    await writeFile(bad, data)
    const error = await failure(clip.loadClassifier(bad))
    t.is(error.code, 'ERR_CLIP_CHECKPOINT', `${name}: ${error.message}`)
    t.is(error.file, bad, name)
    if (field) t.is(error.field, field, `${name}: ${error.message}`)
  }
  t.is((await failure(clip.loadClassifier(folder))).code, 'ERR_CLIP_CHECKPOINT')
  t.is((await failure(clip.loadClassifier(join(folder, 'none')))).code, 'ERR_CLIP_CHECKPOINT')
  const classifier = await clip.classifier(['a'])
  const error = await failure(classifier.save(join(folder, 'no', 'such', 'folder.safetensors')))
  t.is(error.code, 'ERR_CLIP_INPUT' as never)
  t.regex(error.message, /there is no folder/)
  await t.throwsAsync(classifier.save(3 as never), { instanceOf: TypeError, message: /`file` to be a path/ })
})

test('JSON written in steps equals that of JSON.stringify', t => {
  const values: unknown[] = [
    'a "quoted" \\ line\n\u2028 \ud800 \u{1f600}',
    [1, -0, 1.5e300, Number.NaN, null, true, undefined],
    { a: undefined, b: [], c: {}, '__proto__ "x"': [[['x']]], 1: 'first' },
    JSON.parse('{"__proto__":{"a":1}}'),
    Array.from({ length: 3000 }, (_, i) =>
      i % 3 ? `label ${i} \u00e9` : { names: [`${i}`], templates: null },
    ),
    ['x'.repeat(100_000), 'y'],
  ]
  for (const value of values)
    t.is(Buffer.concat(atOnce(writeJson(value))).toString('utf8'), JSON.stringify(value))
})
