/** What training codes leave behind: the same weights below any name and beside anything give the same embeddings. */

import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import test, { type ExecutionContext } from 'ava'
import { type Clip, ClipError, type LoadOptions, load } from '../../lib/index.js'
import { goldenFolder, goldenPixels } from './goldens.js'
import {
  archive,
  global,
  PROTO,
  readTensors,
  renamed,
  type Stored,
  safetensors,
  savedDict,
  tensorItems,
  unicode,
} from './torch-files.js'

const goldens = join(goldenFolder, 'trained')
const plainFile = join(goldens, 'plain.safetensors')
const plain = readTensors(readFileSync(plainFile))
const folder = mkdtempSync(join(tmpdir(), 'clip-native-'))
test.after.always(() => rm(folder, { recursive: true, force: true }))

/** The text tower's vocabulary of 20 pieces is nobody's: the fingerprint stands for its weights. */
const options: LoadOptions = { activation: 'quickGelu', heads: 1, towers: ['image'], threads: 1 }
const pixels = { data: goldenPixels(16)[0]!, shape: [1, 3, 16, 16] as [number, number, number, number] }

async function using<T>(source: string, use: (clip: Clip) => Promise<T>, more: LoadOptions = {}): Promise<T> {
  const clip = await load(source, { ...options, ...more })
  try {
    return await use(clip)
  } finally {
    await clip.dispose()
  }
}

const identity = (source: string, more?: LoadOptions) =>
  using(
    source,
    async clip => ({
      embedding: [...(await clip.encodeImage(pixels)).data],
      fingerprint: clip.info.fingerprint,
      ignored: clip.info.ignored ?? [],
    }),
    more,
  )
let expected: Awaited<ReturnType<typeof identity>>
test.before(async () => {
  expected = await identity(plainFile)
})

let files = 0
async function written(data: Buffer, ending = 'pt'): Promise<string> {
  const file = join(folder, `${++files}.${ending}`)
  await writeFile(file, data)
  return file
}

async function same(
  t: ExecutionContext,
  data: Buffer,
  what: string,
  ending?: string,
): Promise<readonly string[]> {
  const { embedding, fingerprint, ignored } = await identity(await written(data, ending))
  t.deepEqual(embedding, expected.embedding, what)
  t.is(fingerprint, expected.fingerprint, what)
  return ignored
}

async function refused(source: string, more?: LoadOptions): Promise<ClipError> {
  const error = await using(source, async () => undefined, more).catch((cause: unknown) => cause)
  if (!(error instanceof ClipError)) throw new Error(`expected a ClipError, got ${error}`)
  return error
}

test('the embeddings of the plain file are not zero', t => {
  t.true(expected.embedding.every(Number.isFinite))
  t.true(Math.abs(Math.hypot(...expected.embedding) - 1) < 1e-5)
  t.deepEqual(expected.ignored, [])
})

const saved = readdirSync(goldens).filter(name => name.endsWith('.pt.gz'))
test('there are test files of every kind', t => t.true(saved.length >= 18, String(saved.length)))
for (const name of saved)
  test(`a file of PyTorch gives the embeddings of the plain file: ${name.slice(0, -6)}`, async t => {
    await same(t, gunzipSync(readFileSync(join(goldens, name))), name)
  })

const PREFIXES = [
  ...['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.', 'model.', 'clip_model.', 'clip.'],
  ...['model.clip.', 'net.backbone.', '_fsdp_wrapped_module.', 'student_ema_off.', 'encoder.'],
]
for (const prefix of PREFIXES)
  test(`tensor names that begin with ${prefix} are found in a pickle and in a safetensors file`, async t => {
    const tensors = renamed(plain, name => prefix + name)
    t.deepEqual(await same(t, savedDict(tensors), 'pickle'), [])
    t.deepEqual(await same(t, savedDict(tensors, 'state_dict'), 'below state_dict'), [])
    t.deepEqual(await same(t, safetensors(tensors), 'safetensors', 'safetensors'), [])
  })

for (const path of [
  'state_dict',
  'model_state_dict',
  'model',
  'module',
  'net',
  'ema',
  'model_ema',
  'a.b.c.weights',
])
  test(`a state dict is found at ${path}`, async t => {
    t.deepEqual(await same(t, savedDict(plain, path), path), [])
  })

test('wrapper names in the middle of tensor names are ignored', async t => {
  const wrap = (name: string) =>
    name
      .replace('resblocks.0.', 'resblocks.0._checkpoint_wrapped_module.')
      .replace(/^visual\./, 'visual._orig_mod.')
  t.deepEqual(await same(t, savedDict(renamed(plain, wrap)), 'wrappers'), [])
})

const zeros = (n: number): Stored => ({ dtype: 'F32', shape: [n], data: Buffer.alloc(4 * n) })

test('tensors that are not part of the model are not used, and are listed', async t => {
  const more = new Map([...plain, ['classifier.weight', zeros(3)], ['fc.bias', zeros(2)]])
  for (let i = 0; i < 9; i++) more.set(`optimizer.${i}.exp_avg`, zeros(1))
  t.deepEqual(
    [...(await same(t, safetensors(more), 'extra', 'safetensors'))],
    ['classifier.weight', 'fc.bias', 'optimizer.* (9)'],
  )
})

