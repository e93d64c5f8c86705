import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { cacheFolders } from '../../lib/base/cache-folders.js'
import { availableModels, modelInfo } from '../../lib/base/known-models.js'
import { findCached, type HubOptions, resolveName } from '../../lib/hub/index.js'
import { fast, hub, id, tree, write } from './repo.js'
import { bytes, commit, sandbox, sendFile, serve, sha256, tinyRepo } from './server.js'

test('offline, no request is made, and the error says where the model was searched', async t => {
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
      const error = await t.throwsAsync(resolveName(name, { env, ...options }), {
        code: 'ERR_CLIP_OFFLINE',
      })
      t.true(error!.message.includes(cache) && error!.message.includes(join(home, '.cache')), error!.message)
      t.true(error!.message.includes(server.url), 'and where it would come from')
    }
  t.is(server.requests.length, 0)
  const { env } = sandbox({ HF_HUB_OFFLINE: '1', HF_ENDPOINT: server.url })
  await t.throwsAsync(resolveName(id, { ...fast, env, offline: false }), { code: 'ERR_CLIP_DOWNLOAD' })
  t.true(server.requests.length > 0, 'the option wins over the environment')
})

test('OpenAI’s file in Python’s cache is used, but an incomplete one is not', async t => {
  const { env, home, cache } = sandbox({ HF_HUB_OFFLINE: '1' })
  const theirs = join(home, '.cache', 'clip', 'ViT-B-32.pt')
  write(theirs, 'half')
  await t.throwsAsync(resolveName('ViT-B/32', { env }), { code: 'ERR_CLIP_OFFLINE' })
  truncateSync(theirs, modelInfo('ViT-B/32').bytes)
  t.is(await resolveName('ViT-B/32', { env }), theirs)
  t.like(await findCached('ViT-B/32', { env }), { place: 'openai' })
  const ours = join(cache, 'openai', 'RN50.pt')
  write(ours, '')
  truncateSync(ours, modelInfo('RN50').bytes)
  t.is(await resolveName('RN50', { env }), ours)
  t.false(existsSync(`${ours}.lock`))
})

test('the file of an OpenAI name is requested under its hash, and deleted if its hash is wrong', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, bytes(1000)))
  const { env, cache } = sandbox({ CLIP_NATIVE_OPENAI_ENDPOINT: `${server.url}/mirror`, HF_TOKEN: 'secret' })
  for (const name of availableModels()) {
    const { sha256: expected, file } = modelInfo(name)
    const error = await t.throwsAsync(resolveName(name, { ...fast, env }), { code: 'ERR_CLIP_CHECKSUM' })
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

test("Python's hub cache is found where its environment variables say", async t => {
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
    t.is(await resolveName(id, { env, ...offline }), folder, variable)
    t.like(await findCached(id, { env }), { place: 'huggingface' })
    t.is(await resolveName(`${id}@${commit}`, { env, ...offline }), folder)
    await t.throwsAsync(resolveName(`${id}@other`, { env, ...offline }), { code: 'ERR_CLIP_OFFLINE' })
  }
})

test('a branch with slashes is found in Python’s cache', async t => {
  const { env, home } = sandbox()
  const { folder } = pythonCache(join(home, '.cache', 'huggingface', 'hub'), 'refs/pr/3')
  t.is(await resolveName(`${id}@refs/pr/3`, { env, offline: true }), folder)
})

test('a snapshot in Python’s cache that is incomplete or not a CLIP model is ignored', async t => {
  const { env, home } = sandbox()
  const root = join(home, '.cache', 'huggingface', 'hub')
  const { repo, folder } = pythonCache(root)
  const missing = () => t.throwsAsync(resolveName(id, { env, offline: true }), { code: 'ERR_CLIP_OFFLINE' })
  t.is(await resolveName(id, { env, offline: true }), folder)
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
  t.is(await resolveName(id, { env, offline: true }), folder)
  rmSync(join(folder, 'config.json'))
  writeFileSync(join(folder, 'config.json'), '{"architecture":"vit_base_patch32_clip_224"}')
  await missing()
  writeFileSync(join(repo, 'refs', 'main'), '../../../elsewhere')
  await missing()
})

test('the cache folder is chosen by option, variable and platform', t => {
  const at = (platform: NodeJS.Platform, env: NodeJS.ProcessEnv, cacheDir?: string) =>
    cacheFolders({ cacheDir, env: { HOME: '/home/me', USERPROFILE: '/users/me', ...env } }, platform).own
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

test('an existing path is returned, and the error for a missing one says that it does not exist', async t => {
  const { home, env } = sandbox({ HF_HUB_OFFLINE: '1' })
  const file = join(home, 'model.safetensors')
  writeFileSync(file, 'x')
  t.is(await resolveName(file, { env }), file)
  t.is(await resolveName(home, { env }), home)
  for (const missing of [
    join(home, 'nothing'),
    './nothing/here',
    '../nothing',
    'weights/model.safetensors',
    'model.pt',
  ])
    await t.throwsAsync(resolveName(missing, { env }), {
      code: 'ERR_CLIP_CHECKPOINT',
      message: /no such file or folder/,
    })
  for (const unknown of ['ViT-B/23', 'RN51', 'foo', 'a/b/c'])
    await t.throwsAsync(resolveName(unknown, { env }), {
      code: 'ERR_CLIP_CONFIG',
      message: /no model named/,
    })
})

test('invalid arguments reject with a TypeError or RangeError', async t => {
  const wrong = async (options: unknown, instanceOf: typeof TypeError | typeof RangeError = TypeError) =>
    t.throwsAsync(resolveName('RN50', options as HubOptions), { instanceOf, code: 'ERR_CLIP_INPUT' })
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
    await t.throwsAsync(resolveName(source as string), { instanceOf: TypeError, code: 'ERR_CLIP_INPUT' })
  const reason = new Error('enough')
  t.is(await t.throwsAsync(resolveName('RN50', { signal: AbortSignal.abort(reason) })), reason)
})

test('a file in place of the cache folder is an error that names it', async t => {
  const server = await hub(t, tinyRepo())
  const { env, home } = sandbox({ HF_ENDPOINT: server.url })
  writeFileSync(join(home, 'file'), '')
  await t.throwsAsync(resolveName(id, { ...fast, env, cacheDir: join(home, 'file') }), {
    code: 'ERR_CLIP_DOWNLOAD',
    message: /not a folder \((ENOTDIR|EEXIST)\).*CLIP_NATIVE_CACHE/,
  })
  t.is(server.requests.length, 0)
})

if (process.platform === 'linux')
  test('a cache folder below /proc and a pipe in the cache are errors', async t => {
    const server = await hub(t, tinyRepo())
    const { env, cache } = sandbox({ HF_ENDPOINT: server.url })
    const nowhere = { ...env, HOME: '/proc/nope', XDG_CACHE_HOME: '', CLIP_NATIVE_CACHE: '' }
    for (const options of [{ env, cacheDir: '/proc/nope' }, { env: nowhere }])
      for (const name of [id, 'ViT-B/32'])
        await t.throwsAsync(resolveName(name, { ...fast, ...options }), {
          code: 'ERR_CLIP_DOWNLOAD',
          message: /^\/proc\/nope.*can't be created.*CLIP_NATIVE_CACHE/,
        })
    // What is no file is passed over, never opened.
    const refs = join(cache, 'hub', id.replace('/', '--'), 'refs')
    mkdirSync(refs, { recursive: true })
    execFileSync('mkfifo', [join(refs, 'main')])
    t.is(await findCached(id, { env }), undefined)
  })
