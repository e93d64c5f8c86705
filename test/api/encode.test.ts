import { createReadStream, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import sharp from 'sharp'
import { packageRoot } from '../../lib/base/package.js'
import { ClipError, Embeddings, type EncodeOptions, type ImageInput, load } from '../../lib/index.js'
import { bits, exampleImages, red } from './helpers.js'

const clip = await load()
test.after.always(() => clip.dispose())
const file = exampleImages[0]!

test('info describes the embedded model', t => {
  const { device, backend, threads, fingerprint, logitScale, weightBytes, ...rest } = clip.info
  t.deepEqual(rest, {
    embedDim: 192,
    imageSize: 72,
    contextLength: 32,
    towers: ['image', 'text'],
    dtype: 'float32',
    decode: 'exact',
    packCache: 'off',
    scoring: 'softmax',
    logitBias: 0,
    family: 'huggingface',
    tokenizer: 'CLIP',
    folded: [],
  })
  t.true(['cpu', 'reference'].includes(device))
  t.regex(backend, /^(avx512|avx2|neon|reference)/)
  t.true(threads >= 1)
  t.true(logitScale > 1)
  t.true(weightBytes > 0 && weightBytes % 64 === 0)
  t.regex(fingerprint, /^[0-9a-f]{16,}$/)
})

test('every kind of image gives the same bits', async t => {
  const bytes = readFileSync(file)
  const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  const inputs: Record<string, ImageInput> = {
    path: file,
    URL: pathToFileURL(file),
    'file: string': pathToFileURL(file).href,
    Buffer: bytes,
    Uint8Array: new Uint8Array(bytes),
    ArrayBuffer: new Uint8Array(bytes).buffer,
    Blob: new Blob([bytes]),
    Readable: createReadStream(file),
    sharp: sharp(bytes),
    RawPixels: { data, width: info.width, height: info.height, channels: 3 },
    Preprocessed: await clip.preprocess(file),
  }
  const golden = bits((await clip.encodeImage(file)).data)
  for (const [kind, input] of Object.entries(inputs)) {
    const { data, shape } = await clip.encodeImage(input)
    t.deepEqual([...shape], [1, 192], kind)
    t.true(bits(data).equals(golden), kind)
  }
})

test('an image has the same bits alone and in a list, and the order is kept', async t => {
  const all = await clip.encodeImage(exampleImages)
  t.deepEqual([...all.shape], [exampleImages.length, 192])
  let i = 0
  for (const row of all) t.true(bits((await clip.encodeImage(exampleImages[i++]!)).data).equals(bits(row)))
  t.is(i, exampleImages.length)
})

test('a Preprocessed with several images gives several rows', async t => {
  const two = await clip.preprocess(exampleImages.slice(0, 2))
  t.deepEqual([...two.shape], [2, 3, 72, 72])
  const one = await clip.encodeImage(exampleImages[2]!)
  const mixed = await clip.encodeImage([two, exampleImages[2]!])
  t.deepEqual([...mixed.shape], [3, 192])
  t.true(bits(mixed.row(2)).equals(bits(one.data)))
})

test('normalize: false gives the original embeddings, which have another length and the same direction', async t => {
  for (const [unit, raw] of [
    [await clip.encodeImage(file), await clip.encodeImage(file, { normalize: false })],
    [await clip.encodeText('a dog'), await clip.encodeText('a dog', { normalize: false })],
  ] as const) {
    const length = Math.hypot(...raw.data)
    t.true(Math.abs(Math.hypot(...unit.data) - 1) < 1e-5)
    t.true(Math.abs(length - 1) > 1e-2)
    t.true(raw.data.every((value, i) => Math.abs(value / length - unit.data[i]!) < 1e-6))
  }
})

test('the outputs pooled and tokens have their shapes, and the pooled row is the class token', async t => {
  const pooled = await clip.encodeImage([file, red], { output: 'pooled' })
  const tokens = await clip.encodeImage([file, red], { output: 'tokens' })
  t.deepEqual([...pooled.shape], [2, 192])
  t.deepEqual([...tokens.shape], [2, 37, 192])
  for (let i = 0; i < 2; i++)
    t.true(
      tokens
        .row(i)
        .subarray(0, 192)
        .every((value, j) => Math.abs(value - pooled.row(i)[j]!) < 1e-4),
    )
  const texts = await clip.encodeText(['dog', 'a big dog in a house'], { output: 'tokens' })
  const lengths = (await clip.tokenize(['dog', 'a big dog in a house'])).lengths
  t.deepEqual([...texts.shape], [2, Math.max(...lengths), 192])
  t.true(
    texts
      .row(0)
      .subarray(lengths[0]! * 192)
      .every(value => value === 0),
  )
  t.true(
    texts
      .row(0)
      .subarray((lengths[0]! - 1) * 192, lengths[0]! * 192)
      .some(value => value !== 0),
  )
})

test('pooled rows and tokens are normalized only with normalize: true, embeddings unless it is false', async t => {
  for (const encode of [
    (o: EncodeOptions) => clip.encodeImage(file, o),
    (o: EncodeOptions) => clip.encodeText('a dog', o),
  ])
    for (const output of ['embedding', 'pooled', 'tokens'] as const) {
      const [byDefault, raw, unit] = await Promise.all([
        encode({ output }),
        encode({ output, normalize: false }),
        encode({ output, normalize: true }),
      ])
      const [same, other] = output === 'embedding' ? [unit, raw] : [raw, unit]
      t.deepEqual(byDefault.data, same.data)
      t.notDeepEqual(byDefault.data, other.data)
      const width = unit.shape.at(-1)!
      for (let i = 0; i < unit.data.length; i += width) {
        const row = unit.data.subarray(i, i + width)
        t.true(Math.abs(Math.hypot(...row) - 1) < 1e-5)
        const length = Math.hypot(...raw.data.subarray(i, i + width))
        t.true(row.every((value, k) => Math.abs(value - raw.data[i + k]! / length) < 1e-6))
      }
    }
})

test('an empty input gives a shape without rows', async t => {
  t.deepEqual([...(await clip.encodeImage([])).shape], [0, 192])
  t.deepEqual([...(await clip.encodeText([])).shape], [0, 192])
  t.deepEqual([...(await clip.preprocess([])).shape], [0, 3, 72, 72])
  t.deepEqual([...(await clip.similarity([], 'dog')).shape], [0, 1])
})

test('texts keep their order across windows', async t => {
  const texts = Array.from({ length: 2100 }, (_, i) => (i === 2077 ? 'a dog' : ['cat', 'key', 'sun'][i % 3]!))
  const seen: number[] = []
  const all = await clip.encodeText(texts, { onProgress: ({ done, total }) => seen.push(done, total) })
  t.deepEqual([...all.shape], [2100, 192])
  t.true(bits(all.row(2077)).equals(bits((await clip.encodeText('a dog')).data)))
  t.true(bits(all.row(2099)).equals(bits((await clip.encodeText('sun')).data)) === (2099 % 3 === 2))
  t.deepEqual(seen, [2048, 2100, 2100, 2100])
})

test("errors: 'collect': bad items become NaN rows with their error, and the others do not change", async t => {
  const images = [file, '/no/such/file.png', exampleImages[1]!, Buffer.from('no image at all')]
  const { errors, shape, ...rest } = await clip.encodeImage(images, { errors: 'collect' })
  t.deepEqual([...shape], [4, 192])
  t.deepEqual(
    errors!.map(e => e?.code ?? null),
    [null, 'ERR_CLIP_IMAGE', null, 'ERR_CLIP_IMAGE'],
  )
  t.deepEqual([errors![1]!.index, errors![3]!.index], [1, 3])
  t.true(errors![1] instanceof ClipError)
  const rows = new Embeddings(rest.data, shape)
  t.true(rows.row(1).every(Number.isNaN) && rows.row(3).every(Number.isNaN))
  t.true(bits(rows.row(2)).equals(bits((await clip.encodeImage(exampleImages[1]!)).data)))

  const long = 'dog '.repeat(100)
  const texts = await clip.encodeText(['dog', long], { errors: 'collect' })
  t.is(texts.errors![0], null)
  t.is(texts.errors![1]!.code, 'ERR_CLIP_TEXT_TOO_LONG')
  t.true(texts.row(1).every(Number.isNaN))
  t.true(texts.row(0).every(value => !Number.isNaN(value)))
})

test("errors: 'throw': the first bad item rejects the call and is named", async t => {
  const image = await t.throwsAsync(clip.encodeImage([file, '/no/such/file.png']), { instanceOf: ClipError })
  t.like(image, { code: 'ERR_CLIP_IMAGE', index: 1 })
  const long = 'dog '.repeat(100)
  const text = await t.throwsAsync(clip.encodeText(['dog', long]), { instanceOf: ClipError })
  t.like(text, { code: 'ERR_CLIP_TEXT_TOO_LONG', index: 1, field: 'texts[1]', actual: '102 tokens' })
  t.deepEqual([...(await clip.encodeText(long, { truncate: true })).shape], [1, 192])
})

test('rows are views and iterable, and an index past the end throws', async t => {
  const all = await clip.encodeText(['dog', 'cat'])
  t.is(all.row(1).buffer, all.data.buffer)
  t.deepEqual([...all].length, 2)
  t.throws(() => all.row(2), {
    instanceOf: RangeError,
    message: 'Expected `i` to be an integer from 0 to 1, got 2',
  })
})

test('tokenize pads, and detokenize reverses it', async t => {
  const { ids, shape, lengths, truncated } = await clip.tokenize(['a dog', 'dog '.repeat(100)], {
    truncate: true,
  })
  t.deepEqual(shape, [2, 32])
  t.deepEqual([...lengths], [4, 32])
  t.deepEqual(truncated, [false, true])
  t.is(ids[0], 8192)
  t.deepEqual([ids[3], ids[31], ids[63]], [8193, 8193, 8193])
  t.regex(clip.detokenize(ids.subarray(0, 4)), /a dog/)
  await t.throwsAsync(clip.tokenize(['dog '.repeat(100)]), { code: 'ERR_CLIP_TEXT_TOO_LONG' })
})

test("an end token in a user's text is treated as characters, unless specialTokens is 'parse'", async t => {
  const text = 'a dog <|endoftext|> a cat'
  const [plain, parsed, dog] = await Promise.all([
    clip.encodeText(text),
    clip.encodeText(text, { specialTokens: 'parse' }),
    clip.encodeText('a dog'),
  ])
  // Parsed, the first end token is pooled: what stands behind it is not there.
  t.true(bits(parsed.data).equals(bits(dog.data)))
  t.false(bits(plain.data).equals(bits(dog.data)))
  t.true(bits(plain.data).equals(bits((await clip.encodeText(text, { specialTokens: 'text' })).data)))
  const both = await clip.encodeText(['a dog', 'a dog <|endoftext|> a bird'], { specialTokens: 'parse' })
  t.true(bits(both.row(0)).equals(bits(both.row(1))))
  const end = 8193
  const ends = async (specialTokens: 'text' | 'parse') => {
    const { ids, lengths } = await clip.tokenize(text, { specialTokens })
    return ids.subarray(0, lengths[0]).filter(id => id === end).length
  }
  t.deepEqual([await ends('text'), await ends('parse')], [1, 2])
  const classifier = await clip.classifier(['dog'], { templates: ['<|endoftext|> {}'] })
  const direct = await clip.encodeText('<|endoftext|> dog')
  t.true(bits(classifier.embeddings.data).equals(bits(direct.data)), 'a template is a text too')
})

test("OpenAI's cleaning repairs mojibake and entities, and transformers' does not", async t => {
  const ids = async (text: string, cleaning?: 'openai' | 'huggingface') =>
    [...(await clip.tokenize(text, { cleaning })).ids].join()
  const broken = 'caf\u00c3\u00a9 &amp;amp; bar'
  t.is(await ids(broken), await ids('caf\u00e9 & bar'))
  t.is(await ids(broken), await ids(broken, 'openai'))
  t.not(await ids(broken, 'huggingface'), await ids(broken))
  const [openai, huggingface] = await Promise.all([
    clip.encodeText(broken),
    clip.encodeText(broken, { cleaning: 'huggingface' }),
  ])
  t.true(bits(openai.data).equals(bits((await clip.encodeText('caf\u00e9 & bar')).data)))
  t.false(bits(openai.data).equals(bits(huggingface.data)))
})

test('an image is rotated according to its EXIF orientation only with orient: true', async t => {
  const photo = join(packageRoot, 'test/golden/image/files/jpeg-exif-6.jpg')
  const turning = await load(undefined, { orient: true })
  t.teardown(() => turning.dispose())
  const turned = sharp(await sharp(photo).autoOrient().png().toBuffer())
  const [as, is, expected] = await Promise.all([
    clip.preprocess(photo),
    turning.preprocess(photo),
    clip.preprocess(turned),
  ])
  t.deepEqual(bits(is.data), bits(expected.data))
  t.notDeepEqual(bits(as.data), bits(expected.data))
  await t.throwsAsync(load(undefined, { orient: 'yes' as never }), {
    instanceOf: TypeError,
    message: /`orient`/,
  })
})

test('the outputs of a ResNet have their shapes, and its first token is the pooled row', async t => {
  const folder = join(packageRoot, 'test/golden/checkpoint/openclip-resnet')
  const resnet = await load(folder, { towers: ['image'] })
  t.teardown(() => resnet.dispose())
  const image = {
    data: new Uint8Array(64 * 48 * 3).map((_, i) => (i * 37) % 256),
    width: 64,
    height: 48,
    channels: 3 as const,
  }
  const embedding = await resnet.encodeImage([image, image])
  const pooled = await resnet.encodeImage(image, { output: 'pooled', normalize: false })
  const tokens = await resnet.encodeImage(image, { output: 'tokens', normalize: false })
  const side = Math.floor(resnet.info.imageSize! / 32)
  const [, width] = pooled.shape
  t.deepEqual(embedding.shape, [2, resnet.info.embedDim])
  t.deepEqual(pooled.shape, [1, width])
  t.is(width % 32, 0)
  t.deepEqual(tokens.shape, [1, 1 + side ** 2, width])
  t.deepEqual(bits(tokens.data.slice(0, width)), bits(pooled.data))
  for (const output of ['pooled', 'tokens'] as const) {
    const { data } = await resnet.encodeImage(image, { output, normalize: true })
    for (let i = 0; i < data.length; i += width)
      t.true(Math.abs(Math.hypot(...data.subarray(i, i + width)) - 1) < 1e-5, `${output} ${i / width}`)
  }
})
