/** Format and family are told by content; names of files and endings decide nothing. */

import { copyFile, cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError } from '../../lib/base/errors.js'
import { type CheckpointOptions, readCheckpoint } from '../../lib/checkpoint/index.js'
import type { TransformerSpec } from '../../lib/native/spec.js'
import { goldenPath } from './goldens.js'

async function scratch(t: ExecutionContext, golden?: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'clip-native-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  if (golden) await cp(goldenPath(golden), folder, { recursive: true })
  return folder
}

/** Everything but where the files lie. */
async function read(path: string, options?: CheckpointOptions) {
  const { model, ...rest } = await readCheckpoint(path, options)
  return { ...rest, vocabulary: undefined, model: { ...model, files: model.files.length } }
}

test("OpenAI's archive is recognised under the file names of other formats", async t => {
  const folder = await scratch(t)
  const expected = await read(goldenPath('openai-vit'))
  t.is(expected.family, 'openai')
  for (const name of ['model.safetensors', 'open_clip_pytorch_model.bin', 'no-ending', 'image.png']) {
    await copyFile(goldenPath('openai-vit'), join(folder, name))
    t.deepEqual(await read(join(folder, name)), expected, name)
  }
})

test('a state dict of a training run is recognised under the name of a safetensors file', async t => {
  const file = join(await scratch(t), 'model.safetensors')
  await copyFile(goldenPath('openclip-training'), file)
  const options = { activation: 'gelu' } as const
  t.deepEqual(await read(file, options), await read(goldenPath('openclip-training'), options))
})

for (const [golden, from, to] of [
  ['hf-4', 'model.safetensors', 'pytorch_model.bin'],
  ['openclip-80', 'open_clip_model.safetensors', 'open_clip_pytorch_model.bin'],
  ['openclip-104-bin', 'open_clip_pytorch_model.bin', 'open_clip_pytorch_model.pt'],
  ['openclip-104-bin', 'open_clip_pytorch_model.bin', 'open_clip_model.safetensors'],
] as const)
  test(`a folder is read if ${from} of ${golden} is renamed to ${to}`, async t => {
    const folder = await scratch(t, golden)
    await rename(join(folder, from), join(folder, to))
    t.deepEqual(await read(folder), await read(goldenPath(golden)))
  })

test('a weight file of a folder opens the same checkpoint as the folder', async t => {
  for (const [golden, name] of [
    ['hf-5', 'model.safetensors'],
    ['openclip-80', 'open_clip_model.safetensors'],
    ['openclip-104-bin', 'open_clip_pytorch_model.bin'],
    ['openclip-clipa', 'open_clip_model.safetensors'],
  ] as const)
    t.deepEqual(await read(join(goldenPath(golden), name)), await read(goldenPath(golden)), golden)
})

test("transformers' tensors without a configuration are refused with the options that they need", async t => {
  const file = join(await scratch(t), 'model.safetensors')
  await copyFile(join(goldenPath('hf-4'), 'model.safetensors'), file)
  const heads = await t.throwsAsync(readCheckpoint(file), { instanceOf: ClipError })
  t.like(heads, { code: 'ERR_CLIP_CONFIG', file, field: 'activation' })
  t.regex(heads?.message ?? '', /`--activation`/)
  const activation = { activation: 'quickGelu' } as const
  const text = await t.throwsAsync(readCheckpoint(file, activation), { instanceOf: ClipError })
  t.like(text, { code: 'ERR_CLIP_CONFIG', file, field: 'heads' })
  t.regex(text?.message ?? '', /`heads: \{ text: n \}` \(`--heads` on the command line\)/)
  const { model } = await readCheckpoint(goldenPath('hf-4'))
  const { blocks } = model.image as TransformerSpec
  const heads2 = { image: blocks.heads, text: model.text!.blocks.heads }
  const bare = await readCheckpoint(file, { ...activation, heads: heads2 })
  t.deepEqual({ ...bare.model, files: [] }, { ...model, files: [] })
})

/** Adds tensors behind the others. */
function withTensors(file: Buffer, more: Record<string, { dtype: string; shape: number[]; data: Buffer }>) {
  const length = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, 8 + length))
  const data = [file.subarray(8 + length)]
  let at = data[0]!.length
  for (const [name, { dtype, shape, data: bytes }] of Object.entries(more)) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] }
    at += bytes.length
    data.push(bytes)
  }
  const text = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([size, text, ...data])
}

test('position ids of older transformers (I64) are known and change nothing; any other tensor is refused', async t => {
  const folder = await scratch(t, 'hf-4')
  const file = join(folder, 'model.safetensors')
  const original = await readFile(file)
  const ids = (n: number) => {
    const data = Buffer.alloc(8 * n)
    for (let i = 0; i < n; i++) data.writeBigInt64LE(BigInt(i), 8 * i)
    return { dtype: 'I64', shape: [1, n], data }
  }
  const plain = await readCheckpoint(folder)
  await writeFile(
    file,
    withTensors(original, {
      'text_model.embeddings.position_ids': ids(12),
      'vision_model.embeddings.position_ids': ids(10),
    }),
  )
  const { model } = await readCheckpoint(folder)
  t.deepEqual(Object.keys(model.tensors), Object.keys(plain.model.tensors))
  t.deepEqual(model.text, plain.model.text)
  await writeFile(file, withTensors(original, { 'text_model.adapter.weight': ids(3) }))
  const error = await t.throwsAsync(readCheckpoint(folder), { instanceOf: ClipError })
  t.like(error, { code: 'ERR_CLIP_CHECKPOINT', file, field: 'text_model.adapter.weight' })
  t.regex(error?.message ?? '', /belongs to no part of CLIP/)
})
