import { createWriteStream } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import test from 'ava'
import { pack } from 'tar-stream'
import {
  type ClassificationReport,
  type ClipError,
  evaluate,
  load,
  openDataset,
  type RetrievalReport,
  type Sample,
} from '../../lib/index.js'
import { testData } from '../helpers/test-data.js'

const clip = await load()
const folder = await mkdtemp(join(tmpdir(), 'clip-eval-'))
const all = async (path: string) => {
  const list: Sample[] = []
  for await (const sample of (await openDataset(path)).samples()) list.push(sample)
  return list
}

const thrown = async (call: Promise<unknown>): Promise<ClipError> => {
  try {
    await call
  } catch (error) {
    return error as ClipError
  }
  throw new Error('nothing was thrown')
}

/** Four images each of two digits: as a folder per class, as a CSV, and as a tar. */
const digits = (await all(join(testData, 'digits.csv'))).filter(s => s.label === 'one' || s.label === 'two')
const chosen = [
  ...digits.filter(s => s.label === 'one').slice(0, 4),
  ...digits.filter(s => s.label === 'two').slice(0, 4),
]
const tree = join(folder, 'tree')
const archive = join(folder, 'digits.tar')
const csv = join(folder, 'digits.csv')
{
  const tar = pack()
  const written = pipeline(tar, createWriteStream(archive))
  const lines = ['file,label,split']
  for (const [i, { image, label }] of chosen.entries()) {
    await mkdir(join(tree, label), { recursive: true })
    await cp(image as string, join(tree, label, `${i}.png`))
    lines.push(`tree/${label}/${i}.png,"${label}",${i % 4 < 2 ? 'train' : 'test'}`)
    tar.entry({ name: `shard/${i}.png` }, await readFile(image as string))
    tar.entry({ name: `shard/${i}.json` }, '{}')
    tar.entry({ name: `shard/${i}.cls` }, `${label}\n`)
  }
  tar.finalize()
  await written
  await writeFile(csv, `\ufeff${lines.join('\r\n')}\r\n`)
}

test.after.always(async () => {
  await clip.dispose()
  await rm(folder, { recursive: true })
})

test('a folder, a CSV and a tar of the same images give the same figures', async t => {
  const reports = []
  for (const path of [tree, archive]) reports.push((await evaluate(clip, path)) as ClassificationReport)
  const inCsv = await evaluate(
    clip,
    (await all(csv)).map(({ image, label }) => ({ image, label })),
  )
  reports.push(inCsv as ClassificationReport)
  // Against the classifier itself.
  const classifier = await clip.classifier(['one', 'two'])
  const answers = await classifier.classify(chosen.map(s => s.image))
  const right = answers.filter((a, i) => a[0]!.label === chosen[i]!.label).length
  for (const report of reports) {
    t.is(report.count, 8)
    t.is(report.top1, right / 8)
    t.is(report.top5, 1)
    t.deepEqual(report.labels, ['one', 'two'])
    t.deepEqual(report.confusion, reports[0]!.confusion)
    t.true(Math.abs(report.calibration.ece - reports[0]!.calibration.ece) < 1e-12)
    t.is(report.mistakes.length, 8 - right)
    t.deepEqual(report.failed, [])
  }
})

test('a linear probe and a Tip-Adapter learn from the train split and are tested on the rest', async t => {
  for (const task of ['probe', 'fewshot'] as const) {
    const report = (await evaluate(clip, csv, { task })) as ClassificationReport
    t.is(report.count, 4)
    t.is(report.learned!.examples, 4)
    t.is(report.learned!.shots, 'all')
    const drawn = (await evaluate(clip, csv, { task, shots: 1, seed: 3 })) as ClassificationReport
    t.is(drawn.learned!.examples, 2)
    t.is(drawn.count, 4)
  }
  // Zero-shot is tested on the same images.
  t.is(((await evaluate(clip, csv)) as ClassificationReport).count, 4)
  // The same as by hand.
  const samples = await all(csv)
  const train = samples.filter(s => s.split === 'train')
  const test = samples.filter(s => s.split === 'test')
  const probe = await clip.linearProbe({ images: train.map(s => s.image), labels: train.map(s => s.label) })
  const answers = await probe.classify(test.map(s => s.image))
  const right = answers.filter((a, i) => a[0]!.label === test[i]!.label).length
  const report = (await evaluate(clip, csv, { task: 'probe' })) as ClassificationReport
  t.is(report.top1, right / 4)
  const seen: string[] = []
  await evaluate(clip, archive, { task: 'probe', shots: 2, onProgress: p => seen.push(p.stage) })
  t.true(seen.includes('learn') && seen.includes('test'))
})

