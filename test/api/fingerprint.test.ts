/** The fingerprint names the values of the weights and the configuration, not the file. */

import { mkdtempSync, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { ClipError, type LoadOptions, load } from '../../lib/index.js'
import { goldenFolder } from '../checkpoint/goldens.js'
import { readTensors, type Stored, safetensors, savedDict, savedModule } from '../checkpoint/torch-files.js'

const scratch = mkdtempSync(join(tmpdir(), 'clip-native-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

const plain = readTensors(readFileSync(join(goldenFolder, 'trained', 'plain.safetensors')))
const said: LoadOptions = { activation: 'quickGelu', heads: 1 }

async function nameOf(source: string, options: LoadOptions = {}): Promise<string> {
  const clip = await load(source, { towers: ['image'], threads: 1, ...options })
  await clip.dispose()
  return clip.info.fingerprint
}

const part = ({ dtype, shape, data }: Stored, i: number): Stored => ({
  dtype,
  shape: [shape[0]! / 3, ...shape.slice(1)],
  data: data.subarray((i * data.length) / 3, ((i + 1) * data.length) / 3),
})

function transposed({ dtype, shape, data }: Stored): Stored {
  const [rows, columns] = shape as [number, number]
  const out = Buffer.alloc(data.length)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      out.writeFloatLE(data.readFloatLE(4 * (r * columns + c)), 4 * (c * rows + r))
  return { dtype, shape: [columns, rows], data: out }
}

/** The same weights by transformers' names. */
function huggingFace(): Map<string, Stored> {
  const out = new Map<string, Stored>()
  const blocks = (from: string, to: string, name: string, value: Stored) => {
    const inner = name.slice(`${from}.resblocks.0.`.length)
    const layer = `${to}.encoder.layers.0`
    const attention = /^attn\.in_proj_(weight|bias)$/.exec(inner)?.[1]
    if (attention)
      for (const [i, which] of ['q', 'k', 'v'].entries())
        out.set(`${layer}.self_attn.${which}_proj.${attention}`, part(value, i))
    else
      out.set(
        `${layer}.${inner
          .replace('ln_1', 'layer_norm1')
          .replace('ln_2', 'layer_norm2')
          .replace('attn.', 'self_attn.')
          .replace('c_fc', 'fc1')
          .replace('c_proj', 'fc2')}`,
        value,
      )
  }
  const names: Record<string, string> = {
    logit_scale: 'logit_scale',
    positional_embedding: 'text_model.embeddings.position_embedding.weight',
    'token_embedding.weight': 'text_model.embeddings.token_embedding.weight',
    'ln_final.weight': 'text_model.final_layer_norm.weight',
    'ln_final.bias': 'text_model.final_layer_norm.bias',
    'visual.class_embedding': 'vision_model.embeddings.class_embedding',
    'visual.positional_embedding': 'vision_model.embeddings.position_embedding.weight',
    'visual.conv1.weight': 'vision_model.embeddings.patch_embedding.weight',
    'visual.ln_pre.weight': 'vision_model.pre_layrnorm.weight',
    'visual.ln_pre.bias': 'vision_model.pre_layrnorm.bias',
    'visual.ln_post.weight': 'vision_model.post_layernorm.weight',
    'visual.ln_post.bias': 'vision_model.post_layernorm.bias',
  }
  for (const [name, value] of plain)
    if (names[name]) out.set(names[name], value)
    else if (name === 'text_projection') out.set('text_projection.weight', transposed(value))
    else if (name === 'visual.proj') out.set('visual_projection.weight', transposed(value))
    else if (name.startsWith('visual.transformer.')) blocks('visual.transformer', 'vision_model', name, value)
    else if (name.startsWith('transformer.')) blocks('transformer', 'text_model', name, value)
  return out
}

const tower = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 1, hidden_act: 'quick_gelu' }
const config = {
  architectures: ['CLIPModel'],
  model_type: 'clip',
  projection_dim: 4,
  vision_config: { ...tower, intermediate_size: 16, image_size: 16, patch_size: 8 },
  text_config: {
    ...tower,
    intermediate_size: 32,
    vocab_size: 20,
    max_position_embeddings: 6,
    eos_token_id: 19,
  },
}
const processor = { size: 16, crop_size: 16, image_processor_type: 'CLIPImageProcessor' }
const openclip = {
  model_cfg: {
    embed_dim: 4,
    quick_gelu: true,
    vision_cfg: { image_size: 16, patch_size: 8, width: 8, layers: 1, head_width: 8, mlp_ratio: 2 },
    text_cfg: { context_length: 6, vocab_size: 20, width: 8, heads: 1, layers: 1 },
  },
}

let folders = 0
async function folder(files: Record<string, Buffer | object>): Promise<string> {
  const path = join(scratch, String(++folders))
  await mkdir(path)
  for (const [name, content] of Object.entries(files))
    await writeFile(join(path, name), Buffer.isBuffer(content) ? content : JSON.stringify(content))
  return path
}

const int64 = (n: number): Stored => {
  const data = Buffer.alloc(8)
  data.writeBigInt64LE(BigInt(n))
  return { dtype: 'I64', shape: [], data }
}
const archived = new Map([
  ...plain,
  ['input_resolution', int64(16)],
  ['context_length', int64(6)],
  ['vocab_size', int64(20)],
])

test('five layouts of the same weights have one fingerprint', async t => {
  const hf = huggingFace()
  t.is(hf.size, 14 + 2 * 16, 'every tensor has a name')
  const preprocessor = { 'preprocessor_config.json': processor }
  const names = {
    "transformers' safetensors": await nameOf(
      await folder({ 'config.json': config, 'model.safetensors': safetensors(hf), ...preprocessor }),
    ),
    "transformers' .bin": await nameOf(
      await folder({ 'config.json': config, 'pytorch_model.bin': savedDict(hf), ...preprocessor }),
    ),
    OpenCLIP: await nameOf(
      await folder({ 'open_clip_config.json': openclip, 'open_clip_model.safetensors': safetensors(plain) }),
    ),
    "OpenAI's archive": await nameOf(join(await folder({ 'model.pt': savedModule(archived) }), 'model.pt'), {
      heads: 1,
    }),
    'a training checkpoint': await nameOf(
      join(await folder({ 'epoch_1.pt': savedDict(plain, 'state_dict') }), 'epoch_1.pt'),
      said,
    ),
  }
  t.deepEqual([...new Set(Object.values(names))].length, 1, JSON.stringify(names, undefined, 1))
  t.regex(Object.values(names)[0]!, /^[0-9a-f]{32}$/)
})

const single = async (tensors: Map<string, Stored>) =>
  join(await folder({ 'model.safetensors': safetensors(tensors) }), 'model.safetensors')

test('changing one bit of any weight of either tower changes the fingerprint', async t => {
  const seen = new Map([[await nameOf(await single(plain), said), 'plain']])
  for (const [name, value] of plain) {
    if (name === 'attn_mask') continue
    const data = Buffer.from(value.data)
    data[data.length - 4]! ^= 1
    const changed = await nameOf(await single(new Map([...plain, [name, { ...value, data }]])), said)
    t.is(seen.get(changed), undefined, name)
    seen.set(changed, name)
  }
  // The same values in another order.
  const bias = plain.get('visual.ln_pre.bias')!
  const swapped = Buffer.concat([bias.data.subarray(4, 8), bias.data.subarray(0, 4), bias.data.subarray(8)])
  const exchanged = new Map([...plain, ['visual.ln_pre.bias', { ...bias, data: swapped }] as const])
  t.is(seen.get(await nameOf(await single(exchanged), said)), undefined)
})

test('every setting of the configuration that affects results changes the fingerprint', async t => {
  const file = await single(plain)
  const weights = { 'open_clip_model.safetensors': safetensors(plain) }
  const all = [
    await nameOf(file, said),
    await nameOf(file, { ...said, activation: 'gelu' }),
    await nameOf(file, { ...said, heads: { image: 2, text: 1 } }),
    await nameOf(
      await folder({
        ...weights,
        'open_clip_config.json': { ...openclip, preprocess_cfg: { mean: [0.5, 0.5, 0.5] } },
      }),
    ),
    await nameOf(
      await folder({
        ...weights,
        'open_clip_config.json': { ...openclip, preprocess_cfg: { resize_mode: 'squash' } },
      }),
    ),
  ]
  t.is(new Set(all).size, all.length)
})

test('loading one tower, a cache of packed weights, the dtype and threads do not change the fingerprint', async t => {
  const cacheDir = join(scratch, 'cache')
  const open = async (options: LoadOptions) => {
    const clip = await load(undefined, { cacheDir, ...options })
    await clip.dispose()
    return { name: clip.info.fingerprint, use: clip.info.packCache }
  }
  const { name } = await open({})
  for (const options of [
    { towers: ['image'] },
    { towers: ['text'] },
    { threads: 1 },
    { dtype: 'bfloat16' },
    { dtype: 'int8' },
    { device: 'reference', towers: ['image'] },
  ] as const)
    t.is((await open(options)).name, name, JSON.stringify(options))
  for (const towers of [undefined, ['image'], ['text']] as const)
    for (const use of ['written', 'mapped'] as const)
      t.deepEqual(await open({ packCache: true, ...(towers ? { towers } : {}) }), { name, use })
})

test('a store opens with the same weights in another layout, and is refused with other weights', async t => {
  const store = join(scratch, 'store')
  const made = await load(
    await folder({ 'open_clip_config.json': openclip, 'open_clip_model.safetensors': safetensors(plain) }),
    { towers: ['image'] },
  )
  const first = await made.openStore(store, { create: true })
  await first.add([join(packageRoot, 'test/golden/image/files', 'rgb.png')]).catch(() => undefined)
  await first.close()
  await made.dispose()
  const other = await load(join(await folder({ 'x.pt': savedDict(plain, 'model') }), 'x.pt'), {
    ...said,
    towers: ['image'],
  })
  await (await other.openStore(store)).close()
  await other.dispose()
  const wrong = await load(await single(plain), { ...said, activation: 'gelu', towers: ['image'] })
  await t.throwsAsync(wrong.openStore(store), { instanceOf: ClipError, code: 'ERR_CLIP_MODEL_MISMATCH' })
  await wrong.dispose()
})
