/**
 * Towers whose queries and keys are rotated: Perception Encoder (PE-Core) and EVA-02. golden.test.ts compares their float32
 * numbers with those of open_clip and timm.
 */

import { readFileSync } from 'node:fs'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError } from '../../lib/base/errors.js'
import { fingerprintOf } from '../../lib/checkpoint/fingerprint.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'
import type { ModelSpec } from '../../lib/native/spec.js'
import type { NativeModel } from '../../lib/native/surface.js'
import { goldenPath, goldenPixels, goldens } from './goldens.js'
import { readTensors, renamed, type Stored, safetensors } from './torch-files.js'

const names = ['openclip-pe', 'openclip-eva02'] as const

async function open(
  t: ExecutionContext,
  name: string,
  dtype: 'float32' | 'bfloat16' | 'int8' = 'float32',
  change: (image: Extract<ModelSpec['image'], { kind: 'transformer' }>) => void = () => undefined,
): Promise<NativeModel> {
  const { model, preprocess } = await readCheckpoint(goldenPath(name))
  if (model.image?.kind !== 'transformer') throw new Error(`${name} has another image tower`)
  change(model.image)
  const options = { device: 'auto', dtype, threads: 2, maxBatchRows: 512 } as const
  const loaded = await binding().loadModel(nextJob(), model, preprocess, options)
  t.teardown(() => loaded.dispose())
  return loaded
}

const imagesOf = (name: string) => goldenPixels(goldens[name]!.imageSize).map(planes => ({ planes }))
const rowsOf = (data: Float32Array, rows: number) =>
  Array.from({ length: rows }, (_, r) => data.slice((r * data.length) / rows, ((r + 1) * data.length) / rows))

function cosine(row: Float32Array, want: number[]): number {
  const norm = (v: ArrayLike<number>) => Math.sqrt(Array.from(v).reduce((sum, x) => sum + x * x, 0))
  return row.reduce((sum, v, i) => sum + v * want[i]!, 0) / norm(row) / norm(want)
}

test('PE-Core is read as the expected model', async t => {
  const { model, preprocess } = await readCheckpoint(goldenPath('openclip-pe'))
  t.like(model.image, {
    embed: {
      ...{ kind: 'patches', imageSize: 51, patchSize: 16, classToken: true },
      rope: { offset: 1, reference: 3, first: 'column' },
    },
    preNorm: true,
    blocks: { width: 64, heads: 1, mlp: 80, activation: 'gelu', layerNormEps: 1e-5 },
    pool: 'attention',
    attentionPool: { heads: 8, mlp: 96 },
    project: 'matrix',
  })
  t.like(model.text, { mask: 'causal', pool: 'argmax' })
  t.like(preprocess, { size: 51, interpolation: 'bilinear', mode: 'squash', mean: [0.5, 0.5, 0.5] })
})

test('info says what is folded in PE-Core, and its scoring rule', async t => {
  const clip = await load(goldenPath('openclip-pe'), { towers: ['image'] })
  t.teardown(() => clip.dispose())
  t.like(clip.info, {
    ...{ family: 'openclip', scoring: 'softmax', logitBias: 0, imageSize: 51 },
    folded: ['the query of the attention pool'],
  })
})

test('the rotation and the gate are part of the fingerprint', async t => {
  const of = async (change: (image: Extract<ModelSpec['image'], { kind: 'transformer' }>) => void) => {
    const checkpoint = await readCheckpoint(goldenPath('openclip-eva02'))
    if (checkpoint.model.image?.kind === 'transformer') change(checkpoint.model.image)
    return fingerprintOf(checkpoint, { image: 'i', text: 't' })
  }
  const all = await Promise.all([
    of(() => undefined),
    of(({ embed }) => Object.assign(embed.rope!, { offset: 1 })),
    of(({ embed }) => Object.assign(embed.rope!, { reference: 3 })),
    of(({ embed }) => Object.assign(embed.rope!, { first: 'column' })),
    of(({ embed }) => Object.assign(embed, { rope: undefined })),
    of(({ blocks }) => Object.assign(blocks, { gate: 'gelu' })),
  ])
  t.is(new Set(all).size, all.length)
})

test('EVA-02 is read as the expected model', async t => {
  const { model } = await readCheckpoint(goldenPath('openclip-eva02'))
  t.like(model.image, {
    embed: { classToken: true, rope: { offset: 0, reference: 16, first: 'row' } },
    preNorm: false,
    blocks: { width: 64, mlp: 85, layerNormEps: 1e-6, gate: 'silu', innerNorms: true },
    pool: 'first',
    project: 'matrix',
  })
  t.false('image.blocks.0.key.bias' in model.tensors)
})

