import test from 'ava'
import { availableModels, devices, load, modelInfo, templates } from '../../lib/index.js'
import { exampleImages } from './helpers.js'

const clip = await load()
const classifier = await clip.classifier(['dog', 'cat'])
test.after.always(() => clip.dispose())
const file = exampleImages[0]!

/** What a JavaScript caller may write: no types hold him back. */
const loose = (value: unknown) => value as never

const mistakes: [
  title: string,
  call: () => Promise<unknown>,
  sentence: string,
  kind: 'TypeError' | 'RangeError',
][] = [
  [
    'misspelt option',
    () => clip.encodeImage(file, loose({ normalise: false })),
    'Expected `options` to have known names (did you mean `normalize`?), got `normalise`',
    'TypeError',
  ],
  [
    'unknown option',
    () => clip.preprocess(file, loose({ quality: 3 })),
    'Expected `options` to have known names (signal, background, decode), got `quality`',
    'TypeError',
  ],
  [
    'options no object',
    () => clip.encodeText('dog', loose('x')),
    'Expected `options` to be an object, got "x"',
    'TypeError',
  ],
  [
    'text no string',
    () => clip.encodeText(loose(['dog', 3])),
    'Expected `texts[1]` to be a string, got 3',
    'TypeError',
  ],
  [
    'texts nothing',
    () => clip.encodeText(loose(undefined)),
    'Expected `texts` to be a string or an array of strings, got undefined',
    'TypeError',
  ],
  [
    'flag',
    () => clip.encodeText('dog', loose({ normalize: 1 })),
    'Expected `normalize` to be true or false, got 1',
    'TypeError',
  ],
  [
    'choice',
    () => clip.encodeText('dog', loose({ output: 'token' })),
    "Expected `output` to be one of 'embedding', 'pooled', 'tokens' (did you mean 'tokens'?), got \"token\"",
    'TypeError',
  ],
  [
    'cleaning',
    () => clip.encodeText('dog', loose({ cleaning: 'openAI' })),
    "Expected `cleaning` to be one of 'openai', 'huggingface' (did you mean 'openai'?), got \"openAI\"",
    'TypeError',
  ],
  [
    'special tokens',
    () => clip.tokenize('dog', loose({ specialTokens: true })),
    "Expected `specialTokens` to be one of 'text', 'parse', got true",
    'TypeError',
  ],
  [
    'signal',
    () => clip.encodeText('dog', loose({ signal: {} })),
    'Expected `signal` to be an AbortSignal, got an object',
    'TypeError',
  ],
  [
    'callback',
    () => clip.encodeText('dog', loose({ onProgress: 'x' })),
    'Expected `onProgress` to be a function, got "x"',
    'TypeError',
  ],
  [
    'threads',
    () => load(undefined, { threads: 0 }),
    'Expected `threads` to be an integer from 1 to 256, got 0',
    'RangeError',
  ],
  [
    'threads, a word',
    () => load(undefined, { threads: loose('2') }),
    'Expected `threads` to be an integer from 1 to 256, got "2"',
    'TypeError',
  ],
  [
    'maxQueue',
    () => load(undefined, { maxQueue: -1 }),
    'Expected `maxQueue` to be an integer from 0 to 2147483647, got -1',
    'RangeError',
  ],
  [
    'maxBatchRows',
    () => load(undefined, { maxBatchRows: 1.5 }),
    'Expected `maxBatchRows` to be an integer from 1 to 2147483647, got 1.5',
    'RangeError',
  ],
  [
    'device',
    () => load(undefined, loose({ device: 'gpu' })),
    "Expected `device` to be one of 'auto', 'cpu', 'cuda', 'reference' (did you mean 'cpu'?), got \"gpu\"",
    'TypeError',
  ],
  [
    'dtype',
    () => load(undefined, loose({ dtype: 'fp32' })),
    "Expected `dtype` to be one of 'float32', 'float16', 'bfloat16', 'int8', got \"fp32\"",
    'TypeError',
  ],
  [
    'towers',
    () => load(undefined, loose({ towers: ['images'] })),
    "Expected `towers[0]` to be one of 'image', 'text' (did you mean 'image'?), got \"images\"",
    'TypeError',
  ],
  [
    'no towers',
    () => load(undefined, { towers: [] }),
    "Expected `towers` to be an array of 'image', 'text' or both, got an array of 0",
    'TypeError',
  ],
  [
    'source',
    () => load(loose(3)),
    'Expected `source` to be a path, a file: URL or the name of a model, got 3',
    'TypeError',
  ],
  [
    'no labels',
    () => clip.classifier([]),
    'Expected `labels` to be an array of at least one label, got an array of 0',
    'TypeError',
  ],
  [
    'label',
    () => clip.classifier(loose(['dog', 3])),
    'Expected `labels[1]` to be a string, an array of strings, or { label, names, templates }, got 3',
    'TypeError',
  ],
  [
    'template without {}',
    () => clip.classifier(['dog'], { templates: ['{}', 'a photo'] }),
    'Expected `templates[1]` to contain {} in place of the label, got "a photo"',
    'TypeError',
  ],
  [
    'template function',
    () => clip.classifier(['dog'], { templates: loose(() => 3) }),
    'Expected `templates[0]` to return a string, got 3',
    'TypeError',
  ],
  [
    'topK',
    () => classifier.classify(file, { topK: 0 }),
    'Expected `topK` to be an integer from 1 to 2147483647, got 0',
    'RangeError',
  ],
  [
    'stream of nothing',
    () => classifier.stream(loose(3)).next(),
    'Expected `source` to be an iterable of images, got 3',
    'TypeError',
  ],
]