test('an unknown tensor inside a tower is refused by name', async t => {
  for (const [name, message] of [
    ['visual.adapter.weight', /"visual\.adapter\.weight" \[3\] belongs to no part of CLIP/],
    ['transformer.resblocks.0.ls_1.gamma', /ls_1\.gamma/],
    ['visual.transformer.resblocks.0.mlp.c_fc.lora_A.default.weight', /merge_and_unload/],
    ['logit_bias', /"logit_bias"/],
  ] as const) {
    const error = await refused(
      await written(safetensors(new Map([...plain, [name, zeros(3)]])), 'safetensors'),
    )
    t.is(error.code, 'ERR_CLIP_CHECKPOINT', name)
    t.is(error.field, name)
    t.regex(error.message, message)
  }
})

test('averaged weights beside the weights are used only if they are chosen', async t => {
  const ones = renamed(plain, name => `model_ema.${name}`)
  for (const [name, value] of ones)
    ones.set(name, {
      ...value,
      data: Buffer.from(value.data.map((byte, i) => (i % 4 === 3 ? byte & 0x7f : byte))),
    })
  const both = new Map([...renamed(plain, name => `model.${name}`), ...ones])
  const ignored = await same(t, safetensors(both), 'model and its average', 'safetensors')
  t.deepEqual([...ignored], [`model_ema.* (${plain.size})`])
  const file = await written(safetensors(both), 'safetensors')
  t.not((await identity(file, { stateDict: 'model_ema' })).fingerprint, expected.fingerprint)
  t.is((await identity(file, { stateDict: 'model' })).fingerprint, expected.fingerprint)
})

test('a file with two models is refused with their names, one of which can be chosen', async t => {
  const second = renamed(plain, name => `teacher.${name}`)
  second.set('teacher.visual.proj', { ...plain.get('visual.proj')!, data: Buffer.alloc(4 * 8 * 4) })
  const file = await written(savedDict(new Map([...renamed(plain, name => `student.${name}`), ...second])))
  const error = await refused(file)
  t.like(error, { code: 'ERR_CLIP_CHECKPOINT', field: 'stateDict', file })
  t.regex(error.message, /"student" \(both towers\), "teacher" \(both towers\).*--state-dict/)
  t.is((await identity(file, { stateDict: 'student' })).fingerprint, expected.fingerprint)
  t.not((await identity(file, { stateDict: 'teacher' })).fingerprint, expected.fingerprint)
  const none = await refused(file, { stateDict: 'other' })
  t.regex(none.message, /no CLIP model at "other".*"student"/)
  await t.throwsAsync(load(file, { stateDict: '' }), { instanceOf: TypeError, message: /stateDict/ })
})

test('towers in separate modules are combined to one model', async t => {
  const apart = renamed(plain, name =>
    name.startsWith('visual.') ? `vision.${name}` : name === 'logit_scale' ? name : `language.${name}`,
  )
  await same(t, savedDict(apart), 'towers apart')
})

test('a call in a pickle beside the weights is not executed', async t => {
  const evidence = join(folder, 'evidence')
  const { items, entries } = tensorItems(plain)
  const call = `${global('posix', 'system')}(${unicode(`touch ${evidence}`)}tR`
  const harmful = `${PROTO}}${unicode('hook')}${call}s${unicode('state_dict')}}${items}s.`
  t.deepEqual([...(await same(t, archive(harmful, entries), 'os.system'))], ['hook'])
  t.false(existsSync(evidence))
})

test('a value that should be a tensor is named in the error', async t => {
  const call = `${global('torch._utils', '_rebuild_qtensor')})R`
  for (const missing of ['visual.ln_pre.bias', 'visual.proj', 'logit_scale']) {
    const { items, entries } = tensorItems(new Map([...plain].filter(([name]) => name !== missing)))
    const error = await refused(
      await written(archive(`${PROTO}}${items}${unicode(missing)}${call}s.`, entries)),
    )
    t.like(error, { code: 'ERR_CLIP_CHECKPOINT', field: missing })
    t.regex(error.message, /to be a tensor, got torch\._utils\._rebuild_qtensor/)
  }
})

test('without logit_scale everything works except probabilities and logits', async t => {
  const without = new Map([...plain].filter(([name]) => name !== 'logit_scale'))
  await using(await written(savedDict(without)), async clip => {
    t.is(clip.info.logitScale, Number.NaN)
    const image = await clip.encodeImage(pixels)
    t.deepEqual([...image.data], expected.embedding)
    const { data } = await clip.similarity(image, image, { as: 'cosine' })
    t.true(Math.abs(data[0]! - 1) < 1e-6)
    for (const as of ['probability', 'logit'] as const)
      await t.throwsAsync(clip.similarity(image, image, { as }), {
        instanceOf: ClipError,
        code: 'ERR_CLIP_CONFIG',
        message: /no logit_scale.*as: 'cosine'/,
      })
  })
})

test('float64 weights are rounded to the nearest float32, and numbers that are too large are refused', async t => {
  const wide = new Map<string, Omit<Stored, 'dtype'> & { dtype: string }>(plain)
  const bias = plain.get('visual.ln_pre.bias')!
  const doubles = Buffer.alloc(8 * 8)
  for (let i = 0; i < 8; i++) {
    const value = bias.data.readFloatLE(4 * i)
    // Less than half of a float32's last place more: the same number when it is rounded.
    doubles.writeDoubleLE(value * (1 + 2 ** -26), 8 * i)
  }
  wide.set('visual.ln_pre.bias', { dtype: 'F64', shape: [8], data: doubles })
  await same(t, safetensors(wide), 'rounded', 'safetensors')
  doubles.writeDoubleLE(1e39, 8)
  const error = await refused(await written(safetensors(wide), 'safetensors'))
  t.like(error, { code: 'ERR_CLIP_CHECKPOINT', field: 'visual.ln_pre.bias' })
  t.regex(error.message, /an infinity at \[1\]/)
})
