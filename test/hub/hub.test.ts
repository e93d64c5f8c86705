import { spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { packageRoot } from '../../lib/binding.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { places } from '../../lib/hub/cache.js'
import {
  availableModels,
  type DownloadProgress,
  findCached,
  type HubOptions,
  modelInfo,
  resolveSource,
} from '../../lib/hub/index.js'
import {
  answerHub,
  bytes,
  commit,
  type HubFile,
  sandbox,
  sendFile,
  serve,
  sha256,
  type TestServer,
  tinyRepo,
} from './server.js'

const id = 'someone/tiny-clip'

/** A hub with one repository. */
const hub = (t: ExecutionContext, files: Record<string, HubFile>, override?: object): Promise<TestServer> =>
  serve(t, (request, response) => {
    if (!answerHub(request, response, id, files, override)) response.writeHead(404).end()
  })

const fast: HubOptions = { retryDelay: 1, retries: 2, idleTimeout: 10_000 }

function write(file: string, content: string | Buffer) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
}

/** Every file below a folder, with slashes. */
const tree = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => !entry.isDirectory())
    .map(entry =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll('\\', '/'),
    )
    .sort()

test('a hub id is downloaded once: what loading reads and nothing else, then found without the network', async t => {
  const files = tinyRepo()
  const server = await hub(t, files)
  const { env, cache } = sandbox({ HF_ENDPOINT: `${server.url}/`, HF_TOKEN: 'secret' })
  const seen: DownloadProgress[] = []
  const folder = await resolveSource(id, { ...fast, env, onProgress: progress => seen.push(progress) })
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
  t.is(await resolveSource(id, { env, offline: true }), folder)
  t.is(await resolveSource(`hf-hub:${id}`, { env }), folder)
  t.is(await resolveSource(`${id}@${commit}`, { env }), folder)
  t.like(await findCached(id, { env }), { place: 'own', path: folder, bytes: all })
  t.is(server.requests.length, before)
  t.deepEqual(
    tree(cache).filter(name => !name.includes('snapshots')),
    ['hub/someone--tiny-clip/refs/main'],
  )
})

test('a real model comes over the wire whole: what arrives opens', async t => {
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
  const folder = await resolveSource(id, { ...fast, env })
  const [arrived, original] = await Promise.all([readCheckpoint(folder), readCheckpoint(model)])
  t.is(arrived.fingerprint, original.fingerprint)
  t.deepEqual(arrived.preprocess, original.preprocess)
  t.deepEqual(
    { ...arrived.vocabulary, file: '' },
    { ...original.vocabulary, file: '' },
    'the vocabulary, but for the place it was read from',
  )
})

test('tokenizer.json when there is no vocab.json; both processor files', async t => {
  const { 'vocab.json': _, ...files } = tinyRepo()
  const server = await hub(t, { ...files, 'processor_config.json': { content: Buffer.from('{}') } })
  const { env } = sandbox()
  const folder = await resolveSource(id, { ...fast, env, endpoint: server.url })
  t.deepEqual(readdirSync(folder).sort(), [
    'config.json',
    'model.safetensors',
    'preprocessor_config.json',
    'processor_config.json',
    'tokenizer.json',
  ])
})

test('an OpenCLIP repository: its own pair, even beside an image-only model', async t => {
  const weights = { content: bytes(5000), large: true }
  const config = { content: Buffer.from('{"model_cfg":{}}') }
  const server = await hub(t, {
    ...tinyRepo(),
    'open_clip_config.json': config,
    'open_clip_model.safetensors': weights,
    'open_clip_pytorch_model.bin': weights,
  })
  const { env } = sandbox()
  const folder = await resolveSource(id, { ...fast, env, endpoint: server.url })
  t.deepEqual(readdirSync(folder).sort(), [
    'merges.txt',
    'open_clip_config.json',
    'open_clip_model.safetensors',
    'vocab.json',
  ])
})