test('retrieval gives the recalls of the similarity matrix in both directions', async t => {
  const pairs = (await all(join(testData, 'heldout.csv'))).slice(0, 40)
  const report = (await evaluate(clip, pairs, { task: 'retrieval' })) as RetrievalReport
  const captions = [...new Set(pairs.map(s => s.label))]
  t.is(report.texts, captions.length)
  const matrix = await clip.similarity(
    pairs.map(s => s.image),
    captions,
    { as: 'cosine' },
  )
  const recallAt = (k: number) => {
    const toText = pairs.filter((s, i) => {
      const row = [...matrix.row(i)]
      const own = row[captions.indexOf(s.label)]!
      return row.filter(v => v > own).length < k
    }).length
    const toImage = captions.filter((caption, c) => {
      const column = pairs.map((_, i) => matrix.row(i)[c]!)
      const own = Math.max(...column.filter((_, i) => pairs[i]!.label === caption))
      return column.filter(v => v > own).length < k
    }).length
    return [toText / pairs.length, toImage / captions.length]
  }
  const { imageToText: a, textToImage: b } = report
  t.deepEqual([a.recall1, b.recall1], recallAt(1))
  t.deepEqual([a.recall5, b.recall5], recallAt(5))
  t.deepEqual([a.recall10, b.recall10], recallAt(10))
  t.true(a.recall1 > 0 && a.recall1 < 1, 'something is found, and something is not')
})

test('an image that cannot be read is named and not counted', async t => {
  const broken = join(folder, 'broken.png')
  await writeFile(broken, 'no image')
  const report = (await evaluate(clip, [...chosen, { image: broken, label: 'one' }])) as ClassificationReport
  t.is(report.count, 8)
  t.is(report.failed.length, 1)
  t.is(report.failed[0]!.name, broken)
  t.is((await thrown(evaluate(clip, [{ image: broken, label: 'one' }]))).code, 'ERR_CLIP_IMAGE')
})

test('CSV files of spreadsheets are read, with quotes, commas, line ends and spaces in fields, and empty lines', async t => {
  const path = join(folder, 'quoted.csv')
  await writeFile(
    path,
    '\ufeff file ,label,split\r\n"a ""b"", c.png","two\r\nlines",train\r\n\r\n  \r\nd.png, e ,\r\n/f.png,g,test',
  )
  t.deepEqual(await all(path), [
    { image: join(folder, 'a "b", c.png'), label: 'two\r\nlines', name: 'a "b", c.png', split: 'train' },
    { image: join(folder, 'd.png'), label: 'e', name: 'd.png' },
    { image: '/f.png', label: 'g', name: '/f.png', split: 'test' },
  ])
})

test('a path that is not a data set is refused by name', async t => {
  const bad = async (name: string, text: string | Buffer, message: RegExp) => {
    const path = join(folder, name)
    await writeFile(path, text)
    const error = await thrown(evaluate(clip, path))
    t.is(error.code, 'ERR_CLIP_INPUT', name)
    t.regex(error.message, message)
  }
  await bad('a.txt', 'x', /is not a data set/)
  await bad('columns.csv', 'path,name\na,b\n', /expected columns `file` and `label`/)
  await bad('hole.csv', 'file,label\na.png,\n', /row 2 has no label/)
  await bad('ragged.csv', 'file,label\na.png,b,c,d\n', /can't be read as CSV/)
  await bad('open.csv', 'file,label\na.png,"b\nc.png,d\n', /can't be read as CSV/)
  // Quotes that are never closed are not read to the end of whatever file this is.
  await bad('endless.csv', `file,label\na.png,"${'x'.repeat(2 ** 21)}`, /row 2 has more than 1048576 bytes/)
  await bad(
    'cut.tar',
    (await readFile(archive)).subarray(0, 1300),
    /can't be read as a tar|no label|Unexpected end/,
  )
  await bad('noise.tar', Buffer.alloc(4096, 7), /can't be read as a tar/)
  await bad('empty.csv', 'file,label\n', /at least one sample/)
  await mkdir(join(folder, 'bare'))
  t.regex((await thrown(evaluate(clip, join(folder, 'bare')))).message, /no folders of images/)
  t.is((await thrown(evaluate(clip, '/no/such'))).code, 'ERR_CLIP_INPUT')
})

test('invalid options and aborts reject', async t => {
  for (const [options, message] of [
    [{ task: 'zero' }, /`task` to be one of/],
    [{ shot: 3 }, /did you mean `shots`/],
    [{ shots: 0 }, /`shots` to be an integer from 1/],
    [{ labels: ['one'] }, /`labels` to have the data set's "two"/],
    [{ task: 'retrieval', labels: ['one'] }, /`labels` to be omitted/],
  ] as const) {
    const error = await thrown(evaluate(clip, tree, options as never))
    t.regex(error.message, message)
    t.is(error.code, 'ERR_CLIP_INPUT')
  }
  for (const path of [tree, csv, archive]) {
    const controller = new AbortController()
    const running = evaluate(clip, path, { signal: controller.signal })
    controller.abort(new Error('enough'))
    t.is((await thrown(running)).message, 'enough')
  }
})
