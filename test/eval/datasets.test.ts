/** Data sets as they are found: nothing is lost in silence, and what can't be read is refused by name. */

import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { type Headers, pack } from 'tar-stream'
import {
  type ClassificationReport,
  ClipError,
  type DatasetOptions,
  evaluate,
  load,
  openDataset,
  type Sample,
} from '../../lib/index.js'
import { exampleImages } from '../api/helpers.js'

const clip = await load()
const base = await mkdtemp(join(tmpdir(), 'clip-native-datasets-'))
test.after.always(async () => {
  await clip.dispose()
  await rm(base, { recursive: true, force: true })
})

const dog = exampleImages.find(path => path.endsWith('dog.png'))!
const bicycle = exampleImages.find(path => path.endsWith('bicycle.jpg'))!

/** A folder with these images in it; 'a -> b' is a link, what is no image by its name has one letter in it. */
async function folderOf(name: string, entries: readonly string[]): Promise<string> {
  const root = join(base, name)
  await mkdir(root, { recursive: true })
  for (const entry of entries) {
    const [path, target] = entry.split(' -> ') as [string, string?]
    await mkdir(dirname(join(root, path)), { recursive: true })
    if (target !== undefined) await symlink(target, join(root, path))
    else if (path.endsWith('/')) await mkdir(join(root, path), { recursive: true })
    else if (/\.(txt|json|db)$/.test(path)) await writeFile(join(root, path), 'x')
    else await copyFile(/\.(png|bmp|heic)$/i.test(path) ? dog : bicycle, join(root, path))
  }
  return root
}

let files = 0
async function fileOf(text: string | Buffer, extension: string): Promise<string> {
  const path = join(base, `${files++}.${extension}`)
  await writeFile(path, text)
  return path
}

async function tarOf(...members: [header: Headers | string, content?: string | Buffer][]): Promise<string> {
  const tar = pack()
  for (const [header, content] of members)
    tar.entry(typeof header === 'string' ? { name: header } : header, content)
  tar.finalize()
  return fileOf(await buffer(tar), 'tar')
}

async function samplesOf(path: string | URL, options?: DatasetOptions) {
  const list: Sample[] = []
  const leftOut: Record<string, string> = {}
  const dataset = await openDataset(path, options)
  for await (const sample of dataset.samples(undefined, one => {
    leftOut[one.path.replace(`${base}/`, '')] = one.reason
  }))
    list.push(sample)
  return { list, leftOut, names: list.map(sample => sample.name) }
}

const refusal = async (call: Promise<unknown>) => {
  const error = (await call.then(
    () => undefined,
    thrown => thrown,
  )) as (Error & { code?: string }) | undefined
  if (!error) throw new Error('nothing was refused')
  return error
}

test('images of a class are found with any image extension, such as .jfif, .jpe or one in upper case', async t => {
  const root = await folderOf('endings', ['dog/a.jfif', 'cat/a.JPG', 'pet/b.jpe', 'pet/deep/c.PNG'])
  const report = (await evaluate(clip, root)) as ClassificationReport
  t.deepEqual(report.labels, ['cat', 'dog', 'pet'])
  t.is(report.count, 4)
  t.is(report.leftOut, undefined)
})

test('files that are left out of a folder are counted and named, and a class without images is an error', async t => {
  const root = await folderOf('leftovers', [
    ...['README.txt', 'top.png', '.hidden/a.png', 'dog/a.png', 'dog/notes.txt', 'cat/a.png', 'cat/Thumbs.db'],
  ])
  const report = await evaluate(clip, root)
  t.is(report.leftOut!.count, 5)
  t.deepEqual(report.leftOut!.files.map(({ path, reason }) => [path.slice(root.length + 1), reason]).sort(), [
    ['.hidden', 'place'],
    ['README.txt', 'name'],
    ['cat/Thumbs.db', 'name'],
    ['dog/notes.txt', 'name'],
    ['top.png', 'place'],
  ])
  await folderOf('leftovers', ['bird/a.txt', 'bird/b.json'])
  for (const task of ['zeroshot', 'probe', 'retrieval'] as const) {
    const error = await refusal(evaluate(clip, root, { task }))
    t.true(error instanceof ClipError && error.code === 'ERR_CLIP_INPUT')
    t.regex(error.message, /class "bird" has no image: .*a\.txt has no image extension.*b\.json/)
  }
  const empty = await folderOf('empty-class', ['dog/a.png', 'cat/'])
  t.regex((await refusal(evaluate(clip, empty))).message, /class "cat" has no image: its folder is empty/)
})

