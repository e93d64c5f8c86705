/** The opt-in comparison itself, on the embedded model: it passes what is the same and fails what is not. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { load } from '../../lib/index.js'
import { goldenPixels } from '../checkpoint/goldens.js'
import { base64, floats } from '../model/golden.js'
import { type Stored, sha256 } from './checkpoints.js'

const model = join(packageRoot, 'models/icon-clip')
const texts = ['a dog', 'an icon of a bicycle']
const images = ['models/icon-clip/examples/dog.png', 'models/icon-clip/examples/guitar.jpg']

/** Outputs of this build itself: what is tested is the comparison, not the model. */
async function stored(): Promise<Stored> {
  await using clip = await load(model)
  const size = clip.info.imageSize!
  const planes = goldenPixels(size).map(data => ({ data, shape: [1, 3, size, size] }))
  const raw = { normalize: false } as const
  const { ids, lengths } = await clip.tokenize(texts)
  const rows = async (e: Promise<Iterable<Float32Array>>) => Array.from(await e, base64)
  const textRows = await rows(clip.encodeText(texts, raw))
  const entry = {
    sha256: await sha256([join(model, 'model.safetensors')]),
    parameters: Object.values((await readCheckpoint(model)).model.tensors).reduce(
      (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
      1,
    ),
    imageSize: size,
    madeBy: 'this build',
    planes: await rows(clip.encodeImage(planes, raw)),
    images: await rows(
      clip.encodeImage(
        images.map(file => join(packageRoot, file)),
        raw,
      ),
    ),
    ids: textRows,
    texts: textRows,
  }
  const context = clip.info.contextLength!
  return {
    images,
    texts,
    ids: texts.map((_, i) => [...ids.subarray(i * context, i * context + lengths[i])]),
    models: { 'some name': entry },
  }
}

function run(expected?: Stored): { status: number | null; out: string } {
  const folder = mkdtempSync(join(tmpdir(), 'clip-full-'))
  symlinkSync(model, join(folder, 'mine'))
  if (expected) writeFileSync(join(folder, 'expected.json'), JSON.stringify(expected))
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(packageRoot, 'dist/test/full/run.js'), folder],
    { encoding: 'utf8' },
  )
  return { status, out: stdout }
}

/** Stored outputs with one value of the first row of `kind` changed. */
function changed(
  from: Stored,
  kind: 'planes' | 'images' | 'ids' | 'texts',
  change: (row: Float32Array) => void,
) {
  const copy = structuredClone(from)
  const entry = copy.models['some name']
  const row = floats(entry[kind][0])
  change(row)
  entry[kind][0] = base64(row)
  return run(copy)
}

test('equal outputs pass, found by the SHA-256 of the weights', async t => {
  const { status, out } = run(await stored())
  t.is(status, 0, out)
  t.regex(out, /\| mine \| .* \| same \|/)
  t.regex(out, /skipped: published value "ViT-B\/32, CLIP\.png: probabilities"/)
})

test('an error of 2e-5 of the length in any output fails, and so does a NaN', async t => {
  const good = await stored()
  for (const kind of ['planes', 'images', 'ids', 'texts'] as const) {
    const { status, out } = changed(good, kind, row => {
      row[0] += 2e-5 * Math.hypot(...row)
    })
    t.is(status, 1)
    t.regex(out, new RegExp(`FAILED: mine: ${kind}: largest difference 0\\.0000(19|2)`))
  }
  const { status, out } = changed(good, 'texts', row => row.fill(Number.NaN))
  t.is(status, 1)
  t.regex(out, /FAILED: mine: texts: largest difference NaN/)
})

test('a run without stored outputs fails and says how to make them', t => {
  const { status, out } = run()
  t.is(status, 1)
  t.regex(out, /skipped: mine: no stored outputs/)
  t.regex(out, /make\.py outputs FOLDER/)
})

test('every stored entry is complete and belongs to a full-size model', t => {
  const { models, ids, texts, images }: Stored = JSON.parse(
    readFileSync(join(packageRoot, 'test/golden/full/expected.json'), 'utf8'),
  )
  for (const name of [
    'RN50.pt',
    'RN50x4.pt',
    'ViT-B-16-hf',
    'ViT-L-14-336-hf-f16',
    'ViT-H-14-openclip-bf16',
    'TinyCLIP-8M-16-Text-3M-hf',
  ])
    t.true(`random-${name}` in models, name)
  for (const [name, entry] of Object.entries(models)) {
    t.true(entry.parameters > (name.includes('TinyCLIP') ? 20e6 : 100e6), name)
    t.regex(entry.sha256, /^[0-9a-f]{64}$/)
    t.is(entry.planes.length, 2)
    t.deepEqual(
      [entry.images.length, entry.ids.length, entry.texts.length],
      [images.length, ids.length, texts.length],
    )
    for (const row of [...entry.planes, ...entry.images, ...entry.ids, ...entry.texts])
      t.true(floats(row).every(Number.isFinite))
  }
})
