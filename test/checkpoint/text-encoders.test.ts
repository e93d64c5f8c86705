/**
 * Text towers with an encoder of transformers: XLM-R, RoBERTa and NLLB in OpenCLIP's folders, Chinese-CLIP and AltCLIP in Hugging
 * Face's. golden.test.ts compares their float32 numbers with those of the original libraries on every backend.
 */

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError } from '../../lib/base/errors.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { load } from '../../lib/index.js'
import { nextJob } from '../../lib/native/jobs.js'
import type { NativeModel } from '../../lib/native/surface.js'
import { distance, rowsOf } from '../model/golden.js'
import { encodeIds, loadNative } from '../model/native-model.js'
import { unpacked } from '../tokenizer/files.js'
import { goldenPath, goldens } from './goldens.js'

const names = [
  'openclip-xlm-roberta',
  'openclip-roberta',
  'openclip-nllb',
  'hf-chinese-clip',
  'hf-altclip',
] as const
/** The pad token of each, which the towers do not attend to. */
const padOf = (name: string): number => (name === 'hf-chinese-clip' ? 0 : 1)

async function open(
  t: ExecutionContext,
  folder: string,
  dtype: 'float32' | 'bfloat16' | 'int8' = 'float32',
  device: 'auto' | 'reference' = 'auto',
): Promise<NativeModel> {
  const { model, preprocess } = await readCheckpoint(folder)
  const { image: _, ...text } = model
  const loaded = await loadNative(text, preprocess, { dtype, device })
  t.teardown(() => loaded.dispose())
  return loaded
}

async function copyOf(t: ExecutionContext, name: string): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(copy, { recursive: true, force: true }))
  await cp(goldenPath(name), copy, { recursive: true })
  return copy
}

/** A copy of a golden folder with other values in one of its JSON files. */
async function changed(
  t: ExecutionContext,
  name: string,
  section: readonly string[],
  values: Record<string, unknown>,
): Promise<string> {
  const copy = await copyOf(t, name)
  const file = join(copy, name.startsWith('hf-') ? 'config.json' : 'open_clip_config.json')
  const config = JSON.parse(await readFile(file, 'utf8'))
  Object.assign(
    section.reduce((at, key) => at[key], config),
    values,
  )
  await writeFile(file, JSON.stringify(config))
  return copy
}

interface Entry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

/** A copy of a golden folder with another header of its weights, and `more` bytes at the end of the file. */
async function edited(
  t: ExecutionContext,
  name: string,
  edit: (header: Record<string, Entry>, end: number) => Record<string, Entry>,
  more = 0,
): Promise<string> {
  const copy = await copyOf(t, name)
  const file = join(copy, name.startsWith('hf-') ? 'model.safetensors' : 'open_clip_model.safetensors')
  const bytes = await readFile(file)
  const length = Number(bytes.readBigUInt64LE(0))
  const values = bytes.subarray(8 + length)
  const header = edit(JSON.parse(bytes.toString('utf8', 8, 8 + length)), values.length)
  const text = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  await writeFile(file, Buffer.concat([size, text, values, Buffer.alloc(more)]))
  return copy
}

test('the checkpoints are read as the expected models', async t => {
  const textOf = async (name: string) => (await readCheckpoint(goldenPath(name))).model.text
  const roberta = {
    embed: { kind: 'tokens', contextLength: 12, maskedId: 1 },
    preNorm: true,
    mask: 'full',
    blocks: { width: 64, heads: 1, activation: 'gelu', layerNormEps: 1e-5, postNorm: true },
    pool: 'mean',
    finalNorm: false,
    project: 'mlp',
    projectionMlp: { hidden: 52, activation: 'gelu' },
  } as const
  t.like(await textOf('openclip-xlm-roberta'), roberta)
  t.like(await textOf('openclip-roberta'), roberta)
  t.like(await textOf('openclip-nllb'), {
    embed: { kind: 'tokens', contextLength: 12, maskedId: 1, tokenScale: Math.sqrt(128), sinusoid: 2 },
    preNorm: false,
    blocks: { width: 128, heads: 2, activation: 'relu', layerNormEps: 1e-5 },
    pool: 'first',
    project: 'matrix',
  })
  t.like(await textOf('hf-chinese-clip'), {
    embed: { kind: 'tokens', contextLength: 12, maskedId: 0 },
    preNorm: true,
    blocks: { width: 48, heads: 2, activation: 'gelu', layerNormEps: 1e-12, postNorm: true },
    pool: 'first',
    finalNorm: false,
    project: 'matrix',
  })
  t.like(await textOf('hf-altclip'), {
    // Fourteen positions, of which the first two belong to no token.
    embed: { kind: 'tokens', contextLength: 12, maskedId: 1 },
    blocks: { layerNormEps: 1e-5, postNorm: true },
    pool: 'first',
    project: 'mlp',
    projectionMlp: { hidden: 56, activation: 'none' },
  })
})