test('in a folder of classes, cycles of links end, images count once, and a class may be a link', async t => {
  const root = await folderOf('linked', [
    ...['dog/a.png', 'dog/b.png', 'cat/c.png', 'dog/here -> .', 'dog/up -> ..', 'dog/root -> /'],
    ...[
      'all -> .',
      'also -> .',
      'dog/again.png -> a.png',
      'cat/of-dog.png -> ../dog/a.png',
      'gone -> nowhere',
    ],
    ...['cat/hidden.png -> ../.store/x.png', '.store/x.png'],
  ])
  const { names, leftOut } = await samplesOf(root)
  t.deepEqual(names, ['cat/c.png', 'cat/hidden.png', 'dog/a.png', 'dog/b.png'])
  t.deepEqual(leftOut, {
    ...{ 'linked/all': 'counted', 'linked/also': 'counted', 'linked/dog/here': 'counted' },
    ...{ 'linked/dog/up': 'counted', 'linked/dog/root': 'link', 'linked/dog/again.png': 'counted' },
    ...{ 'linked/cat/of-dog.png': 'counted', 'linked/gone': 'link', 'linked/.store': 'place' },
  })
  await folderOf('outside-class', ['e.png', 'back -> ../linked'])
  await symlink('../outside-class', join(root, 'bird'))
  const refused = await refusal(samplesOf(root))
  t.regex(refused.message, /class folder .*bird is a link out of the data set.*`followLinks: true`/)
  await rm(join(root, 'dog/root'))
  const followed = await samplesOf(root, { followLinks: true })
  t.deepEqual(followed.names, ['bird/e.png', 'cat/c.png', 'cat/hidden.png', 'dog/a.png', 'dog/b.png'])
  t.is(((await evaluate(clip, root, { followLinks: true })) as ClassificationReport).count, 5)
})