test('an old OpenCLIP repository: .bin when there is nothing else', async t => {
  const server = await hub(t, {
    'open_clip_config.json': { content: Buffer.from('{"model_cfg":{}}') },
    'open_clip_pytorch_model.bin': { content: bytes(5000), large: true },
  })
  const { env } = sandbox()
  const folder = await resolveSource(id, { ...fast, env, endpoint: server.url })
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

test('shards of an index', async t => {
  const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
  const server = await hub(t, sharded(names))
  const { env } = sandbox()
  const seen: DownloadProgress[] = []
  const options = { ...fast, env, endpoint: server.url, onProgress: (p: DownloadProgress) => seen.push(p) }
  const folder = await resolveSource(id, options)
  for (const name of names) t.is(readFileSync(join(folder, name)).length, 3000)
  t.is(seen.at(-1)?.modelReceived, seen.at(-1)?.modelTotal)
  t.is((await findCached(id, { env }))?.path, folder)
  rmSync(join(folder, names[1]))
  t.is(await findCached(id, { env }), undefined, 'a missing shard is not overlooked')
})

test('an index that names files elsewhere, or files that are not there, is refused', async t => {
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
    await t.throwsAsync(resolveSource(id, { ...fast, env, endpoint: server.url }), { code, message })
    t.false(tree(home).some(name => /evil|script|absent/.test(name)))
  }
})

test('names that a server should not send are refused before anything is written', async t => {
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
    const error = await t.throwsAsync(resolveSource(id, { ...fast, env, endpoint: server.url }), {
      code: 'ERR_CLIP_DOWNLOAD',
      message: /which is refused/,
    })
    t.like(error, { field: 'siblings[1].rfilename' })
    t.deepEqual(tree(cache), [])
  }
})

test('a server that is no hub: each answer is said so', async t => {
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
    await t.throwsAsync(resolveSource(id, { ...fast, env, endpoint: server.url }), {
      code: 'ERR_CLIP_DOWNLOAD',
      message,
    })
  }
  const page = await serve(t, (_, response) => response.end('<html>please log in</html>'))
  const huge = await serve(t, (_, response) => response.end(Buffer.alloc(9 * 2 ** 20, 0x20)))
  const { env } = sandbox()
  await t.throwsAsync(resolveSource(id, { ...fast, env, endpoint: page.url }), { message: /login page/ })
  await t.throwsAsync(resolveSource(id, { ...fast, env, endpoint: huge.url }), { message: /sends more than/ })
})

test('a hub file with the wrong hash is not put in place, and the repository does not count as here', async t => {
  const files = tinyRepo()
  files['model.safetensors'].listed = { sha256: 'b'.repeat(64) }
  const server = await hub(t, files)
  const { env, cache } = sandbox()
  const error = await t.throwsAsync(resolveSource(id, { ...fast, env, endpoint: server.url }), {
    code: 'ERR_CLIP_CHECKSUM',
  })
  t.like(error, { expected: 'b'.repeat(64), actual: sha256(files['model.safetensors'].content) })
  t.false(tree(cache).some(name => /model\.safetensors|refs|lock/.test(name)))
  t.is(await findCached(id, { env }), undefined)
})

test('no such repository', async t => {
  const server = await serve(t, (_, response) => response.writeHead(404).end())
  const { env } = sandbox()
  await t.throwsAsync(resolveSource('no/such', { ...fast, env, endpoint: server.url }), {
    code: 'ERR_CLIP_DOWNLOAD',
    message: /\/api\/models\/no\/such\/revision\/main answered 404: there is no such model/,
  })
})

test('offline: nothing is asked, and the error says where it looked', async t => {
  const server = await serve(t, (_, response) => response.end())
  for (const [options, extra] of [
    [{ offline: true }, {}],
    [{}, { HF_HUB_OFFLINE: '1' }],
    [{}, { HF_HUB_OFFLINE: 'true' }],
  ] as const)
    for (const name of ['ViT-B/32', id]) {
      const { env, cache, home } = sandbox({
        HF_ENDPOINT: server.url,
        CLIP_NATIVE_OPENAI_ENDPOINT: server.url,
        ...extra,
      })
      const error = await t.throwsAsync(resolveSource(name, { env, ...options }), {
        code: 'ERR_CLIP_OFFLINE',
      })
      t.true(error!.message.includes(cache) && error!.message.includes(join(home, '.cache')), error!.message)
      t.true(error!.message.includes(server.url), 'and where it would come from')
    }
  t.is(server.requests.length, 0)
  const { env } = sandbox({ HF_HUB_OFFLINE: '1', HF_ENDPOINT: server.url })
  await t.throwsAsync(resolveSource(id, { ...fast, env, offline: false }), { code: 'ERR_CLIP_DOWNLOAD' })
  t.true(server.requests.length > 0, 'the option wins over the environment')
})