for (const name of names) {
  test(`an image has the same bits in every batch: ${name}`, async t => {
    const images = imagesOf(name)
    const many = [0, 1, 1, 0, 1].map(i => images[i]!)
    for (const dtype of ['float32', 'bfloat16', 'int8'] as const) {
      const model = await open(t, name, dtype)
      for (const output of ['embedding', 'pooled', 'tokens'] as const) {
        const together = rowsOf(await model.encodeImage(nextJob(), many, output, false), 5)
        for (const [i, image] of many.entries())
          t.deepEqual(await model.encodeImage(nextJob(), [image], output, false), together[i], output)
      }
    }
  })

  for (const [dtype, least] of [
    ['bfloat16', 0.999],
    ['int8', 0.99],
  ] as const)
    test(`${name} in ${dtype} is near the original's embeddings`, async t => {
      const model = await open(t, name, dtype)
      const { image, text, texts } = goldens[name]!
      const ids = Int32Array.from(texts.flat())
      const lengths = Int32Array.from(texts.map(one => one.length))
      for (const [data, want] of [
        [await model.encodeImage(nextJob(), imagesOf(name), 'embedding', false), image],
        [await model.encodeText(nextJob(), ids, lengths, 'embedding', false), text],
      ] as const)
        for (const [i, row] of rowsOf(data, want.length).entries())
          t.true(cosine(row, want[i]!) >= least, `row ${i}: ${cosine(row, want[i]!)}`)
    })

  test(`the offset, the reference and the axis of the rotation change the embeddings of ${name}`, async t => {
    const difference = async (model: NativeModel) => {
      const rows = rowsOf(await model.encodeImage(nextJob(), imagesOf(name), 'embedding', true), 2)
      const norms = goldens[name]!.image.map(row => Math.hypot(...row))
      return Math.max(
        ...goldens[name]!.image.flatMap((row, r) =>
          row.map((v, i) => Math.abs(v / norms[r]! - rows[r]![i]!)),
        ),
      )
    }
    const right = await difference(await open(t, name))
    t.true(right <= 1e-5, `${right}`)
    const other = name === 'openclip-pe' ? 'row' : 'column'
    for (const change of [{ offset: 3 }, { reference: 5 }, { first: other } as const]) {
      const changed = await open(t, name, 'float32', ({ embed }) => Object.assign(embed.rope!, change))
      const wrong = await difference(changed)
      t.true(wrong > 1e-4, `${JSON.stringify(change)}: ${wrong}`)
    }
  })
}

/** A copy of a golden folder with other tensors. */
async function rewritten(
  t: ExecutionContext,
  name: string,
  change: (tensors: Map<string, Stored>) => Map<string, Stored>,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await cp(goldenPath(name), folder, { recursive: true })
  const file = join(folder, 'open_clip_model.safetensors')
  await writeFile(file, safetensors(change(readTensors(readFileSync(file)))))
  return folder
}

test('a norm or a gate that is missing in EVA-02 is named', async t => {
  for (const part of ['attn.norm.weight', 'mlp.norm.bias', 'mlp.fc1_g.weight']) {
    const missing = `visual.trunk.blocks.1.${part}`
    const folder = await rewritten(
      t,
      'openclip-eva02',
      tensors => new Map([...tensors].filter(([name]) => name !== missing)),
    )
    const error = await t.throwsAsync(load(folder, { towers: ['image'] }), { instanceOf: ClipError })
    t.like(error, { code: 'ERR_CLIP_CHECKPOINT', field: missing })
  }
})

test('a tensor that EVA-02 does not have is refused by name', async t => {
  const folder = await rewritten(t, 'openclip-eva02', tensors =>
    renamed(tensors, name => name.replace('blocks.0.attn.q_proj.bias', 'blocks.0.attn.k_proj.bias')),
  )
  const error = await t.throwsAsync(load(folder, { towers: ['image'] }), { instanceOf: ClipError })
  t.regex(error?.message ?? '', /visual\.trunk\.blocks\.0\.attn\.[qk]_proj\.bias/)
})

test('what the native tower can not compute is refused by name', async t => {
  for (const [change, field] of [
    [
      (image: object) => Object.assign(image, { blocks: { ...imageBlocks(image), innerNorms: false } }),
      /innerNorms/,
    ],
    [(image: object) => Object.assign(image, { blocks: { ...imageBlocks(image), heads: 32 } }), /heads/],
  ] as const)
    await t.throwsAsync(open(t, 'openclip-eva02', 'float32', change), { message: field })
})
const imageBlocks = (image: object) => (image as { blocks: object }).blocks
