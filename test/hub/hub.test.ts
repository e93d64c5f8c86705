import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { type DownloadProgress, findCached, resolveName } from '../../lib/hub/index.js'
import { fast, hub, id, tree } from './repo.js'
import { bytes, commit, type HubFile, sandbox, serve, sha256, tinyRepo } from './server.js'

test('only the files that loading reads are downloaded for a hub id, and later found without the network', async t => {
  const files = tinyRepo()
  const server = await hub(t, files)
  const { env, cache } = sandbox({ HF_ENDPOINT: `${server.url}/`, HF_TOKEN: 'secret' })
  const seen: DownloadProgress[] = []
  const folder = await resolveName(id, { ...fast, env, onProgress: progress => seen.push(progress) })
  t.is(folder, join(cache, 'hub', 'someone--tiny-clip', 'snapshots', commit))
  const wanted = ['config.json', 'merges.txt', 'model.safetensors', 'preprocessor_config.json', 'vocab.json']
  t.deepEqual(readdirSync(folder).sort(), wanted)
  for (const name of wanted) t.is(sha256(readFileSync(join(folder, name))), sha256(files[name].content))
  t.true(server.requests.every(({ headers }) => headers.authorization === 'Bearer secret'))
  t.is(server.requests.length, 1 + wanted.length)
  t.is(server.requests[0].url, `/api/models/${id}/revision/main?blobs=true`)
  const all = wanted.reduce((sum, name) => sum + files[name].content.length, 0)
  t.like(seen.at(-1), {
    phase: 'done',
    file: 'model.safetensors',
    modelReceived: all,
    modelTotal: all,
    name: id,
  })

  const before = server.requests.length
  t.is(await resolveName(id, { env, offline: true }), folder)
  t.is(await resolveName(`hf-hub:${id}`, { env }), folder)
  t.is(await resolveName(`${id}@${commit}`, { env }), folder)
  t.like(await findCached(id, { env }), { place: 'own', path: folder, bytes: all })
  t.is(server.requests.length, before)
  t.deepEqual(
    tree(cache).filter(name => !name.includes('snapshots')),
    ['hub/someone--tiny-clip/refs/main'],
  )
})

test('a downloaded model opens', async t => {
  const model = join(packageRoot, 'models', 'icon-clip')
  const names = readdirSync(model, { withFileTypes: true }).filter(entry => entry.isFile())
  const server = await hub(
    t,
    Object.fromEntries(
      names.map(({ name }) => [
        name,
        { content: readFileSync(join(model, name)), large: name.endsWith('.safetensors') },
      ]),
    ),
  )
  const { env } = sandbox({ HF_ENDPOINT: server.url })
  const folder = await resolveName(id, { ...fast, env })
  const [arrived, original] = await Promise.all([readCheckpoint(folder), readCheckpoint(model)])
  t.deepEqual({ ...arrived.model, files: [] }, { ...original.model, files: [] })
  t.deepEqual(arrived.preprocess, original.preprocess)
  t.deepEqual(
    { ...arrived.vocabulary, file: '' },
    { ...original.vocabulary, file: '' },
    'the vocabulary, but for the place it was read from',
  )
})

test('tokenizer.json is downloaded if there is no vocab.json, and so are both processor files', async t => {
  const { 'vocab.json': _, ...files } = tinyRepo()
  const server = await hub(t, { ...files, 'processor_config.json': { content: Buffer.from('{}') } })
  const { env } = sandbox()
  const folder = await resolveName(id, { ...fast, env, endpoint: server.url })
  t.deepEqual(readdirSync(folder).sort(), [
    'config.json',
    'model.safetensors',
    'preprocessor_config.json',
    'processor_config.json',
    'tokenizer.json',
  ])
})