test('OpenAI’s file where Python put it is used as it is; half a file is not', async t => {
  const { env, home, cache } = sandbox({ HF_HUB_OFFLINE: '1' })
  const theirs = join(home, '.cache', 'clip', 'ViT-B-32.pt')
  write(theirs, 'half')
  await t.throwsAsync(resolveSource('ViT-B/32', { env }), { code: 'ERR_CLIP_OFFLINE' })
  truncateSync(theirs, modelInfo('ViT-B/32').bytes)
  t.is(await resolveSource('ViT-B/32', { env }), theirs)
  t.like(await findCached('ViT-B/32', { env }), { place: 'openai' })
  const ours = join(cache, 'openai', 'RN50.pt')
  write(ours, '')
  truncateSync(ours, modelInfo('RN50').bytes)
  t.is(await resolveSource('RN50', { env }), ours)
  t.false(existsSync(`${ours}.lock`))
})

test('an OpenAI name asks for its hash and file; what does not have that hash is deleted', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, bytes(1000)))
  const { env, cache } = sandbox({ CLIP_NATIVE_OPENAI_ENDPOINT: `${server.url}/mirror`, HF_TOKEN: 'secret' })
  for (const name of availableModels()) {
    const { sha256: expected, file } = modelInfo(name)
    const error = await t.throwsAsync(resolveSource(name, { ...fast, env }), { code: 'ERR_CLIP_CHECKSUM' })
    t.like(error, { expected, actual: sha256(bytes(1000)) })
    t.is(server.requests.at(-1)?.url, `/mirror/${expected}/${file}`)
    t.is(server.requests.at(-1)?.headers.authorization, undefined, 'the hub’s token is not for OpenAI')
  }
  t.is(server.requests.length, 9)
  t.deepEqual(tree(cache), [])
})

/** As huggingface_hub lays it out: refs, blobs, and snapshots of links (or copies, on Windows). */
function pythonCache(
  root: string,
  revision = 'main',
  names = ['config.json', 'model.safetensors', 'preprocessor_config.json', 'vocab.json', 'merges.txt'],
) {
  const repo = join(root, `models--${id.replace('/', '--')}`)
  write(join(repo, 'refs', ...revision.split('/')), commit)
  const folder = join(repo, 'snapshots', commit)
  mkdirSync(folder, { recursive: true })
  for (const name of names) {
    const content = name === 'config.json' ? '{"model_type":"clip"}' : `content of ${name}`
    const blob = join(repo, 'blobs', sha256(Buffer.from(content)))
    write(blob, content)
    if (process.platform === 'win32') write(join(folder, name), content)
    else symlinkSync(join('..', '..', 'blobs', sha256(Buffer.from(content))), join(folder, name))
  }
  return { repo, folder }
}

test('the hub cache of Python, wherever its variables say', async t => {
  const offline = { offline: true }
  for (const [variable, below] of [
    [undefined, ['.cache', 'huggingface', 'hub']],
    ['XDG_CACHE_HOME', ['xdg', 'huggingface', 'hub']],
    ['HF_HOME', ['hf', 'hub']],
    ['HF_HUB_CACHE', ['cache']],
    ['HUGGINGFACE_HUB_CACHE', ['legacy']],
  ] as const) {
    const { env, home } = sandbox()
    if (variable) env[variable] = join(home, below[0])
    const { folder } = pythonCache(join(home, ...below))
    t.is(await resolveSource(id, { env, ...offline }), folder, variable)
    t.like(await findCached(id, { env }), { place: 'huggingface' })
    t.is(await resolveSource(`${id}@${commit}`, { env, ...offline }), folder)
    await t.throwsAsync(resolveSource(`${id}@other`, { env, ...offline }), { code: 'ERR_CLIP_OFFLINE' })
  }
})

test('a branch with slashes in Python’s cache', async t => {
  const { env, home } = sandbox()
  const { folder } = pythonCache(join(home, '.cache', 'huggingface', 'hub'), 'refs/pr/3')
  t.is(await resolveSource(`${id}@refs/pr/3`, { env, offline: true }), folder)
})

test('a snapshot of Python’s that is not whole, or no CLIP model, does not count', async t => {
  const { env, home } = sandbox()
  const root = join(home, '.cache', 'huggingface', 'hub')
  const { repo, folder } = pythonCache(root)
  const missing = () => t.throwsAsync(resolveSource(id, { env, offline: true }), { code: 'ERR_CLIP_OFFLINE' })
  t.is(await resolveSource(id, { env, offline: true }), folder)
  const weights = join(folder, 'model.safetensors')
  rmSync(weights)
  await missing()
  if (process.platform !== 'win32') {
    symlinkSync(join(repo, 'blobs', 'gone'), weights)
    await missing()
    rmSync(weights)
  }
  writeFileSync(weights, 'x')
  for (const part of ['preprocessor_config.json', 'merges.txt']) {
    renameSync(join(folder, part), join(repo, part))
    await missing()
    renameSync(join(repo, part), join(folder, part))
  }
  t.is(await resolveSource(id, { env, offline: true }), folder)
  rmSync(join(folder, 'config.json'))
  writeFileSync(join(folder, 'config.json'), '{"architecture":"vit_base_patch32_clip_224"}')
  await missing()
  writeFileSync(join(repo, 'refs', 'main'), '../../../elsewhere')
  await missing()
})

