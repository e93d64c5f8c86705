/** ConvNeXt in OpenCLIP's layout. golden.test.ts compares its float32 numbers with those of open_clip and timm. */

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError } from '../../lib/base/errors.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'
import type { NativeModel } from '../../lib/native/surface.js'
import { sameBytes } from '../helpers/close.js'
import { normal } from '../helpers/random.js'
import { goldenPath, goldenPixels, goldens } from './goldens.js'

const names = ['openclip-convnext', 'openclip-convnext-xxlarge'] as const

async function open(
  t: ExecutionContext,
  name: string,
  dtype: 'float32' | 'bfloat16' | 'int8',
  threads = 2,
): Promise<NativeModel> {
  const { model, preprocess } = await readCheckpoint(goldenPath(name))
  const options = { device: 'auto', dtype, threads, maxBatchRows: 512 } as const
  const loaded = await binding().loadModel(nextJob(), model, preprocess, options)
  t.teardown(() => loaded.dispose())
  return loaded
}

const dtypes = (['float32', 'bfloat16', 'int8'] as const).filter(dtype =>
  binding()
    .backends()
    .find(({ name }) => binding().active().startsWith(name))
    ?.dtypes.includes(dtype),
)

test('a ConvNeXt is read as the expected model', async t => {
  const { model } = await readCheckpoint(goldenPath('openclip-convnext'))
  t.deepEqual(model.image as object, {
    kind: 'convNext',
    imageSize: 72,
    patchSize: 4,
    stages: [12, 20, 24, 36].map((width, i) => ({ width, layers: i === 1 ? 2 : 1, mlp: 4 * width })),
    layerNormEps: 1e-6,
    headMlp: 48,
  })
  const other = await readCheckpoint(goldenPath('openclip-convnext-xxlarge'))
  t.like(other.model.image, { kind: 'convNext', layerNormEps: 1e-5 })
  t.false('headMlp' in other.model.image!)
})

test('info says that the layer scales are folded into the weights', async t => {
  await using clip = await load(goldenPath('openclip-convnext'), { towers: ['image'] })
  t.deepEqual(clip.info.folded, ['layer scales'])
})

for (const name of names)
  for (const dtype of dtypes)
    test(`${name} in ${dtype} gives an image the same bits in every batch and with every number of threads`, async t => {
      const { imageSize, image: want } = goldens[name]!
      const images = [
        ...goldenPixels(imageSize),
        ...[1, 2, 3].map(seed => normal(seed, 3 * imageSize ** 2)),
      ].map(planes => ({ planes }))
      const all = await (await open(t, name, dtype)).encodeImage(nextJob(), images, 'embedding', false)
      const dim = all.length / images.length
      const single = await open(t, name, dtype, 1)
      for (const i of [0, 4])
        sameBytes(
          t,
          await single.encodeImage(nextJob(), [images[i]!], 'embedding', false),
          all.slice(i * dim, (i + 1) * dim),
          `image ${i}`,
        )
      for (const [i, row] of want.entries()) {
        const got = all.subarray(i * dim, (i + 1) * dim)
        const dot = row.reduce((sum, v, j) => sum + v * got[j]!, 0)
        const cosine = dot / Math.hypot(...row) / Math.hypot(...got)
        t.true(cosine >= { float32: 1 - 1e-9, bfloat16: 0.999, int8: 0.99 }[dtype], `image ${i}: ${cosine}`)
      }
    })

test("'tokens' has a row per pixel of the last feature map, and 'pooled' one per image", async t => {
  const model = await open(t, 'openclip-convnext-xxlarge', 'float32')
  const images = goldenPixels(64).map(planes => ({ planes }))
  const width = 20
  t.is((await model.encodeImage(nextJob(), images, 'tokens', false)).length, 2 * 2 * 2 * width)
  const pooled = await model.encodeImage(nextJob(), images, 'pooled', false)
  t.is(pooled.length, 2 * width)
  const unit = await model.encodeImage(nextJob(), images, 'pooled', true)
  t.true(Math.abs(Math.hypot(...unit.subarray(0, width)) - 1) < 1e-6)
})

const refused: [what: string, key: string, value: unknown][] = [
  ['a pool that is not the mean', 'timm_pool', 'map'],
  ['the projection inside the trunk', 'timm_proj', null],
  ['no projection', 'timm_proj', 'none'],
  ['a trunk that no model has', 'timm_model_name', 'convnextv2_base'],
  ['an image without a pixel in the last stage', 'image_size', 28],
]
for (const [what, key, value] of refused)
  test(`a ConvNeXt with ${what} is refused by name`, async t => {
    const folder = await mkdtemp(join(tmpdir(), 'clip-native-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    await cp(goldenPath('openclip-convnext'), folder, { recursive: true })
    const file = join(folder, 'open_clip_config.json')
    const config = JSON.parse(await readFile(file, 'utf8'))
    config.model_cfg.vision_cfg[key] = value
    await writeFile(file, JSON.stringify(config))
    const error = await t.throwsAsync(readCheckpoint(folder), { instanceOf: ClipError })
    t.is(error?.code, 'ERR_CLIP_CONFIG')
    t.true(error?.message.includes(key), error?.message)
  })