test('class names that are not UTF-8 are refused, and file names that are not UTF-8 are read', async t => {
  if (process.platform !== 'linux') return t.pass()
  const root = await folderOf('bytes', ['dog/a.png'])
  await copyFile(
    dog,
    Buffer.concat([Buffer.from(`${root}/dog/gr`), Buffer.from([0xfc]), Buffer.from('.png')]),
  )
  const { names } = await samplesOf(root)
  t.deepEqual(names, ['dog/a.png', 'dog/gr%FC.png'])
  t.like(await evaluate(clip, root), { count: 2, failed: [] })
  await mkdir(Buffer.concat([Buffer.from(`${root}/V`), Buffer.from([0xf6]), Buffer.from('gel')]))
  const error = await refusal(samplesOf(root))
  t.regex(error.message, /file:.*V%F6gel is not UTF-8, so it can't be a label/)
})

test('tables in the forms of OpenCLIP, Hugging Face and Flickr8k are read', async t => {
  const expected = [
    { image: dog, label: 'a dog' },
    { image: bicycle, label: 'a bicycle, red' },
  ]
  const rows = (mark: string, columns: string, quote = '') =>
    [columns, `${dog}${mark}a dog`, `${bicycle}${mark}${quote}a bicycle, red${quote}`].join('\n')
  for (const [text, extension] of [
    [rows('\t', 'filepath\ttitle'), 'csv'],
    [rows('\t', 'filepath\ttitle'), 'tsv'],
    [rows(',', 'image,caption', '"'), 'csv'],
    [rows(',', 'file_name,text', '"'), 'csv'],
    [rows(',', 'File,Label', '"'), 'csv'],
    [rows(';', 'filename;caption'), 'csv'],
  ] as const) {
    const { list } = await samplesOf(await fileOf(text, extension))
    t.deepEqual(
      list.map(({ image, label }) => ({ image, label })),
      expected,
      text,
    )
  }
  const both = await samplesOf(await fileOf(`file,label,caption,split\n${dog},dog,a good dog,train`, 'csv'))
  t.deepEqual(both.list, [{ image: dog, label: 'dog', captions: ['a good dog'], name: dog, split: 'train' }])
  const url = pathToFileURL(dog).href
  t.is((await samplesOf(await fileOf(`file,label\n${url},dog`, 'csv'))).list[0]!.image, url)
})

test('the error for a table without the needed columns, or with addresses, names what it has and what is expected', async t => {
  for (const [text, message] of [
    ['path,name\na,b', /expected columns `file` and `label` .*filepath.*caption.*has "path", "name"/],
    ['url\tcaption\nhttps://host/a.jpg\tdog', /has "url", "caption".*not downloaded.*img2dataset/],
    ['URL,TEXT\nhttps://host/a.jpg,dog', /has "URL", "TEXT".*not downloaded/],
    ['image\na.png', /has "image"/],
    ['caption\tlabel\na\tb', /has "caption", "label"/],
    [`${dog},dog\n${dog},dog`, /its first line has ".*", "dog"/],
    [`${'x'.repeat(500)},y\n1,2`, /has "x{27}\.\.\.", "y"/],
    ['image,label\nhttps://host/a.jpg,dog', /row 2 names the address https:\/\/host\/a\.jpg.*not downloaded/],
    ['image,label\ns3://bucket/a.jpg,dog', /row 2 names the address s3:/],
  ] as const) {
    const error = await refusal(samplesOf(await fileOf(text, 'csv')))
    t.true(error instanceof ClipError && error.code === 'ERR_CLIP_INPUT', text.slice(0, 40))
    t.regex(error.message, message)
  }
})

test('every kind of image in a tar is read, and members that belong to no sample are counted and named', async t => {
  const [png, jpg] = [await readFile(dog), await readFile(bicycle)]
  const { names, leftOut } = await samplesOf(
    await tarOf(
      ['0.gif', png],
      ['0.cls', 'dog'],
      ['1.BMP', png],
      ['1.txt', 'dog'],
      ['1.json', '{}'],
      ['2.jfif', jpg],
      ['2.png', png],
      ['2.cls', 'bicycle'],
      ['./._3.png', 'x'],
      [{ name: '3.png', type: 'symlink', linkname: '0.gif' }],
      ['3.heic', png],
      ['3.cls', 'dog'],
    ),
  )
  t.deepEqual(names, ['0', '1', '2', '3'])
  t.deepEqual(leftOut, { '1.json': 'name', '2.png': 'place', './._3.png': 'name', '3.png': 'special' })
})

test('class numbers of a tar are replaced by a list of names, and are used as names only if requested', async t => {
  const png = await readFile(dog)
  const tar = await tarOf(['0.png', png], ['0.cls', '1'], ['1.png', png], ['1.cls', '0\n'])
  t.deepEqual(
    (await samplesOf(tar)).list.map(({ label, numbered }) => [label, numbered]),
    [
      ['1', true],
      ['0', true],
    ],
  )
  for (const task of ['zeroshot', 'fewshot', 'probe', 'retrieval'] as const) {
    const error = await refusal(evaluate(clip, tar, { task }))
    t.is(error.code, 'ERR_CLIP_INPUT')
    t.regex(
      error.message,
      /the class of 0 is the number 1, which is not a name: give the names with `classNames`/,
    )
  }
  const named = (await evaluate(clip, tar, { classNames: ['cat', 'dog'] })) as ClassificationReport
  t.deepEqual(named.labels, ['dog', 'cat'])
  const told = (await evaluate(clip, tar, { classNames: 'numbers' })) as ClassificationReport
  t.deepEqual(told.labels, ['1', '0'])
  const described = [
    { label: '0', names: ['cat'] },
    { label: '1', names: ['dog'] },
  ]
  t.is(((await evaluate(clip, tar, { labels: described })) as ClassificationReport).count, 2)
  const short = await refusal(evaluate(clip, tar, { classNames: ['cat'] }))
  t.regex(short.message, /class of 0 is number 1, and `classNames` has 1 names/)
  for (const classNames of ['names.txt', [1], [''], {}, null])
    t.regex((await refusal(openDataset(tar, { classNames } as never))).message, /`classNames/)
  // Folders and tables with numbers are named the same way; without a list they are what their owner wrote.
  const root = await folderOf('numbered', ['0/a.png', '1/b.png'])
  t.deepEqual(
    (await samplesOf(root)).list.map(s => s.label),
    ['0', '1'],
  )
  t.deepEqual(
    (await samplesOf(root, { classNames: ['cat', 'dog'] })).list.map(s => s.label),
    ['cat', 'dog'],
  )
})

test('data sets are opened by path or file: URL; other URLs and values are typed errors', async t => {
  const root = await folderOf('place', ['dog/a b#%.png'])
  for (const given of [root, `${root}/`, pathToFileURL(root), pathToFileURL(root).href])
    t.deepEqual((await samplesOf(given)).names, ['dog/a b#%.png'])
  for (const given of [
    ...['https://host/data.tar', new URL('https://host/data.tar'), 'file://host/x', new URL('file://host/x')],
    ...['s3://bucket/x', 'data:text/csv,a', '', 'a\0b', 5, null, undefined, {}, { samples: 5 }, Symbol('x')],
  ]) {
    for (const call of [openDataset(given as string), evaluate(clip, given as string)]) {
      const error = await refusal(call)
      t.true(error instanceof TypeError && error.code === 'ERR_CLIP_INPUT', String(given))
      t.regex(error.message, /^Expected `dataset` to be /)
    }
  }
  for (const given of [join(base, 'none'), join(base, 'none.tar'), `${dog}/x.csv`]) {
    const error = await refusal(openDataset(given))
    t.true(error instanceof ClipError)
    t.is(error.message, `${given}: does not exist`)
  }
})

test('invalid samples in arrays and data sets of the caller are argument errors with their index', async t => {
  const good = { image: dog, label: 'dog' }
  const sparse = [good, good]
  delete sparse[0]
  for (const [samples, field] of [
    [[good, null], 'dataset[1]'],
    [sparse, 'dataset[0]'],
    [[{ image: dog }], 'dataset[0].label'],
    [[{ label: 'dog' }], 'dataset[0].image'],
    [[{ image: [dog], label: 'dog' }], 'dataset[0].image'],
    [[{ image: { data: new Float32Array(6), shape: [2, 3, 1, 1] }, label: 'x' }], 'dataset[0].image'],
    [[{ ...good, captions: [] }], 'dataset[0].captions'],
    [[{ ...good, captions: ['a', 5] }], 'dataset[0].captions'],
  ] as const) {
    const dataset = {
      name: 'mine',
      async *samples() {
        yield* samples as readonly Sample[]
      },
    }
    for (const given of [samples, dataset]) {
      const error = await refusal(evaluate(clip, given as never))
      t.is(error.code, 'ERR_CLIP_INPUT')
      t.true(error.message.startsWith(`Expected \`${field}\` to be `), error.message)
    }
  }
})

