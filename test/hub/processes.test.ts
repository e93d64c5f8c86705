import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { findCached, resolveName } from '../../lib/hub/index.js'
import { child, fast, hub, id, type Line, tree } from './repo.js'
import { answerHub, bytes, commit, sandbox, serve, sha256, tinyRepo } from './server.js'

const noUsers = process.platform === 'win32'
;(noUsers ? test.skip : test)('a read-only cache folder (skipped on Windows)', async t => {
  const { env, cache, home } = sandbox()
  mkdirSync(cache)
  chmodSync(home, 0o755)
  chmodSync(cache, 0o555)
  // Root may write everywhere: there the process becomes nobody first.
  const nobody = process.getuid!() === 0 ? { TEST_UID: '65534' } : {}
  const { exit, last } = await child(t, id, fast, { ...env, ...nobody }).ended
  t.is(exit, 1)
  t.is(last?.code, 'ERR_CLIP_DOWNLOAD')
  t.regex(last?.message ?? '', /no permission to write there.*CLIP_NATIVE_CACHE/)
  t.deepEqual(tree(cache), [])
})

test('ten calls in one process share one download', async t => {
  const server = await hub(t, tinyRepo())
  const { env } = sandbox({ HF_ENDPOINT: server.url })
  const folders = await Promise.all(Array.from({ length: 10 }, () => resolveName(id, { ...fast, env })))
  t.is(new Set(folders).size, 1)
  t.is(new Set(server.requests.map(({ url }) => url)).size, server.requests.length)
})

test('two processes that load the same model at once share one download', async t => {
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
    t.is(exit, 0, JSON.stringify(last))
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

test('after kill -9 during a download nothing is in place, and the next process takes over the lock and resumes', async t => {
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
