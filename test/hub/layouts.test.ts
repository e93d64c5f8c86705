/** Repositories of other layouts than the usual: what is fetched opens. */

import { readdirSync } from 'node:fs'
import test from 'ava'
import { findCached, resolveName } from '../../lib/hub/index.js'
import { fast, hub, id, tree } from './repo.js'
import { bytes, type HubFile, sandbox, tinyRepo } from './server.js'

const { 'model.safetensors': weights, 'pytorch_model.bin': _, ...others } = tinyRepo(bytes(5000))

test('the folder with the CLIP model of a sentence-transformers repository is downloaded', async t => {
  const files: Record<string, HubFile> = { 'modules.json': { content: Buffer.from('[]') } }
  for (const [name, file] of Object.entries({ ...others, 'model.safetensors': weights! }))
    files[`0_CLIPModel/${name}`] = file
  files['1_Pooling/config.json'] = { content: Buffer.from('{}') }
  const server = await hub(t, files)
  const { env } = sandbox()
  const folder = await resolveName(id, { ...fast, env, endpoint: server.url })
  t.deepEqual(
    tree(folder),
    ['config.json', 'merges.txt', 'model.safetensors', 'preprocessor_config.json', 'vocab.json'].map(
      name => `0_CLIPModel/${name}`,
    ),
  )
  t.is((await findCached(id, { env }))?.path, folder)
})

test('variants, added tokens, and PyTorch weights in several files are downloaded', async t => {
  const fp16 = await hub(t, {
    ...others,
    'model.fp16.safetensors': weights!,
    'added_tokens.json': { content: Buffer.from('{}') },
    'tokenizer_config.json': { content: Buffer.from('{}') },
  })
  const one = sandbox()
  const folder = await resolveName(id, { ...fast, env: one.env, endpoint: fp16.url })
  for (const name of ['model.fp16.safetensors', 'added_tokens.json', 'tokenizer_config.json'])
    t.true(readdirSync(folder).includes(name), name)
  const shard = 'pytorch_model-00001-of-00001.bin'
  const bin = await hub(t, {
    ...others,
    'pytorch_model.bin.index.json': { content: Buffer.from(JSON.stringify({ weight_map: { a: shard } })) },
    [shard]: { content: bytes(3000), large: true },
  })
  const two = sandbox()
  const place = await resolveName(id, { ...fast, env: two.env, endpoint: bin.url })
  t.true(tree(place).includes(shard))
  t.is((await findCached(id, { env: two.env }))?.path, place)
})

test('a repository without preprocessor_config.json is found again without the network', async t => {
  const all: Record<string, HubFile> = { ...others, 'model.safetensors': weights! }
  const { 'preprocessor_config.json': _none, ...files } = all
  const server = await hub(t, files)
  const { env } = sandbox()
  const folder = await resolveName(id, { ...fast, env, endpoint: server.url })
  t.is(await resolveName(id, { env, offline: true }), folder)
})

test('the error for a repository of ONNX files says what is needed instead', async t => {
  const server = await hub(t, { 'config.json': others['config.json']!, 'onnx/model.onnx': weights! })
  const { env } = sandbox()
  await t.throwsAsync(resolveName(id, { ...fast, env, endpoint: server.url }), {
    code: 'ERR_CLIP_DOWNLOAD',
    message: /no CLIP weights.*ONNX files are an export of another model.*the model card/,
  })
})
