/** Folders as libraries leave them: which file is read, and what is said of those that can not be. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { ClipError, type LoadOptions, load } from '../../lib/index.js'
import { goldenFolder, goldenPath } from './goldens.js'
import { readTensors, safetensors, savedDict } from './torch-files.js'

const scratch = mkdtempSync(join(tmpdir(), 'clip-native-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

let folders = 0
const WEIGHTS = 'model.safetensors'
/** A copy of transformers' golden in float32, so that pickles can hold it. */
async function copy(): Promise<string> {
  const folder = join(scratch, `folder-${++folders}`)
  await cp(goldenPath('hf-5'), folder, { recursive: true })
  return folder
}
async function empty(files: Record<string, Buffer | string> = {}): Promise<string> {
  const folder = join(scratch, `folder-${++folders}`)
  await mkdir(folder)
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), content)
  }
  return folder
}

async function nameOf(source: string, options: LoadOptions = {}): Promise<string> {
  const clip = await load(source, { threads: 1, ...options })
  await clip.dispose()
  return clip.info.fingerprint
}
let expected: string
test.before(async () => {
  expected = await nameOf(goldenPath('hf-5'))
})

async function refused(t: ExecutionContext, source: string, message: RegExp, options?: LoadOptions) {
  const error = await t.throwsAsync(load(source, options), { instanceOf: ClipError })
  t.regex(error?.message ?? '', message)
  return error
}

for (const name of ['model.fp16.safetensors', 'model.non_ema.safetensors'])
  test(`a folder with the weight variant ${name} is read`, async t => {
    const folder = await copy()
    await rename(join(folder, WEIGHTS), join(folder, name))
    t.is(await nameOf(folder), expected)
  })

test('of several variants the most precise known one is read, and unknown ones are named', async t => {
  const folder = await copy()
  await cp(join(folder, WEIGHTS), join(folder, 'model.fp32.safetensors'))
  await writeFile(join(folder, 'model.fp16.safetensors'), 'no weights')
  await rm(join(folder, WEIGHTS))
  t.is(await nameOf(folder), expected)
  await rename(join(folder, 'model.fp32.safetensors'), join(folder, 'model.a.safetensors'))
  await rename(join(folder, 'model.fp16.safetensors'), join(folder, 'model.b.safetensors'))
  await refused(t, folder, /has the variants model\.a\.safetensors, model\.b\.safetensors: load one/)
})

test('pytorch_model.bin.index.json and its fp16 variant are read', async t => {
  const folder = await copy()
  const tensors = [...readTensors(await readFile(join(folder, WEIGHTS)))]
  await rm(join(folder, WEIGHTS))
  const half = tensors.length >> 1
  const parts = [tensors.slice(0, half), tensors.slice(half)]
  const map: Record<string, string> = {}
  for (const [i, part] of parts.entries()) {
    const name = `pytorch_model-0000${i + 1}-of-00002.bin`
    await writeFile(join(folder, name), savedDict(new Map(part)))
    for (const [tensor] of part) map[tensor] = name
  }
  const index = join(folder, 'pytorch_model.bin.index.json')
  await writeFile(index, JSON.stringify({ weight_map: map }))
  t.is(await nameOf(folder), expected)
  const variant = join(folder, 'pytorch_model.bin.index.fp16.json')
  await rename(index, variant)
  t.is(await nameOf(folder), expected)
  map.logit_scale = 'pytorch_model-00002-of-00003.bin'
  await writeFile(variant, JSON.stringify({ weight_map: map }))
  await refused(t, folder, /pytorch_model-00002-of-00003\.bin/)
})

test('the CLIP model in a sentence-transformers folder is found', async t => {
  const folder = await empty({ 'modules.json': '[]', 'README.md': '' })
  await cp(goldenPath('hf-5'), join(folder, '0_CLIPModel'), { recursive: true })
  t.is(await nameOf(folder), expected)
})