test('a data set whose samples are not iterable, or an array that can’t be read, is a typed error', async t => {
  const { proxy, revoke } = Proxy.revocable([], {})
  revoke()
  for (const given of [proxy, { samples: () => 5 }, { name: 'x', samples: async () => [] }, [proxy]]) {
    const error = await refusal(evaluate(clip, given as never))
    t.is(error.code, 'ERR_CLIP_INPUT')
    t.regex(error.message, /^Expected `dataset/)
  }
  const error = await refusal(evaluate(clip, [{ image: dog, label: 'dog' }], { labels: proxy as never }))
  t.is(error.code, 'ERR_CLIP_INPUT')
})

test('an array that grows during an evaluation is measured as it was at the call', async t => {
  const samples: Sample[] = [dog, bicycle, dog, bicycle].map((image, i) => ({
    image,
    label: i % 2 ? 'b' : 'd',
  }))
  for (const task of ['zeroshot', 'fewshot', 'probe', 'retrieval'] as const) {
    const list = samples.slice()
    const labels: string[] | undefined = task === 'retrieval' ? undefined : ['d', 'b']
    const running = evaluate(clip, list, {
      task,
      shots: 1,
      ...(labels && task !== 'probe' ? { labels } : {}),
      onProgress() {
        list.push({ image: 'none.png', label: 'x' })
        list[0] = undefined as never
        if (labels) labels.length = 0
      },
    })
    const report = await running
    t.deepEqual(report.failed, [], task)
  }
})

test('an abort ends an evaluation at once, whatever it is waiting for', async t => {
  const never = new Promise<never>(() => {})
  const waits: [string, (started: () => void) => unknown][] = [
    [
      'a data set that yields nothing',
      started => ({
        name: 'mine',
        samples: () => ({
          [Symbol.asyncIterator]: () => ({
            next() {
              started()
              return never
            },
            return: () => never,
          }),
        }),
      }),
    ],
    [
      'a data set that stops in the middle',
      started => ({
        name: 'mine',
        async *samples() {
          yield { image: dog, label: 'dog' }
          started()
          await never
          yield { image: dog, label: 'dog' }
        },
      }),
    ],
  ]
  for (const [what, make] of waits)
    for (const task of ['zeroshot', 'fewshot', 'probe', 'retrieval'] as const) {
      const control = new AbortController()
      const reason = new Error('enough')
      const dataset = make(() => setImmediate(() => control.abort(reason)))
      const error = await refusal(evaluate(clip, dataset as never, { task, signal: control.signal }))
      t.is(error, reason, `${what}, ${task}`)
    }
})
