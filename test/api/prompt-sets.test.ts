import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { load, promptSet, promptSetNames, templates } from '../../lib/index.js'

const file = JSON.parse(await readFile(join(packageRoot, 'models/prompts/prompts.json'), 'utf8'))

test('the 27 sets are those of the data file, in its order', async t => {
  t.deepEqual([...promptSetNames], Object.keys(file))
  t.is(promptSetNames.length, 27)
  for (const name of promptSetNames) {
    const set = await promptSet(name)
    t.deepEqual(set.labels, file[name].classes)
    t.deepEqual(set.templates, file[name].templates)
    t.true(set.templates.every(template => template.includes('{}')))
  }
  t.deepEqual((await promptSet('ImageNet')).templates, [...templates.imagenet80])
  t.deepEqual(file.ImageNet.templates7, [...templates.imagenet7])
})

test('a set is a copy, and an unknown name is a TypeError', async t => {
  const set = await promptSet('MNIST')
  ;(set.labels as string[])[0] = 'changed'
  t.is((await promptSet('MNIST')).labels[0], '0')
  await t.throwsAsync(promptSet('OxfordPet' as never), {
    instanceOf: TypeError,
    message: /did you mean 'OxfordPets'/,
  })
})

test('a classifier can be created from a set, including classes with several names', async t => {
  await using clip = await load()
  const { labels, templates } = await promptSet('FacialEmotionRecognition2013')
  const classifier = await clip.classifier(labels, { templates })
  t.deepEqual(classifier.labels, ['angry', 'disgusted', 'fearful', 'happy', 'sad', 'surprised', 'neutral'])
})