test('without vocab.json, every file that a tokenizer of another kind reads is downloaded', async t => {
  const config = { content: Buffer.from('{"model_cfg":{}}') }
  const json = { content: Buffer.from('{}') }
  const server = await hub(t, {
    'open_clip_config.json': config,
    'open_clip_model.safetensors': { content: bytes(5000), large: true },
    'tokenizer.json': json,
    'tokenizer_config.json': json,
    'special_tokens_map.json': json,
    'spiece.model': { content: bytes(300) },
  })
  const { env } = sandbox()
  const folder = await resolveName(id, { ...fast, env, endpoint: server.url })
  t.deepEqual(readdirSync(folder).sort(), [
    'open_clip_config.json',
    'open_clip_model.safetensors',
    'spiece.model',
    'tokenizer.json',
    'tokenizer_config.json',
  ])
})

test("OpenCLIP's pair of files is downloaded, even beside an image-only model", async t => {
  const weights = { content: bytes(5000), large: true }
  const config = { content: Buffer.from('{"model_cfg":{}}') }
  const server = await hub(t, {
    ...tinyRepo(),
    'open_clip_config.json': config,
    'open_clip_model.safetensors': weights,
    'open_clip_pytorch_model.bin': weights,
  })
  const { env } = sandbox()
  const folder = await resolveName(id, { ...fast, env, endpoint: server.url })
  t.deepEqual(readdirSync(folder).sort(), [
    'merges.txt',
    'open_clip_config.json',
    'open_clip_model.safetensors',
    'vocab.json',
  ])
})

test('the .bin file of an old OpenCLIP repository is downloaded if there is nothing else', async t => {
  const server = await hub(t, {
    'open_clip_config.json': { content: Buffer.from('{"model_cfg":{}}') },
    'open_clip_pytorch_model.bin': { content: bytes(5000), large: true },
  })
  const { env } = sandbox()
  const folder = await resolveName(id, { ...fast, env, endpoint: server.url })
  t.deepEqual(readdirSync(folder).sort(), ['open_clip_config.json', 'open_clip_pytorch_model.bin'])
})

const sharded = (names: string[], index: unknown = undefined): Record<string, HubFile> => {
  const { 'model.safetensors': _, ...files } = tinyRepo()
  const map = Object.fromEntries(
    names.flatMap((name, i) => [
      [`a${i}`, name],
      [`b${i}`, name],
    ]),
  )
  files['model.safetensors.index.json'] = {
    content: Buffer.from(JSON.stringify(index ?? { weight_map: map })),
  }
  for (const [i, name] of names.entries()) files[name] = { content: bytes(3000, i + 1), large: true }
  return files
}

test('all shards of an index are downloaded', async t => {
  const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
  const server = await hub(t, sharded(names))
  const { env } = sandbox()
  const seen: DownloadProgress[] = []
  const options = { ...fast, env, endpoint: server.url, onProgress: (p: DownloadProgress) => seen.push(p) }
  const folder = await resolveName(id, options)
  for (const name of names) t.is(readFileSync(join(folder, name)).length, 3000)
  t.is(seen.at(-1)?.modelReceived, seen.at(-1)?.modelTotal)
  t.is((await findCached(id, { env }))?.path, folder)
  rmSync(join(folder, names[1]))
  t.is(await findCached(id, { env }), undefined, 'a missing shard is not overlooked')
})

