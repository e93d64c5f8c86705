/** MobileCLIP-B in OpenCLIP's layout. golden.test.ts compares its float32 numbers with those of open_clip and timm. */

import test from 'ava'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'
import { sameBytes } from '../helpers/close.js'
import { goldenPath, goldenPixels, goldens } from './goldens.js'

const name = 'openclip-mobileclip-b'

test('a MobileCLIP-B is read as the expected model', async t => {
  const { model } = await readCheckpoint(goldenPath(name))
  t.like(model.image, {
    embed: {
      ...{ kind: 'patches', imageSize: 48, patchSize: 16, classToken: true },
      classPosition: false,
      stem: [12, 20],
    },
    preNorm: false,
    pool: 'first',
    project: 'matrix',
  })
  t.like(model.text, { mask: 'causal', pool: 'argmax' })
})

test('info says that the batch norms of the stem are folded into the weights', async t => {
  await using clip = await load(goldenPath(name), { towers: ['image'] })
  t.deepEqual(clip.info.folded, ['batch norms'])
})

for (const dtype of ['float32', 'bfloat16', 'int8'] as const)
  test(`${name} in ${dtype} agrees with open_clip, with the same bits in every batch`, async t => {
    const { model, preprocess } = await readCheckpoint(goldenPath(name))
    const { imageSize, image: want } = goldens[name]!
    const images = goldenPixels(imageSize).map(planes => ({ planes }))
    const options = { device: 'auto', dtype, threads: 2, maxBatchRows: 512 } as const
    const native = await binding().loadModel(nextJob(), model, preprocess, options)
    t.teardown(() => native.dispose())
    const both = await native.encodeImage(nextJob(), images, 'embedding', false)
    for (const [i, row] of want.entries()) {
      const got = await native.encodeImage(nextJob(), [images[i]!], 'embedding', false)
      sameBytes(t, got, both.slice(i * row.length, (i + 1) * row.length), `image ${i}`)
      const dot = row.reduce((sum, v, j) => sum + v * got[j]!, 0)
      const cosine = dot / Math.hypot(...row) / Math.hypot(...got)
      t.true(cosine >= { float32: 1 - 1e-9, bfloat16: 0.999, int8: 0.99 }[dtype], `image ${i}: ${cosine}`)
    }
  })