for (const name of names) {
  test(`a text has the same bits in every batch, with and without pads: ${name}`, async t => {
    const { texts } = goldens[name]!
    const pad = padOf(name)
    const filled = texts.map(ids => [...ids, ...new Array<number>(12 - ids.length).fill(pad)])
    for (const device of ['auto', 'reference'] as const)
      for (const dtype of ['float32', 'bfloat16', 'int8'] as const) {
        const model = await open(t, goldenPath(name), dtype, device)
        const { width } = model.shapes.text!
        for (const [output, columns] of [
          ['embedding', model.shapes.embedDim],
          ['pooled', width],
        ] as const) {
          const together = rowsOf(
            await encodeIds(model, [...texts, ...[...texts].reverse()], output),
            columns,
          )
          const padded = rowsOf(await encodeIds(model, filled, output), columns)
          for (const [i, text] of texts.entries()) {
            const alone = await encodeIds(model, [text], output)
            t.deepEqual(together[i], alone, `${device} ${dtype} ${output} ${i}`)
            t.deepEqual(together[5 - i], alone, `${device} ${dtype} ${output} ${i} again`)
            t.deepEqual(padded[i], alone, `${device} ${dtype} ${output} ${i} with pads`)
          }
        }
      }
  })

  for (const [dtype, least] of [
    ['bfloat16', 0.999],
    ['int8', 0.99],
  ] as const)
    test(`${name} in ${dtype} is near the original's embeddings`, async t => {
      const model = await open(t, goldenPath(name), dtype)
      const { texts, text } = goldens[name]!
      const rows = rowsOf(await encodeIds(model, texts), model.shapes.embedDim)
      for (const [i, want] of text.entries()) {
        const { cosine } = distance(rows[i]!, want)
        t.true(cosine >= least, `text ${i}: ${cosine}`)
      }
    })

  test(`${name} with its tokenizer: texts have the embeddings of the original library`, async t => {
    const { folder, remove } = unpacked(goldens[name]!.vocabulary!)
    t.teardown(remove)
    await cp(goldenPath(name), folder, { recursive: true })
    const clip = await load(folder)
    t.teardown(() => clip.dispose())
    const { strings, stringText } = goldens[name]!
    const got = await clip.encodeText(strings!, { truncate: true })
    for (const [r, want] of stringText!.entries()) {
      const { maxAbs } = distance(got.row(r), want)
      t.true(maxAbs <= 1e-5, `${JSON.stringify(strings![r])}: ${maxAbs}`)
    }
    t.deepEqual(clip.info.folded, [
      name === 'openclip-nllb' ? 'the scale of the token embeddings' : 'the type of the tokens',
    ])
    t.regex(clip.info.tokenizer ?? '', /^(XLMRoberta|Roberta|Nllb|Bert)Tokenizer$/)
  })

  test(`a text of nothing but pads is refused: ${name}`, async t => {
    const model = await open(t, goldenPath(name))
    const pad = padOf(name)
    const error = await t.throwsAsync(encodeIds(model, [goldens[name]!.texts[0]!, [pad, pad]]), {
      instanceOf: TypeError,
    })
    t.like(error, { code: 'ERR_CLIP_INPUT', field: 'ids' })
    t.regex(error?.message ?? '', /text 1/)
  })
}

test("RoBERTa's pooled row is the mean of its tokens, Chinese-CLIP's the first of them", async t => {
  for (const name of ['openclip-xlm-roberta', 'hf-chinese-clip']) {
    const model = await open(t, goldenPath(name))
    const { width } = model.shapes.text!
    for (const text of goldens[name]!.texts) {
      const one = [Int32Array.from(text), Int32Array.of(text.length)] as const
      const tokens = rowsOf(await model.encodeText(nextJob(), ...one, 'tokens', false), width)
      t.is(tokens.length, text.length)
      const pooled = await model.encodeText(nextJob(), ...one, 'pooled', false)
      if (name === 'hf-chinese-clip') t.deepEqual(pooled, tokens[0])
      else
        for (const [i, v] of pooled.entries()) {
          const mean = tokens.reduce((sum, row) => sum + row[i]!, 0) / tokens.length
          t.true(Math.abs(v - mean) < 1e-5, `${i}: ${v}, ${mean}`)
        }
    }
  }
})

test("AltCLIP's image tower is read under both of its names", async t => {
  const folder = await edited(t, 'hf-altclip', header =>
    Object.fromEntries(
      Object.entries(header).map(([key, value]) => [
        key.replace('vision_model.encoder.layer.', 'vision_model.encoder.layers.'),
        value,
      ]),
    ),
  )
  const fingerprints = await Promise.all(
    [folder, goldenPath('hf-altclip')].map(async one => {
      const clip = await load(one, { towers: ['image'] })
      t.teardown(() => clip.dispose())
      return clip.info.fingerprint
    }),
  )
  t.is(fingerprints[0], fingerprints[1])
})

