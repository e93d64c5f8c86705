import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError, type ClipErrorCode } from '../../lib/base/errors.js'
import { packageRoot } from '../../lib/base/package.js'
import { type CheckpointOptions, readCheckpoint } from '../../lib/checkpoint/index.js'
import { goldenPath } from './goldens.js'

type Tree = { [key: string]: Tree | unknown }

/** A copy of a golden folder with one JSON file changed. */
async function changed(
  t: ExecutionContext,
  golden: string,
  name: string,
  change: (json: Tree) => void,
): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  await cp(goldenPath(golden), path, { recursive: true })
  const json = JSON.parse(await readFile(join(path, name), 'utf8'))
  change(json)
  await writeFile(join(path, name), JSON.stringify(json))
  return path
}

/** Sets `a.b.c`. */
function set(field: string, value: unknown): (json: Tree) => void {
  return json => {
    const keys = field.split('.')
    const last = keys.pop() as string
    let at = json
    for (const key of keys) at = at[key] as Tree
    at[last] = value
  }
}

async function refuses(
  t: ExecutionContext,
  path: string,
  message: RegExp,
  field?: string,
  code: ClipErrorCode = 'ERR_CLIP_CONFIG',
  options?: CheckpointOptions,
): Promise<void> {
  const error = await t.throwsAsync(readCheckpoint(path, options), { instanceOf: ClipError })
  if (!(error instanceof ClipError)) return
  t.is(error.code, code, error.message)
  t.regex(error.message, message)
  if (field) t.is(error.field, field)
}

test('the embedded model is read with the expected sizes', async t => {
  const { model, preprocess, tokenizer, vocabulary } = await readCheckpoint(
    join(packageRoot, 'models/icon-clip'),
  )
  t.like(model.image, {
    kind: 'transformer',
    embed: { imageSize: 72, patchSize: 12 },
    blocks: { width: 192, layers: 6, heads: 3, mlp: 768 },
    pool: 'first',
  })
  t.like(model.text, {
    embed: { contextLength: 32, vocabSize: 8194, endId: 8193 },
    blocks: { width: 192, layers: 4, heads: 3 },
    mask: 'causal',
    pool: 'eos',
  })
  t.is(model.embedDim, 192)
  t.is(Object.keys(model.tensors).length, 12 + 16 * 10 + 1)
  t.like(preprocess, { size: 72, interpolation: 'bicubic', mode: 'shortest' })
  t.deepEqual({ ...tokenizer }, { kind: 'bpe', contextLength: 32, family: 'huggingface' })
  t.is(vocabulary?.merges.length, 7680)
})

