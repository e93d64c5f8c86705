/** The archives of test/data: what the .csv files say of the same images, sample by sample and byte by byte. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { openDataset } from '../../lib/index.js'
import { repositoryFile, testData } from '../helpers/test-data.js'

for (const [name, images] of [
  ['digits', 1797],
  ['fewshot', 185],
  ['heldout', 778],
  ['styles', 600],
] as const)
  test(`${name}.tar has the images and labels of ${name}.csv, in order`, async t => {
    const archive = (await openDataset(join(packageRoot, 'test/data', `${name}.tar`)))
      .samples()
      [Symbol.asyncIterator]()
    let count = 0
    for await (const { image: file, label } of (await openDataset(join(testData, `${name}.csv`))).samples()) {
      const { value: sample } = await archive.next()
      if (!sample) return t.fail(`the archive ends after ${count} images`)
      if (sample.label !== label || !readFileSync(file as string).equals(sample.image as Buffer))
        return t.fail(`${file} is another sample in the archive: ${sample.name}`)
      count++
    }
    t.is(count, images)
    t.true((await archive.next()).done)
  })

test('paths of the repository lead to the files of the archives, and to all others as they are', t => {
  t.deepEqual(readFileSync(repositoryFile('test/data/digits/eight/000.png')).subarray(1, 4).toString(), 'PNG')
  t.is(repositoryFile('models/icon-clip/config.json'), join(packageRoot, 'models/icon-clip/config.json'))
})