test('buffers and the layer of the pooler that older files have do not matter', async t => {
  for (const [name, prefix, tensor] of [
    ['hf-chinese-clip', 'text_model.', 'pooler.dense.weight'],
    ['hf-altclip', 'text_model.roberta.', 'pooler.dense.bias'],
    ['openclip-xlm-roberta', 'text.transformer.', 'embeddings.position_ids'],
    ['openclip-nllb', 'text.transformer.', 'embed_positions.weights'],
  ] as const) {
    const withMore = (added: string) =>
      edited(
        t,
        name,
        (header, end) => ({
          ...header,
          [`${prefix}${added}`]: { dtype: 'F32', shape: [4], data_offsets: [end, end + 16] },
        }),
        16,
      )
    await t.notThrowsAsync(readCheckpoint(await withMore(tensor)))
    // Any other tensor of the encoder is refused.
    const error = await t.throwsAsync(readCheckpoint(await withMore('adapter.weight')), {
      instanceOf: ClipError,
    })
    t.is(error?.field, `${prefix}adapter.weight`)
  }
})

const text = ['model_cfg', 'text_cfg']
const refused: [
  what: string,
  name: (typeof names)[number],
  section: string[],
  values: object,
  named: RegExp,
][] = [
  [
    'another encoder',
    'openclip-roberta',
    text,
    { hf_model_name: 'google/mt5-base' },
    /hf_model_name.*mt5-base/,
  ],
  ["BERT's pooler", 'openclip-roberta', text, { hf_pooler_type: 'cls_pooler' }, /hf_pooler_type/],
  ['an unknown pooler', 'openclip-nllb', text, { hf_pooler_type: 'max_pooler' }, /hf_pooler_type/],
  ['an unknown projection', 'openclip-nllb', text, { hf_proj_type: 'conv' }, /hf_proj_type/],
  ['no projection', 'openclip-nllb', text, { hf_proj_type: null }, /128 wide.*no projection/],
  ['another projection', 'openclip-nllb', text, { hf_proj_type: 'mlp' }, /text\.proj\.0\.weight/],
  ['a longer context', 'openclip-roberta', text, { context_length: 15 }, /context of 15.*17 positions.*16/],
  ['a context without end', 'openclip-nllb', text, { context_length: 5000 }, /contextLength/],
  ['no name of the encoder', 'openclip-roberta', text, { hf_model_name: '' }, /hf_model_name/],
  ['another pad token', 'hf-altclip', ['text_config'], { pad_token_id: 5 }, /pad_token_id/],
  ['another activation', 'hf-chinese-clip', ['text_config'], { hidden_act: 'relu' }, /hidden_act/],
  ['another width', 'hf-altclip', ['text_config'], { project_dim: 55 }, /project_dim/],
  ['another class', 'hf-altclip', [], { architectures: ['AltCLIPVisionModel'] }, /AltCLIPModel/],
]
for (const [what, name, section, values, named] of refused)
  test(`${name} with ${what} is refused by name`, async t => {
    const folder = await changed(t, name, section, values as Record<string, unknown>)
    const error = await t.throwsAsync(open(t, folder), { instanceOf: ClipError })
    t.regex(error?.code ?? '', /^ERR_CLIP_(CONFIG|CHECKPOINT)$/)
    t.regex(error?.message ?? '', named)
  })

test("a configuration that names an encoder is refused where the weights have OpenCLIP's own text tower", async t => {
  const folder = await changed(t, 'openclip-custom', ['model_cfg', 'text_cfg'], {
    hf_model_name: 'roberta-base',
  })
  const error = await t.throwsAsync(readCheckpoint(folder), { instanceOf: ClipError })
  t.like(error, { code: 'ERR_CLIP_CONFIG', field: 'model_cfg.text_cfg.hf_model_name' })
})

test('weights without a configuration are refused, and the file that is missing is named', async t => {
  for (const [name, file, missing] of [
    ['hf-chinese-clip', 'model.safetensors', 'config.json'],
    ['hf-altclip', 'model.safetensors', 'config.json'],
    ['openclip-roberta', 'open_clip_model.safetensors', 'open_clip_config.json'],
  ] as const) {
    const copy = await mkdtemp(join(tmpdir(), 'clip-native-'))
    t.teardown(() => rm(copy, { recursive: true, force: true }))
    await cp(join(goldenPath(name), file), join(copy, file))
    const error = await t.throwsAsync(readCheckpoint(join(copy, file), { heads: 2, activation: 'gelu' }), {
      instanceOf: ClipError,
    })
    t.like(error, { code: 'ERR_CLIP_CONFIG', field: missing })
  }
})

test('without its tokenizer, the text tower is refused, and the repository that has it is named', async t => {
  for (const [name, named] of [
    ['openclip-xlm-roberta', /"xlm-roberta-base"/],
    ['openclip-roberta', /"roberta-base"/],
    ['openclip-nllb', /"facebook\/nllb-200-distilled-600M"/],
  ] as const) {
    const error = await t.throwsAsync(load(goldenPath(name)), { instanceOf: ClipError })
    t.like(error, { code: 'ERR_CLIP_CONFIG', field: 'model_cfg.text_cfg.hf_tokenizer_name' })
    t.regex(error?.message ?? '', named)
    t.regex(error?.message ?? '', /copy tokenizer\.json/)
  }
})