const huggingface: [string, unknown, RegExp][] = [
  ['model_type', 'siglip', /`architectures` to be one of SiglipModel/],
  ['model_type', 'siglip2', /NaFlex.*google\/siglip2-base-patch16-224/],
  ['model_type', 'align', /to be "clip", .* got "align"/],
  ['architectures', ['SiglipModel'], /CLIPModel/],
  [
    'projection_dim',
    25,
    /shape \[25, 64\] \(25: `projection_dim` in .*config\.json\), got \[24, 64\] in model\.safetensors/,
  ],
  ['vision_config.hidden_size', 128, /`vision_config\.hidden_size`/],
  ['vision_config.intermediate_size', 71, /`vision_config\.intermediate_size`/],
  ['vision_config.num_hidden_layers', 3, /is 3, but .*model\.safetensors has 2 layers/],
  ['vision_config.num_hidden_layers', 1e9, /an integer from 1 to 1000, got 1000000000/],
  ['vision_config.num_attention_heads', 7, /can't be divided into 7 heads/],
  ['vision_config.num_channels', 4, /to be 3, got 4/],
  ['vision_config.image_size', 25, /a multiple of `patch_size` 8/],
  ['vision_config.patch_size', 4, /patch_size/],
  ['vision_config.hidden_act', 'relu', /"quick_gelu", "gelu" or "gelu_pytorch_tanh"/],
  ['vision_config.layer_norm_eps', '1e-5', /a number/],
  ['text_config.vocab_size', 600, /\[600, 48\] \(600: `text_config\.vocab_size`/],
  ['text_config.max_position_embeddings', 77, /\[77, 48\]/],
  ['text_config.eos_token_id', 100, /is 100, but the vocabulary's <\|endoftext\|> is 523/],
  ['text_config.eos_token_id', 49407, /is not below `text_config\.vocab_size` 524/],
]
for (const [field, value, message] of huggingface)
  test(`config.json is refused with ${field} ${JSON.stringify(value)}`, async t => {
    const path = await changed(t, 'hf-4', 'config.json', set(field, value))
    await refuses(t, path, message)
  })

const processor: [string, unknown, RegExp][] = [
  ['do_normalize', false, /`do_normalize` false is not implemented/],
  ['do_resize', false, /`do_resize` false/],
  ['do_center_crop', false, /only with `size` \{height, width\}/],
  ['rescale_factor', 1, /1 \/ 255/],
  ['resample', 1, /0 \(nearest\), 2 \(bilinear\) or 3/],
  ['size', { shortest_edge: 25 }, /is 25 pixels, but the model takes images of 24/],
  ['size', { longest_edge: 24 }, /has the keys longest_edge/],
  ['crop_size', { height: 24, width: 23 }, /only squares/],
  ['image_mean', [0.5, 0.5], /three numbers/],
  ['image_std', [0.5, 0, 0.5], /three positive numbers/],
  [
    'image_processor_type',
    'ViTImageProcessor',
    /"CLIPImageProcessor", "ChineseCLIPImageProcessor" or "SiglipImageProcessor"/,
  ],
]
for (const [field, value, message] of processor)
  test(`preprocessor_config.json: ${field} ${JSON.stringify(value)}`, async t => {
    await refuses(t, await changed(t, 'hf-4', 'preprocessor_config.json', set(field, value)), message, field)
  })

test('all forms of preprocessor_config.json that are equivalent or implemented are read', async t => {
  const read = async (change: (json: Tree) => void) =>
    (await readCheckpoint(await changed(t, 'hf-4', 'preprocessor_config.json', change))).preprocess
  const plain = await read(() => undefined)
  const olderForm = (json: Tree) => {
    Object.assign(json, { size: 24, crop_size: 24, feature_extractor_type: 'CLIPFeatureExtractor' })
    delete json.image_processor_type
  }
  t.deepEqual(await read(olderForm), plain)
  t.is((await read(set('resample', 2))).interpolation, 'bilinear')
  const squash = (json: Tree) =>
    Object.assign(json, { size: { height: 24, width: 24 }, do_center_crop: false })
  t.is((await read(squash)).mode, 'squash')
})

test('text_config_dict of old configurations wins over text_config', async t => {
  const path = await changed(t, 'hf-4', 'config.json', json => {
    const text = json.text_config as Tree
    json.text_config_dict = { hidden_act: text.hidden_act, vocab_size: text.vocab_size }
    text.vocab_size = 1
  })
  t.is((await readCheckpoint(path)).model.text?.embed.vocabSize, 524)
})

const openclip: [string, unknown, RegExp][] = [
  [
    'model_cfg.vision_cfg.timm_model_name',
    'vit_base',
    /timm_model_name` "vit_base" is an image tower of timm that is not implemented/,
  ],
  ['model_cfg.text_cfg.hf_model_name', 'roberta', /hf_model_name/],
  ['model_cfg.vision_cfg.qk_norm', true, /qk_norm` true is not implemented/],
  ['model_cfg.vision_cfg.pool_type', 'avg', /pool_type` "avg"/],
  ['model_cfg.text_cfg.pool_type', 'last', /pool_type` "last"/],
  ['model_cfg.vision_cfg.attentional_pool', true, /attentional_pool/],
  ['model_cfg.text_cfg.norm_kwargs', { elementwise_affine: false }, /norm_kwargs\.elementwise_affine/],
  ['model_cfg.text_cfg.norm_kwargs', { eps: 2 }, /norm_kwargs\.eps` to be from 0 to 1/],
  [
    'model_cfg.text_cfg.act_kwargs',
    { approximate: 'sigmoid' },
    /act_kwargs\.approximate` to be "none" or "tanh"/,
  ],
  ['model_cfg.text_cfg.proj_type', 'none', /the text tower is 48 wide .* embeddings have 24 numbers/],
  ['model_cfg.text_cfg.tokenizer_kwargs', { clean: 'canonicalize' }, /tokenizer_kwargs/],
  ['model_cfg.multimodal_cfg', { width: 1 }, /multimodal_cfg/],
  ['model_cfg.init_logit_bias', true, /init_logit_bias` to be a number/],
  ['model_cfg.vision_cfg.made_up', 1, /made_up` 1 is not implemented/],
  ['model_cfg.vision_cfg.width', 96, /`model_cfg\.vision_cfg\.width`/],
  ['model_cfg.vision_cfg.head_width', 50, /can't be divided into 3 heads/],
  [
    'model_cfg.vision_cfg.mlp_ratio',
    4,
    /\[640, 160\] \(640: `model_cfg\.vision_cfg\.mlp_ratio`.*got \[160, 160\]/,
  ],
  ['model_cfg.vision_cfg.layers', 2, /2 layers .* has 1 of visual\.transformer/],
  ['model_cfg.vision_cfg.image_size', 32, /positional_embedding/],
  ['model_cfg.text_cfg.context_length', 77, /\[77, 48\]/],
  ['model_cfg.embed_dim', null, /embed_dim/],
  ['preprocess_cfg.resize_mode', 'fit', /"shortest", "squash" or "longest"/],
  ['preprocess_cfg.interpolation', 'random', /"bicubic", "bilinear" or "nearest"/],
  ['preprocess_cfg.mode', 'L', /"RGB"/],
  ['preprocess_cfg.size', 32, /24, like model_cfg/],
]
for (const [field, value, message] of openclip)
  test(`open_clip_config.json is refused with ${field} ${JSON.stringify(value)}`, async t => {
    await refuses(t, await changed(t, 'openclip-80', 'open_clip_config.json', set(field, value)), message)
  })

/**
 * Every field of open_clip 3.3.0's CLIPVisionCfg, CLIPTextCfg and of its model that changes the arithmetic and is not
 * implemented, with a value that is not its default.
 */
const REFUSED: Record<string, Record<string, unknown>> = {
  model_cfg: { multimodal_cfg: { width: 512 }, cast_dtype: 'bf16', audio_cfg: {} },
  'model_cfg.vision_cfg': {
    attentional_pool: true,
    pos_embed_type: 'sin_cos_2d',
    pool_type: 'avg',
    output_tokens: true,
    act_kwargs: { approximate: 'tanh' },
    norm_kwargs: { eps: 1e-6 },
    block_type: 'custom',
    qk_norm: true,
    scaled_cosine_attn: true,
    scale_heads: true,
    scale_attn_inner: true,
    scale_attn: true,
    scale_fc: true,
    timm_model_name: 'vit_base_patch16_224',
    input_patchnorm: true,
    global_average_pool: true,
  },
  'model_cfg.text_cfg': {
    tokenizer_mode: 'canonicalize',
    tokenizer_kwargs: { strip_sep_token: true },
    ls_init_value: 0.1,
    embed_cls: true,
    final_ln_after_pool: true,
    pool_type: 'first',
    output_tokens: true,
    block_type: 'custom',
    qk_norm: true,
    scaled_cosine_attn: true,
    scale_heads: true,
    scale_attn_inner: true,
    scale_attn: true,
    scale_fc: true,
    hf_model_name: 'google/mt5-base',
  },
}
for (const [section, keys] of Object.entries(REFUSED))
  for (const [key, value] of Object.entries(keys))
    test(`open_clip_config.json is refused with ${section}.${key}, unless it is null`, async t => {
      const field = `${section}.${key}`
      const name = 'open_clip_config.json'
      const path = await changed(t, 'openclip-80', name, set(field, value))
      const said = new RegExp(`\\\`${field.replaceAll('.', '\\.')}\\\` .* is not implemented`)
      await refuses(t, path, said, field)
      await t.notThrowsAsync(
        readCheckpoint(await changed(t, 'openclip-80', name, set(field, null))),
        'open_clip writes null for what is off',
      )
    })

test('every resize mode and filter of preprocess_cfg is read, and other values are refused by name', async t => {
  const name = 'open_clip_config.json'
  const read = async (field: string, value: unknown) =>
    (await readCheckpoint(await changed(t, 'openclip-80', name, set(`preprocess_cfg.${field}`, value))))
      .preprocess
  for (const mode of ['shortest', 'squash', 'longest'])
    t.is((await read('resize_mode', mode)).mode, mode as never)
  for (const filter of ['bicubic', 'bilinear', 'nearest'])
    t.is((await read('interpolation', filter)).interpolation, filter as never)
  t.is((await read('size', [24, 24])).size, 24)
  for (const [field, value] of [
    ['fill_color', 128],
    ['made_up', 1],
  ] as const) {
    const path = await changed(t, 'openclip-80', name, json => {
      Object.assign(json.preprocess_cfg as Tree, { resize_mode: 'longest', [field]: value })
    })
    await refuses(t, path, new RegExp(`preprocess_cfg\\.${field}`), `preprocess_cfg.${field}`)
  }
})

test('options may not contradict the checkpoint', async t => {
  await refuses(t, goldenPath('hf-4'), /but the option `heads` says 4/, undefined, 'ERR_CLIP_CONFIG', {
    heads: 4,
  })
  await refuses(t, goldenPath('openai-vit'), /says gelu/, undefined, 'ERR_CLIP_CONFIG', {
    activation: 'gelu',
  })
  await refuses(t, goldenPath('openclip-training'), /pass `activation:/, 'activation')
  const two = await readCheckpoint(goldenPath('openclip-training'), {
    activation: 'gelu',
    heads: { image: 2 },
  })
  t.like(two.model.image, { blocks: { heads: 2 } })
  t.like(two.model.text, { blocks: { heads: 1 } })
  await t.throwsAsync(readCheckpoint(goldenPath('hf-4'), { heads: 0 }), {
    instanceOf: RangeError,
    code: 'ERR_CLIP_INPUT',
  })
  const activation = 'relu' as 'gelu'
  await t.throwsAsync(readCheckpoint(goldenPath('hf-4'), { activation }), { instanceOf: TypeError })
})