for (const [title, call, sentence, kind] of mistakes)
  test(`an invalid argument is refused with one sentence: ${title}`, async t => {
    let promise: Promise<unknown> | undefined
    t.notThrows(() => {
      promise = call()
    }, 'a mistake must reject, not throw')
    const error = (await t.throwsAsync(promise!))! as Error & { code?: string }
    t.is(error.message, sentence)
    t.is(error.name, kind)
    t.is(error.code, 'ERR_CLIP_INPUT')
  })

for (const image of [3, null, undefined, {}, { data: new Uint8Array(5), width: 2, height: 2, channels: 3 }])
  test(`a value that is not an image is refused: ${JSON.stringify(image)}`, async t => {
    const error = (await t.throwsAsync(clip.encodeImage([file, loose(image)])))! as Error & {
      code: string
    }
    t.is(error.code, 'ERR_CLIP_INPUT')
    t.regex(error.message, /^Expected `images\[1\]/)
    t.regex((await t.throwsAsync(clip.encodeImage(loose(image))))!.message, /^Expected `image[^s]/)
  })

test('http addresses are refused with what to do instead', async t => {
  await t.throwsAsync(clip.encodeImage('https://example.com/a.png'), { message: /fetch/ })
  await t.throwsAsync(load('https://example.com/model.pt'), {
    code: 'ERR_CLIP_INPUT',
    message: /fetch the file first/,
  })
})

test('an unknown source is refused with the places that were searched', async t => {
  await t.throwsAsync(load('/no/such/folder'), { code: 'ERR_CLIP_CHECKPOINT', message: /\/no\/such\/folder/ })
  await t.throwsAsync(load('ViT-B/23'), { code: 'ERR_CLIP_CONFIG', message: /ViT-B\/32/ })
})

test('embeddings of another width are refused', async t => {
  const { Embeddings } = await import('../../lib/index.js')
  const other = new Embeddings(new Float32Array(6), [2, 3] as const)
  await t.throwsAsync(clip.similarity(other, 'dog'), {
    message: 'Expected `images` to be embeddings of 192 values each, got shape [2, 3]',
  })
})

test('the names of models, devices() and the templates are exported', t => {
  t.is(availableModels().length, 9)
  t.is(availableModels()[5], 'ViT-B/32')
  for (const name of availableModels()) t.regex(modelInfo(name).url, new RegExp(modelInfo(name).sha256!))
  const all = devices()
  t.deepEqual(
    all.map(d => d.name),
    ['cpu', 'cuda', 'reference'],
  )
  for (const device of all) {
    t.is(device.reason === undefined, device.available)
    for (const backend of device.backends) t.is(backend.reason === undefined, backend.available)
  }
  t.true(all[2]!.available)
  t.deepEqual([templates.imagenet80.length, templates.imagenet7.length, templates.simple.length], [80, 7, 1])
  t.true([...templates.imagenet80, ...templates.imagenet7].every(text => text.includes('{}')))
})