test('our folder by option, variable and platform', t => {
  const at = (platform: NodeJS.Platform, env: NodeJS.ProcessEnv, cacheDir?: string) =>
    places({ cacheDir, env: { HOME: '/home/me', USERPROFILE: '/users/me', ...env } }, platform).own
  if (process.platform === 'win32') return t.pass('the paths below are of Unix')
  t.is(at('linux', {}), '/home/me/.cache/clip-native')
  t.is(at('linux', { XDG_CACHE_HOME: '/xdg' }), '/xdg/clip-native')
  t.is(at('darwin', {}), '/home/me/Library/Caches/clip-native')
  t.is(at('win32', { LOCALAPPDATA: '/local' }), '/local/clip-native/Cache')
  t.is(at('win32', {}), '/users/me/AppData/Local/clip-native/Cache')
  t.is(at('linux', { CLIP_NATIVE_CACHE: '/mine' }), '/mine')
  t.is(at('darwin', { CLIP_NATIVE_CACHE: '~/mine' }), '/home/me/mine')
  t.is(at('linux', { CLIP_NATIVE_CACHE: '/mine' }, '/option'), '/option')
})

test('paths: what exists is returned, what looks like a path and is not there is said so', async t => {
  const { home, env } = sandbox({ HF_HUB_OFFLINE: '1' })
  const file = join(home, 'model.safetensors')
  writeFileSync(file, 'x')
  t.is(await resolveSource(file, { env }), file)
  t.is(await resolveSource(home, { env }), home)
  for (const missing of [
    join(home, 'nothing'),
    './nothing/here',
    '../nothing',
    'weights/model.safetensors',
    'model.pt',
  ])
    await t.throwsAsync(resolveSource(missing, { env }), {
      code: 'ERR_CLIP_CHECKPOINT',
      message: /no such file or folder/,
    })
  for (const unknown of ['ViT-B/23', 'RN51', 'foo', 'a/b/c'])
    await t.throwsAsync(resolveSource(unknown, { env }), {
      code: 'ERR_CLIP_CONFIG',
      message: /no model named/,
    })
})

test('impossible arguments are the caller’s, and reject', async t => {
  const wrong = async (options: unknown, instanceOf: typeof TypeError | typeof RangeError = TypeError) =>
    t.throwsAsync(resolveSource('RN50', options as HubOptions), { instanceOf, code: 'ERR_CLIP_INPUT' })
  await wrong({ offline: 'yes' })
  await wrong({ onProgress: 1 })
  await wrong({ signal: {} })
  await wrong({ cacheDir: '' })
  await wrong({ cacheDir: 3 })
  await wrong({ idleTimeout: '3' })
  await wrong({ idleTimeout: 0 }, RangeError)
  await wrong({ retries: -1 }, RangeError)
  await wrong({ endpoint: 'ftp://x' })
  await wrong({ endpoint: 'https://user:word@x' })
  await wrong({ env: { HF_ENDPOINT: 'nonsense' } })
  for (const source of ['', 'a\0b', 3])
    await t.throwsAsync(resolveSource(source as string), { instanceOf: TypeError, code: 'ERR_CLIP_INPUT' })
  const reason = new Error('enough')
  t.is(await t.throwsAsync(resolveSource('RN50', { signal: AbortSignal.abort(reason) })), reason)
})

test('a cache folder that can’t be: a file in its place', async t => {
  const server = await hub(t, tinyRepo())
  const { env, home } = sandbox({ HF_ENDPOINT: server.url })
  writeFileSync(join(home, 'file'), '')
  await t.throwsAsync(resolveSource(id, { ...fast, env, cacheDir: join(home, 'file') }), {
    code: 'ERR_CLIP_DOWNLOAD',
    message: /no folder \((ENOTDIR|EEXIST)\).*CLIP_NATIVE_CACHE/,
  })
  t.is(server.requests.length, 0)
})