test('an index that names files elsewhere or missing files is refused', async t => {
  const cases: [unknown, RegExp, string][] = [
    [{ weight_map: { a: '../../../evil.safetensors' } }, /weight_map names .*evil/, 'ERR_CLIP_CHECKPOINT'],
    [{ weight_map: { a: '/etc/evil.safetensors' } }, /weight_map names/, 'ERR_CLIP_CHECKPOINT'],
    [{ weight_map: { a: 'C:evil.safetensors' } }, /weight_map names/, 'ERR_CLIP_CHECKPOINT'],
    [{ weight_map: { a: 'script.sh' } }, /weight_map names/, 'ERR_CLIP_CHECKPOINT'],
    [{ weight_map: { a: 7 } }, /weight_map names 7/, 'ERR_CLIP_CHECKPOINT'],
    [{ weight_map: {} }, /names 0 files/, 'ERR_CLIP_CHECKPOINT'],
    [[], /no weight_map/, 'ERR_CLIP_CHECKPOINT'],
    [
      { weight_map: { a: 'absent.safetensors' } },
      /absent\.safetensors, which is not there/,
      'ERR_CLIP_DOWNLOAD',
    ],
  ]
  for (const [index, message, code] of cases) {
    const server = await hub(t, sharded([], index))
    const { env, home } = sandbox()
    await t.throwsAsync(resolveName(id, { ...fast, env, endpoint: server.url }), { code, message })
    t.false(tree(home).some(name => /evil|script|absent/.test(name)))
  }
})

test('unsafe names from a server are refused before anything is written', async t => {
  for (const name of [
    '../x',
    '../../model.safetensors',
    '/etc/passwd',
    'a/../../b',
    'a\\..\\b',
    'C:\\x',
    'a//b',
    'x\u0000y',
    '',
    '..',
    7,
    null,
  ]) {
    const server = await hub(t, {}, { siblings: [{ rfilename: 'config.json' }, { rfilename: name }] })
    const { env, cache } = sandbox()
    const error = await t.throwsAsync(resolveName(id, { ...fast, env, endpoint: server.url }), {
      code: 'ERR_CLIP_DOWNLOAD',
      message: /which is refused/,
    })
    t.like(error, { field: 'siblings[1].rfilename' })
    t.deepEqual(tree(cache), [])
  }
})

test('a server that is not a hub is reported for each kind of answer', async t => {
  for (const [override, message] of [
    [{ sha: '../../x' }, /no commit/],
    [{ sha: undefined }, /no commit/],
    [{ siblings: 'x' }, /no list of files/],
    [{ siblings: [] }, /no CLIP weights.*it has no files/],
    [
      { siblings: [{ rfilename: 'onnx/model.onnx' }, { rfilename: 'config.json' }] },
      /no CLIP weights.*it has config\.json/,
    ],
  ] as const) {
    const server = await hub(t, {}, override)
    const { env } = sandbox()
    await t.throwsAsync(resolveName(id, { ...fast, env, endpoint: server.url }), {
      code: 'ERR_CLIP_DOWNLOAD',
      message,
    })
  }
  const page = await serve(t, (_, response) => response.end('<html>please log in</html>'))
  const huge = await serve(t, (_, response) => response.end(Buffer.alloc(9 * 2 ** 20, 0x20)))
  const { env } = sandbox()
  await t.throwsAsync(resolveName(id, { ...fast, env, endpoint: page.url }), { message: /login page/ })
  await t.throwsAsync(resolveName(id, { ...fast, env, endpoint: huge.url }), { message: /sends more than/ })
})

test('a file with the wrong hash is not put in place, and the repository does not count as downloaded', async t => {
  const files = tinyRepo()
  files['model.safetensors'].listed = { sha256: 'b'.repeat(64) }
  const server = await hub(t, files)
  const { env, cache } = sandbox()
  const error = await t.throwsAsync(resolveName(id, { ...fast, env, endpoint: server.url }), {
    code: 'ERR_CLIP_CHECKSUM',
  })
  t.like(error, { expected: 'b'.repeat(64), actual: sha256(files['model.safetensors'].content) })
  t.false(tree(cache).some(name => /model\.safetensors|refs|lock/.test(name)))
  t.is(await findCached(id, { env }), undefined)
})

test('a repository that does not exist is an error', async t => {
  const server = await serve(t, (_, response) => response.writeHead(404).end())
  const { env } = sandbox()
  await t.throwsAsync(resolveName('no/such', { ...fast, env, endpoint: server.url }), {
    code: 'ERR_CLIP_DOWNLOAD',
    message: /\/api\/models\/no\/such\/revision\/main answered 404: there is no such model/,
  })
})
