/**
 * bfloat16 and int8 against float32 (DESIGN.md, section 4): how far embeddings move, how many held-out images get
 * another answer, and the same bytes in every batch.
 */

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import type { Dtype } from '../../lib/base/dtypes.js'
import { packageRoot } from '../../lib/base/package.js'
import { type Clip, devices, type Embeddings, load } from '../../lib/index.js'
import { sample } from '../helpers/patience.js'
import { randomBytes } from '../helpers/random.js'
import { testData } from '../helpers/test-data.js'
import { writeTinyModel } from '../helpers/tiny-model.js'
import { distance, floats } from './golden.js'
import type { WholeModel } from './whole-model.js'

const dtypes = ['bfloat16', 'int8'] as const
const least = { bfloat16: 0.9999, int8: 0.99 }

function worst(got: Embeddings, want: Embeddings): number {
  if (want.data.length !== got.data.length) return Number.NaN
  let cosine = 1
  for (let i = 0; i < want.shape[0]; i++) cosine = Math.min(cosine, distance(got.row(i), want.row(i)).cosine)
  return cosine
}

for (const dtype of dtypes)
  test(`the embedded model in ${dtype} is near float32 on the held-out images`, async t => {
    const lines = (await readFile(join(testData, 'heldout.csv'), 'utf8')).trim().split('\n').slice(1)
    const all = lines.map(line => line.split(',') as [string, string, string])
    const members = sample(all)
    const files = members.map(([file]) => join(testData, file))
    await using wide = await load()
    await using narrow = await load(undefined, { dtype })
    t.is(narrow.info.dtype, dtype)
    const [a, b] = [await wide.encodeImage(files), await narrow.encodeImage(files)]
    const images = worst(b, a)
    t.true(images >= least[dtype], `images: ${images}`)

    let same = 0
    let texts = 1
    for (const set of new Set(members.map(([, , set]) => set))) {
      const labels = [...new Set(all.flatMap(([, label, s]) => (s === set ? [label] : [])))]
      const answers = async (clip: Clip, embeddings: Embeddings) => {
        const { embeddings: classes } = await clip.classifier(labels, { templates: 'an icon of {}' })
        const scores = await clip.similarity(embeddings, classes, { as: 'logit' })
        return { classes, best: Array.from(scores, row => row.indexOf(Math.max(...row))) }
      }
      const [want, got] = [await answers(wide, a), await answers(narrow, b)]
      texts = Math.min(texts, worst(got.classes, want.classes))
      members.forEach(([, , s], i) => {
        if (s === set && want.best[i] === got.best[i]) same++
      })
    }
    t.true(texts >= least[dtype], `texts: ${texts}`)
    t.true(same >= 0.99 * members.length, `${same} of ${members.length} answers`)
    t.log(
      `least cosine ${images.toFixed(6)} (images), ${texts.toFixed(6)} (texts); ${same} of ${members.length} answers the same`,
    )
  })

// The widths of ViT-B/32's image tower on random weights, three blocks of it.
test.serial('three blocks of a random ViT-B/32 are near float32 in bfloat16 and int8', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'clip-native-dtypes-'))
  try {
    const shape = { width: 768, layers: 3, heads: 12, imageSize: 224, patchSize: 32, vocabSize: 49408 }
    await writeTinyModel(folder, shape)
    const images = [1, 2, 3].map(seed => ({
      data: randomBytes(seed, 224 * 224 * 3),
      width: 224,
      height: 224,
      channels: 3 as const,
    }))
    const texts = ['a dog', 'a photograph of a very small and quiet harbour at night']
    await using wide = await load(folder)
    for (const dtype of dtypes) {
      await using narrow = await load(folder, { dtype })
      const image = worst(await narrow.encodeImage(images), await wide.encodeImage(images))
      const text = worst(await narrow.encodeText(texts), await wide.encodeText(texts))
      const bound = dtype === 'bfloat16' ? 0.999 : 0.99
      t.true(image >= bound && text >= bound, `${dtype}: ${image}, ${text}`)
      t.log(`${dtype}: ${image.toFixed(6)} (images), ${text.toFixed(6)} (texts)`)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})

const resnets = ['openclip-resnet', 'openai-resnet.pt']
for (const name of resnets)
  test(`${name} is near float32 in bfloat16 and int8`, async t => {
    const file = join(packageRoot, 'test', 'golden', 'checkpoint', name)
    await using wide = await load(file, { towers: ['image'] })
    const imageSize = wide.info.imageSize!
    const images = [1, 2, 3].map(seed => ({
      data: randomBytes(seed, imageSize * imageSize * 3),
      width: imageSize,
      height: imageSize,
      channels: 3 as const,
    }))
    for (const dtype of dtypes) {
      await using narrow = await load(file, { towers: ['image'], dtype })
      const all = await narrow.encodeImage(images)
      const cosine = worst(all, await wide.encodeImage(images))
      t.true(cosine >= (dtype === 'bfloat16' ? 0.999 : 0.99), `${dtype}: ${cosine}`)
      t.deepEqual((await narrow.encodeImage(images[2]!)).row(0), all.row(2), 'alone')
      t.log(`${dtype}: ${cosine.toFixed(6)}`)
    }
  })

const script = join(packageRoot, 'dist', 'test', 'model', 'whole-model.js')
async function runOn(backend: string, dtype: Dtype): Promise<WholeModel> {
  const env = { ...process.env, CLIP_NATIVE_BACKEND: backend, CLIP_NATIVE_CPU_FEATURES: '' }
  const args = [script, backend === 'reference' ? 'reference' : 'auto', dtype]
  const { stdout } = await promisify(execFile)(process.execPath, args, { env, maxBuffer: 1 << 28 })
  return JSON.parse(stdout)
}

const backends = devices().flatMap(device => device.backends.filter(b => b.available))
for (const { name, dtypes: runs } of backends)
  for (const dtype of dtypes.filter(d => runs.includes(d)))
    test.serial(`${name} in ${dtype} gives the same bytes in every batch, and is near float32`, async t => {
      const { images, texts, again, backend } = await runOn(name, dtype)
      t.is(backend.split('+')[0], name)
      for (const [how, other] of Object.entries(again)) {
        t.deepEqual(
          other.images,
          images.slice(0, 10).map(i => i.normalised),
          `images ${how}`,
        )
        t.deepEqual(
          other.texts,
          texts.slice(0, 10).map(i => i.normalised),
          `texts ${how}`,
        )
      }
      t.is(Object.keys(again).length, 6)
      const wide = await wideModel()
      for (const side of ['images', 'texts'] as const)
        for (const [i, entry] of (side === 'images' ? images : texts).entries()) {
          const { cosine } = distance(floats(entry.embedding), floats(wide[side][i]!.embedding))
          t.true(cosine >= least[dtype], `${side} ${i}: ${cosine}`)
        }
    })

let wide: Promise<WholeModel> | undefined
function wideModel(): Promise<WholeModel> {
  wide ??= runOn('', 'float32')
  return wide
}