const mayAll = process.getuid?.() === 0 || process.platform === 'win32'
;(mayAll ? test.skip : test)(
  'a read-only cache folder (skipped for root and on Windows: they may write)',
  async t => {
    const { env, cache } = sandbox()
    mkdirSync(cache)
    chmodSync(cache, 0o500)
    await t.throwsAsync(resolveSource(id, { ...fast, env }), {
      code: 'ERR_CLIP_DOWNLOAD',
      message: /no permission to write there.*CLIP_NATIVE_CACHE/,
    })
  },
)

interface Line {
  path?: string
  code?: string
  message?: string
  progress?: DownloadProgress
}

/** A process of its own that wants the model. */
function child(
  t: ExecutionContext,
  name: string,
  options: HubOptions,
  env: NodeJS.ProcessEnv,
  onLine = (_: Line) => {},
) {
  const script = join(dirname(fileURLToPath(import.meta.url)), 'child.js')
  const { PATH, SystemRoot, TMPDIR } = process.env
  const started = spawn(process.execPath, [script, name, JSON.stringify(options)], {
    env: { PATH, SystemRoot, TMPDIR, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => started.kill('SIGKILL'))
  const lines: Line[] = []
  createInterface({ input: started.stdout }).on('line', text => {
    const line = JSON.parse(text) as Line
    lines.push(line)
    onLine(line)
  })
  const ended = new Promise<{ exit: number | null; last: Line | undefined; lines: Line[] }>(done =>
    started.on('close', exit => done({ exit, last: lines.at(-1), lines })),
  )
  return { kill: () => started.kill('SIGKILL'), ended }
}

test('two processes want the same model at once: one download, both get it', async t => {
  const files = tinyRepo(bytes(400_000))
  let both = 0
  let release = () => {}
  const gate = new Promise<void>(done => {
    release = done
  })
  const server = await serve(t, (request, response) => {
    // The weights come only after the other process has met the lock: the two do overlap.
    if (request.url!.endsWith('model.safetensors')) gate.then(() => answerHub(request, response, id, files))
    else answerHub(request, response, id, files)
  })
  const { env, cache } = sandbox({ HF_ENDPOINT: server.url })
  const onLine = ({ progress }: Line) => {
    if (progress?.phase === 'waiting' && ++both === 1) release()
  }
  const results = await Promise.all([
    child(t, id, fast, env, onLine).ended,
    child(t, id, fast, env, onLine).ended,
  ])
  const folder = join(cache, 'hub', 'someone--tiny-clip', 'snapshots', commit)
  for (const { exit, last } of results) {
    t.is(exit, 0)
    t.is(last?.path, folder)
  }
  t.true(both > 0, 'one of them waited')
  const urls = server.requests.map(({ url }) => url)
  t.is(new Set(urls).size, urls.length, 'nothing was asked for twice')
  t.is(sha256(readFileSync(join(folder, 'model.safetensors'))), sha256(files['model.safetensors'].content))
  t.deepEqual(
    tree(cache).filter(name => /lock|part|takeover/.test(name)),
    [],
  )
})

test('kill -9 in the middle: nothing is in place, and the next process takes the lock over and continues', async t => {
  const files = tinyRepo(bytes(400_000))
  files['model.safetensors'].send = { hangAfter: 150_000 }
  const server = await hub(t, files)
  const { env, cache } = sandbox({ HF_ENDPOINT: server.url })
  const folder = join(cache, 'hub', 'someone--tiny-clip', 'snapshots', commit)
  const weights = join(folder, 'model.safetensors')
  const first = child(t, id, fast, env)
  while (!existsSync(`${weights}.part`) || readFileSync(`${weights}.part`).length < 150_000)
    await new Promise(done => setTimeout(done, 20))
  t.false(existsSync(weights), 'never half a file in place')
  first.kill()
  t.is((await first.ended).exit, null)
  t.true(existsSync(join(cache, 'hub', 'someone--tiny-clip', 'model.lock')), 'it could not clean up')
  t.is(await findCached(id, { env }), undefined)

  files['model.safetensors'].send = undefined
  const before = server.requests.length
  const { exit, last } = await child(t, id, fast, env).ended
  t.is(exit, 0)
  t.is(last?.path, folder)
  t.is(sha256(readFileSync(weights)), sha256(files['model.safetensors'].content))
  const second = server.requests.slice(before)
  t.deepEqual(
    second.map(({ url, headers }) => [url.replace(/.*\//, ''), headers.range]),
    [
      ['main?blobs=true', undefined],
      ['model.safetensors', 'bytes=150000-'],
    ],
    'small files are not asked for again',
  )
  t.deepEqual(
    tree(cache).filter(name => /lock|part|takeover/.test(name)),
    [],
  )
})
