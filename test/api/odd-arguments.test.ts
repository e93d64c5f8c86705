/** Lists with holes, values of the wrong kind within lists, addresses of other machines, and lists that change meanwhile. */

import test from 'ava'
import { Embeddings, evaluate, imageFiles, load, openDataset } from '../../lib/index.js'

const clip = await load(undefined, { threads: 1 })
test.after.always(() => clip.dispose())

/** What a JavaScript caller may write. */
const loose = (value: unknown) => value as never
const pixels = { data: new Uint8Array(24 * 20 * 3), width: 24, height: 20, channels: 3 as const }
/** The list without its second element. */
const holed = (...list: unknown[]): never => {
  delete list[1]
  return loose(list)
}
const elsewhere = new URL('file://host/x')

const refused: [title: string, call: () => unknown, message: RegExp][] = [
  [
    'a hole in texts',
    () => clip.encodeText(holed('a', 'b')),
    /^Expected `texts\[1\]` to be a string, got undef/,
  ],
  ['a hole in texts to tokenize', () => clip.tokenize(holed('a', 'b')), /^Expected `texts\[1\]`/],
  [
    'a hole in images',
    () => clip.encodeImage(holed(pixels, pixels)),
    /^Expected `images\[1\]` .*, got undefined$/,
  ],
  ['a hole in images to preprocess', () => clip.preprocess(holed(pixels, pixels)), /^Expected `images\[1\]`/],
  ['a hole in labels', () => clip.classifier(holed('a', 'b', 'c')), /^Expected `labels\[1\]`/],
  [
    'a hole in templates',
    () => clip.classifier(['a'], { templates: holed('{}', '{}') }),
    /^Expected `templates\[1\]`/,
  ],
  ['a name that is undefined', () => clip.classifier(loose([['dog', undefined]])), /^Expected `labels\[0\]`/],
  ['a name that is null', () => clip.classifier(loose([['dog', null]])), /^Expected `labels\[0\]`/],
  ['a label without names', () => clip.classifier(loose([[]])), /^Expected `labels\[0\]`/],
  [
    'names that are undefined',
    () => clip.classifier(loose([{ label: 'a', names: [undefined] }])),
    /^Expected `labels\[0\].names`/,
  ],
  [
    'a hole in images of a similarity',
    () => clip.similarity(holed(pixels, pixels), ['a']),
    /^Expected `images\[1\]`/,
  ],
  [
    'a hole in examples',
    () => clip.linearProbe({ images: holed(pixels, pixels), labels: ['a', 'b'] }),
    /^Expected `images\[1\]`/,
  ],
  [
    'a hole in labels of examples',
    () => clip.linearProbe({ images: [pixels, pixels], labels: holed('a', 'b') }),
    /^Expected `examples.labels\[1\]`/,
  ],
  [
    'a hole in pairs',
    () => clip.adapt({ images: holed(pixels, pixels), texts: ['a', 'b'] }),
    /^Expected `images\[1\]`/,
  ],
  ...[{}, [3], '3', 0, 5, Number.NaN, null, { valueOf: () => 3 }, 3n].map(
    (channels, i): [string, () => unknown, RegExp] => [
      `channels of no kind, ${i}`,
      () => clip.encodeImage(loose({ ...pixels, channels })),
      /^Expected `image.channels` to be 1, 2, 3 or 4, got /,
    ],
  ),
  [
    'embeddings of another width',
    () => clip.similarity(new Embeddings(new Float32Array(10), [1, 10]), ['a']),
    /of 192 values each, got shape \[1, 10\]$/,
  ],
  [
    'embeddings of fewer than no rows',
    () => clip.similarity(new Embeddings(new Float32Array(192), loose([-1, 192])), ['a']),
    /^Expected `images/,
  ],
  [
    'an image of another machine',
    () => clip.encodeImage(elsewhere),
    /^Expected `image` to be a path of this machine/,
  ],
  [
    'a classifier of another machine',
    () => clip.loadClassifier(elsewhere),
    /^Expected `file` .* of this machine/,
  ],
  ['a store of another machine', () => clip.openStore(elsewhere), /^Expected `folder` .* of this machine/],
  ['a model of another machine', () => load(elsewhere), /^Expected `source` .* of this machine/],
  ['a data set of another machine', () => openDataset(elsewhere), /^Expected `dataset` .* of this machine/],
  [
    'an evaluation of another machine',
    () => evaluate(clip, elsewhere),
    /^Expected `dataset` .* of this machine/,
  ],
  [
    'a folder of another machine',
    async () => {
      for await (const _ of imageFiles(elsewhere));
    },
    /^Expected `folder` .* of this machine/,
  ],
]

for (const [title, call, message] of refused)
  test(`an odd argument is refused by name: ${title}`, async t => {
    const error = await t.throwsAsync<Error & { code?: string }>(
      async () => {
        await call()
      },
      { message },
    )
    t.is(error?.code, 'ERR_CLIP_INPUT')
  })

test('lists are read at the call: changing them in onProgress has no effect', async t => {
  const texts = Array.from({ length: 600 }, (_, i) => `text ${i}`)
  const plain = await clip.encodeText(texts)
  let told = 0
  const grown = await clip.encodeText(texts, {
    onProgress: () => {
      told++
      texts.push('more')
      texts[599] = 'other'
    },
  })
  t.true(told > 0)
  t.deepEqual(grown.shape, [600, 192])
  t.deepEqual(grown.data, plain.data)
  const images: (typeof pixels)[] = Array.from({ length: 70 }, () => pixels)
  const { shape } = await clip.encodeImage(images, {
    onProgress: () => {
      images.push(pixels)
      images[69] = loose(undefined)
    },
  })
  t.deepEqual(shape, [70, 192])
})