test('a folder without a configuration opens with one weight file; of several, one must be named', async t => {
  const folder = await empty()
  await cp(join(goldenFolder, 'trained', 'plain.safetensors'), join(folder, 'epoch_5.safetensors'))
  const options: LoadOptions = { activation: 'quickGelu', heads: 1, towers: ['image'] }
  t.is(await nameOf(folder, options), await nameOf(join(folder, 'epoch_5.safetensors'), options))
  await cp(join(folder, 'epoch_5.safetensors'), join(folder, 'epoch_6.safetensors'))
  await refused(t, folder, /2 weight files: load one of them by its path \(epoch_5\.safetensors, epoch_6/)
})

test('for a configuration without weights, the error says what the folder contains instead', async t => {
  const config = { 'config.json': '{"model_type":"clip"}' }
  const onnx = join(scratch, 'clip-vit-base-patch16')
  await cp(await empty({ ...config, 'onnx/model.onnx': '' }), onnx, { recursive: true })
  const error = await refused(t, onnx, /export for another runtime.*load\("openai\/clip-vit-base-patch16"\)/)
  t.like(error, { code: 'ERR_CLIP_CONFIG', file: onnx })
  await refused(t, await empty({ ...config, 'vision_model.onnx': '' }), /hub id; its model card names it/)
  await refused(
    t,
    await empty({ 'adapter_config.json': '{}', 'adapter_model.safetensors': '' }),
    /merge_and_unload/,
  )
  await refused(t, await empty({ ...config, 'tf_model.h5': '' }), /from_tf=True/)
  await refused(t, await empty({ ...config }), /has config\.json, but no model\.safetensors/)
  await refused(t, await empty({ 'notes.txt': '' }), /is not a model folder/)
})

test('the error for the id of an ONNX export names the original, without using the network', async t => {
  for (const [id, original] of [
    ['Xenova/clip-vit-base-patch32', 'openai/clip-vit-base-patch32'],
    ['onnx-community/clip-vit-large-patch14-ONNX', 'openai/clip-vit-large-patch14'],
  ] as const) {
    const error = await refused(t, id, /ONNX/, { cacheDir: join(scratch, 'cache') })
    t.like(error, { code: 'ERR_CLIP_CONFIG', field: 'source', expected: original })
    t.true(error?.message.includes(`load("${original}")`))
  }
  await refused(t, 'Xenova/mobileclip_s0', /which its model card names/, { cacheDir: join(scratch, 'cache') })
})

test('without preprocessor_config.json texts work, and images are refused with the remedy', async t => {
  const folder = await copy()
  await rm(join(folder, 'processor_config.json'))
  const text = await load(folder, { towers: ['text'] })
  const whole = await load(goldenPath('hf-5'), { towers: ['text'] })
  t.deepEqual((await text.encodeText('a cat')).data, (await whole.encodeText('a cat')).data)
  await Promise.all([text.dispose(), whole.dispose()])
  for (const options of [{}, { towers: ['image'] }] as LoadOptions[]) {
    const error = await refused(
      t,
      folder,
      /cp "\$\(npx clip-native download openai\/clip-vit-[a-z0-9-]+\)\/preprocessor_config\.json".*towers: \['text'\]/,
      options,
    )
    t.like(error, { code: 'ERR_CLIP_CONFIG', file: folder, field: 'preprocessor_config.json' })
  }
})

test('the command line has flags for properties that a weight file lacks, and its errors name them', async t => {
  const file = join(scratch, 'bare.pt')
  const plain = readTensors(readFileSync(join(goldenFolder, 'trained', 'plain.safetensors')))
  const visual = new Map([...plain].filter(([name]) => name.startsWith('visual.')))
  await writeFile(file, savedDict(visual, 'ema'))
  const main = join(packageRoot, 'dist/lib/cli/main.js')
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [main, 'info', '--model', file, ...args], { encoding: 'utf8' })
  const silent = run()
  t.is(silent.status, 1)
  t.regex(silent.stderr, /`--activation`/)
  t.regex(run('--activation', 'gelu').stderr, /`--heads`/)
  const said = run('--activation', 'gelu', '--heads', '2,1', '--json')
  t.is(said.status, 0, said.stderr)
  const info = JSON.parse(said.stdout) as { towers: string[]; fingerprint: string }
  t.deepEqual(info.towers, ['image'])
  t.is(info.fingerprint, await nameOf(file, { activation: 'gelu', heads: { image: 2 } }))
  t.is(run('--activation', 'gelu', '--heads', '2', '--state-dict', 'ema', '--json').status, 0)
  t.regex(
    run('--activation', 'gelu', '--heads', '2', '--state-dict', 'x').stderr,
    /no CLIP model at "x".*"ema"/,
  )
  t.is(run('--activation', 'relu').status, 2)
  t.is(run('--activation', 'gelu', '--heads', 'two').status, 2)
  await writeFile(file, safetensors(new Map([...visual, ['head.weight', plain.get('visual.proj')!]])))
  t.regex(run('--activation', 'gelu', '--heads', '2').stdout, /not used +head\.weight/)
})
