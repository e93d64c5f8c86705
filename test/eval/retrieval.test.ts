/** Recall where images have several captions, against the plain definition. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { pack } from 'tar-stream'
import { evaluate, load, type RetrievalReport, type Sample } from '../../lib/index.js'
import { exampleImages } from '../api/helpers.js'

const clip = await load()
const base = await mkdtemp(join(tmpdir(), 'clip-native-retrieval-'))
test.after.always(async () => {
  await clip.dispose()
  await rm(base, { recursive: true, force: true })
})

const nameOf = (path: string) =>
  basename(path)
    .replace(/\.\w+$/, '')
    .replaceAll('-', ' ')
const captionsOf = (path: string) =>
  ['an icon of a', 'a drawing of a', 'a', 'one small', 'the best image of a'].map(
    words => `${words} ${nameOf(path)}`,
  )

/** As CLIP_benchmark computes it: every (text, image) that belongs together is positive; a query has one among its k. */
async function plainRecall(images: readonly string[], captions: readonly (readonly string[])[]) {
  const texts = captions.flat()
  const own = captions.flatMap((list, image) => list.map(() => image))
  const matrix = await clip.similarity([...images], texts, { as: 'cosine' })
  const best = (scores: number[], k: number) =>
    scores
      .map((score, i) => [score, i] as const)
      .sort((a, b) => b[0] - a[0] || a[1] - b[1])
      .slice(0, k)
      .map(([, i]) => i)
  const part = (hits: boolean[]) => hits.filter(Boolean).length / hits.length
  const at = (k: number) => ({
    imageToText: part(images.map((_, i) => best([...matrix.row(i)], k).some(text => own[text] === i))),
    textToImage: part(
      texts.map((_, t) =>
        best(
          images.map((_, i) => matrix.row(i)[t]!),
          k,
        ).includes(own[t]!),
      ),
    ),
  })
  const [one, five, ten] = [1, 5, 10].map(at)
  return Object.fromEntries(
    (['imageToText', 'textToImage'] as const).map(way => [
      way,
      { recall1: one![way], recall5: five![way], recall10: ten![way] },
    ]),
  )
}

async function tarOf(captions: (path: string) => string): Promise<string> {
  const tar = pack()
  for (const [i, path] of exampleImages.entries()) {
    tar.entry({ name: `${i}${path.slice(path.lastIndexOf('.'))}` }, await readFile(path))
    tar.entry({ name: `${i}.txt` }, captions(path))
    tar.entry({ name: `${i}.cls` }, String(i))
  }
  tar.finalize()
  const path = join(base, `${Math.random()}.tar`)
  await writeFile(path, await buffer(tar))
  return path
}

test('five captions of an image belong to one image, in every form of data set', async t => {
  const expected = await plainRecall(exampleImages, exampleImages.map(captionsOf))
  const rows = exampleImages.flatMap(path =>
    captionsOf(path).map(caption => ({ image: path, label: caption })),
  )
  const csv = join(base, 'captions.csv')
  await writeFile(csv, ['image,caption', ...rows.map(({ image, label }) => `${image},${label}`)].join('\n'))
  const bytes = new Map<string, Buffer>()
  for (const path of exampleImages) bytes.set(path, await readFile(path))
  const shuffled = [...rows].sort((a, b) => (a.label < b.label ? -1 : 1))
  const given: Record<string, string | Sample[]> = {
    'a table with a row for each caption': csv,
    'a tar with a line for each caption': await tarOf(path => `${captionsOf(path).join('\n')}\n\n`),
    'Windows lines': await tarOf(path => captionsOf(path).join('\r\n')),
    'samples with several captions': exampleImages.map(path => ({
      image: path,
      label: nameOf(path),
      captions: captionsOf(path),
    })),
    'paths written differently, in another order': shuffled.map(({ image, label }, i) => ({
      image: [image, pathToFileURL(image).href, `${base}/../..${image}`, image.replace('/', '//')][i % 4]!,
      label,
    })),
    URLs: rows.map(({ image, label }) => ({ image: pathToFileURL(image) as never, label })),
    'the same buffer': rows.map(({ image, label }) => ({ image: bytes.get(image)!, label })),
    'the same bytes': rows.map(({ image, label }) => ({ image: new Uint8Array(bytes.get(image)!), label })),
    'the same array buffer': rows.map(({ image, label }) => ({
      image: new Uint8Array(bytes.get(image)!).buffer,
      label,
    })),
    'a caption that is given twice': [...rows, rows[3]!, rows[4]!],
  }
  for (const [what, dataset] of Object.entries(given)) {
    const report = (await evaluate(clip, dataset, { task: 'retrieval' })) as RetrievalReport
    t.is(report.images, exampleImages.length, what)
    t.is(report.texts, 5 * exampleImages.length, what)
    t.deepEqual(report.failed, [], what)
    const { imageToText, textToImage } = report
    if (what.startsWith('paths')) {
      t.deepEqual(
        [imageToText.recall1, textToImage.recall1],
        [expected.imageToText!.recall1, expected.textToImage!.recall1],
      )
    } else t.deepEqual({ imageToText, textToImage }, expected, what)
  }
  for (const { recall1 } of Object.values(expected)) t.true(recall1 > 0.4 && recall1 < 1, `${recall1}`)
})

test('the captions of an image that can’t be read are left out', async t => {
  const broken = join(base, 'broken.png')
  await writeFile(broken, 'no image')
  const samples = [...exampleImages, broken].map(image => ({ image, label: '', captions: captionsOf(image) }))
  const report = (await evaluate(clip, samples, { task: 'retrieval' })) as RetrievalReport
  t.deepEqual(
    report.failed.map(({ name }) => name),
    [broken],
  )
  t.is(report.images, exampleImages.length)
  t.is(report.texts, 5 * exampleImages.length)
})

test('a caption of several images counts as one text that may find any of them', async t => {
  const samples = exampleImages.flatMap(image => [
    { image, label: `an icon of a ${nameOf(image)}` },
    { image, label: 'an image' },
  ])
  const report = (await evaluate(clip, samples, { task: 'retrieval' })) as RetrievalReport
  t.is(report.texts, exampleImages.length + 1)
  t.is(report.textToImage.recall10, 1)
})
