import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { downloadFile, type FileHooks, type RemoteFile } from '../../lib/hub/download.js'
import { openHttp, retryAfter } from '../../lib/hub/http.js'
import { type HubOptions, settings } from '../../lib/hub/options.js'
import { bytes, gitSha1, randomBelow, sandbox, sendFile, serve, sha256 } from './server.js'

const content = bytes(300_000)
const hash = sha256(content)

interface Fetched {
  target: string
  fetch(options?: HubOptions, remote?: Partial<RemoteFile>, hooks?: FileHooks): Promise<void>
  left(): string[]
}

/** A target in a new folder, and downloads into it that lose no time between retries. */
function into(url: string, standard: Partial<RemoteFile> = {}, env: NodeJS.ProcessEnv = {}): Fetched {
  const { home } = sandbox()
  const target = join(home, 'model.bin')
  return {
    target,
    left: () => readdirSync(home),
    async fetch(options = {}, remote = {}, hooks = {}) {
      const chosen = settings({ env, retryDelay: 1, retries: 3, idleTimeout: 10_000, ...options })
      const http = await openHttp(chosen)
      try {
        await downloadFile(http, { url, ...standard, ...remote }, target, chosen, hooks)
      } finally {
        await http.close()
      }
    },
  }
}

function whole(t: ExecutionContext, to: Fetched, expected = content) {
  t.deepEqual(to.left(), ['model.bin'], 'nothing is left beside the file')
  t.is(sha256(readFileSync(to.target)), sha256(expected))
}

test('a good server: one request, progress to the last byte, nothing left beside', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const to = into(server.url, { sha256: hash, bytes: content.length, gitSha1: gitSha1(content) })
  const seen: (number | undefined)[][] = []
  await to.fetch({}, {}, { report: (_, received, total) => seen.push([received, total]) })
  whole(t, to)
  t.is(server.requests.length, 1)
  t.is(server.requests[0].headers.range, undefined)
  t.is(server.requests[0].headers.authorization, undefined)
  t.is(server.requests[0].headers['accept-encoding'], 'identity')
  t.deepEqual(seen.at(-1), [content.length, content.length])
  t.true(seen.every(([received], i) => i === 0 || received! >= seen[i - 1][0]!))
})

for (const seed of [1, 2, 3, 4])
  test(`the connection is cut at random bytes: resumed by Range, sent about once (${seed})`, async t => {
    const below = randomBelow(seed)
    let sent = 0
    const server = await serve(t, (request, response) => {
      sent += sendFile(request, response, content, { etag: '"v1"', cutAfter: below(120_000) })
    })
    const to = into(server.url, { sha256: hash })
    await to.fetch()
    whole(t, to)
    const resumed = server.requests.filter(({ headers }) => headers.range !== undefined)
    t.true(resumed.length > 0)
    t.true(resumed.every(({ headers }) => headers['if-range'] === '"v1"'))
    t.true(sent < 1.5 * content.length, `${sent} bytes were sent for ${content.length}`)
  })

test('cut by a server without Range: starts again, and the file is whole', async t => {
  const server = await serve(t, (request, response, count) =>
    sendFile(request, response, content, {
      ranges: false,
      etag: '"v1"',
      cutAfter: count < 3 ? count * 90_000 : undefined,
    }),
  )
  const to = into(server.url, { sha256: hash })
  await to.fetch()
  whole(t, to)
  t.is(server.requests.length, 3)
})

test('cut for ever: gives up with the address and the last byte, and keeps what arrived', async t => {
  const server = await serve(t, (request, response) =>
    sendFile(request, response, content, { ranges: false, etag: '"v1"', cutAfter: 1000 }),
  )
  const to = into(server.url)
  const error = await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_DOWNLOAD' })
  t.true(error!.message.includes(server.url), error!.message)
  t.regex(error!.message, /gave up after \d+ attempts/)
  t.false(existsSync(to.target))
})

test('without etag and hash nothing can be resumed: every attempt is whole', async t => {
  const server = await serve(t, (request, response, count) =>
    sendFile(request, response, content, { cutAfter: count < 3 ? 50_000 : undefined }),
  )
  const to = into(server.url)
  await to.fetch()
  whole(t, to)
  t.true(server.requests.every(({ headers }) => headers.range === undefined))
})

test('a weak etag is no promise: not used for If-Range', async t => {
  const server = await serve(t, (request, response, count) =>
    sendFile(request, response, content, { etag: 'W/"v1"', cutAfter: count < 2 ? 50_000 : undefined }),
  )
  const to = into(server.url)
  await to.fetch()
  whole(t, to)
  t.true(server.requests.every(({ headers }) => headers.range === undefined))
})

test('the file changed between two attempts: If-Range brings the new one whole', async t => {
  const newer = bytes(250_000, 7)
  const server = await serve(t, (request, response, count) =>
    count === 1
      ? sendFile(request, response, content, { etag: '"old"', cutAfter: 100_000 })
      : sendFile(request, response, newer, { etag: '"new"' }),
  )
  const to = into(server.url)
  await to.fetch()
  whole(t, to, newer)
  t.is(server.requests[1].headers['if-range'], '"old"')
})

test('a server that mixes two files in one range: the hash tells, and it is fetched afresh once', async t => {
  const other = bytes(300_000, 9)
  const server = await serve(t, (request, response, count) => {
    delete request.headers['if-range']
    sendFile(request, response, count === 1 ? other : content, {
      cutAfter: count === 1 ? 100_000 : undefined,
    })
  })
  const to = into(server.url, { sha256: hash })
  await to.fetch()
  whole(t, to)
  t.deepEqual(
    server.requests.map(({ headers }) => headers.range !== undefined),
    [false, true, false],
  )
})

test('a range that starts elsewhere is not appended', async t => {
  const server = await serve(t, (request, response, count) => {
    if (count === 1) return sendFile(request, response, content, { etag: '"v1"', cutAfter: 100_000 })
    if (request.headers.range !== undefined)
      return response
        .writeHead(206, { etag: '"v1"', 'content-range': `bytes 0-299999/${content.length}` })
        .end(content)
    return sendFile(request, response, content, { etag: '"v1"' })
  })
  const to = into(server.url)
  await to.fetch()
  whole(t, to)
  t.is(server.requests.length, 3)
})

test('416 for a part that the server does not know: starts again', async t => {
  const server = await serve(t, (request, response) => {
    if (request.headers.range !== undefined) return response.writeHead(416).end()
    return sendFile(request, response, content)
  })
  const to = into(server.url, { sha256: hash })
  writeFileSync(`${to.target}.part`, content.subarray(0, 1000))
  writeFileSync(`${to.target}.part.json`, JSON.stringify({ url: server.url, sha256: hash }))
  await to.fetch()
  whole(t, to)
  t.is(server.requests.length, 2)
})

test('a part of another process is used; a whole one needs no request; a foreign or long one is dropped', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const part = (length: number, url = server.url) => {
    const to = into(server.url, { sha256: hash })
    writeFileSync(`${to.target}.part`, Buffer.concat([content, content]).subarray(0, length))
    writeFileSync(`${to.target}.part.json`, JSON.stringify({ url, sha256: hash, total: content.length }))
    return to
  }
  const ranges = async (to: Fetched) => {
    const before = server.requests.length
    await to.fetch()
    whole(t, to)
    return server.requests.slice(before).map(({ headers }) => headers.range)
  }
  t.deepEqual(await ranges(part(123_456)), ['bytes=123456-'])
  t.deepEqual(await ranges(part(content.length)), [])
  t.deepEqual(await ranges(part(content.length + 1)), [undefined])
  t.deepEqual(await ranges(part(1000, `${server.url}/other`)), [undefined])
})

test('the announced length is not the listed one: said at once, before the body', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const to = into(server.url, { bytes: 299_999 })
  const error = await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_DOWNLOAD' })
  t.like(error, { field: 'content-length', expected: '299999', actual: '300000' })
  t.is(server.requests.length, 1)
  t.deepEqual(to.left(), [])
})

test('more announced than sent: tried again, then an error that names both', async t => {
  const server = await serve(t, (request, response) =>
    sendFile(request, response, content, { ranges: false, length: 300_100 }),
  )
  const to = into(server.url, { sha256: hash })
  const error = await t.throwsAsync(to.fetch({ retries: 1 }), { code: 'ERR_CLIP_DOWNLOAD' })
  t.regex(error!.message, /gave up after 2 attempts/)
  t.false(existsSync(to.target))
})

test('less announced than meant: a whole answer with the wrong hash', async t => {
  const server = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': 1000 })
    response.end(content.subarray(0, 1000))
  })
  const to = into(server.url, { sha256: hash })
  await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_CHECKSUM' })
  t.deepEqual(to.left(), [])
})

test('a chunked answer that ends early against the listing', async t => {
  const server = await serve(t, (_, response) => response.writeHead(200).end(content.subarray(0, 1000)))
  const to = into(server.url, { bytes: content.length })
  t.like(await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_DOWNLOAD' }), {
    expected: '300000',
    actual: '1000',
  })
  t.false(existsSync(to.target))
})

test('a chunked answer of unknown length arrives whole', async t => {
  const server = await serve(t, (_, response) => response.writeHead(200).end(content))
  const to = into(server.url, { sha256: hash })
  await to.fetch()
  whole(t, to)
})

test('the wrong hash: deleted, not tried again, both hashes in the error', async t => {
  const wrong = bytes(300_000, 3)
  const server = await serve(t, (request, response) => sendFile(request, response, wrong, { etag: '"v1"' }))
  const to = into(server.url, { sha256: hash })
  const error = await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_CHECKSUM' })
  t.like(error, { expected: hash, actual: sha256(wrong) })
  t.true(error!.message.includes(hash) && error!.message.includes(sha256(wrong)))
  t.is(server.requests.length, 1)
  t.deepEqual(to.left(), [])
})

test('small files answer to git’s own hash', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const to = into(server.url, { bytes: content.length, gitSha1: '0'.repeat(40) })
  const error = await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_CHECKSUM' })
  t.like(error, { expected: '0'.repeat(40), actual: gitSha1(content) })
})

test('429 with Retry-After, 503, then 200', async t => {
  const server = await serve(t, (request, response, count) => {
    if (count === 1) response.writeHead(429, { 'retry-after': '0' }).end('slow down')
    else if (count === 2) response.writeHead(503).end()
    else sendFile(request, response, content)
  })
  const to = into(server.url, { sha256: hash })
  await to.fetch()
  whole(t, to)
  t.is(server.requests.length, 3)
})

test('429 that asks for an hour is an error at once', async t => {
  const server = await serve(t, (_, response) => response.writeHead(429, { 'retry-after': '3600' }).end())
  const error = await t.throwsAsync(into(server.url).fetch(), { code: 'ERR_CLIP_DOWNLOAD' })
  t.regex(error!.message, /429.*3600 s/)
  t.is(server.requests.length, 1)
})

test('Retry-After as seconds, as a date, as nonsense', t => {
  t.is(retryAfter('7'), 7000)
  t.is(retryAfter('Thu, 01 Jan 1970 00:00:10 GMT', 4000), 6000)
  t.is(retryAfter('Thu, 01 Jan 1970 00:00:01 GMT', 4000), 0)
  t.is(retryAfter('soon'), undefined)
  t.is(retryAfter(undefined), undefined)
})

test('answers that no retry changes: 404, 401 without and with a token', async t => {
  const server = await serve(t, (request, response) =>
    response
      .writeHead(request.url === '/gone' ? 404 : 401, { 'x-error-message': 'Access is restricted' })
      .end(),
  )
  const failed = async (path: string, options: HubOptions) =>
    (await t.throwsAsync(into(`${server.url}${path}`).fetch(options, { authorized: true }), {
      code: 'ERR_CLIP_DOWNLOAD',
    }))!.message
  t.regex(await failed('/gone', {}), /404: there is no such model/)
  t.regex(await failed('/gated', {}), /401.*set HF_TOKEN.*Access is restricted/)
  t.regex(await failed('/gated', { token: 'secret' }), /401.*the token in HF_TOKEN has no access/)
  t.is(server.requests.length, 3)
})

test('a redirect to another host carries no token, and none on the way back', async t => {
  const home = await serve(t, (request, response) => {
    if (request.url === '/file')
      response.writeHead(302, {
        location: `http://127.0.0.1:${far.port}/signed?key=1`,
        'x-linked-etag': `"${hash}"`,
        'x-linked-size': String(content.length),
      })
    else sendFile(request, response, content)
    response.end()
  })
  const far = await serve(t, (_, response) => response.writeHead(307, { location: `${home.url}/back` }).end())
  const to = into(`${home.url}/file`)
  await to.fetch({ token: 'secret' }, { authorized: true })
  whole(t, to)
  t.is(home.requests[0].headers.authorization, 'Bearer secret')
  t.is(far.requests[0].headers.authorization, undefined)
  t.is(home.requests[1].headers.authorization, undefined)
})

test('the hub’s own headers speak where the listing was silent', async t => {
  const server = await serve(t, (request, response) => {
    if (request.url === '/file')
      return response.writeHead(302, { location: '/bytes', 'x-linked-etag': `"${'a'.repeat(64)}"` }).end()
    return sendFile(request, response, content)
  })
  const error = await t.throwsAsync(into(`${server.url}/file`).fetch({}, { authorized: true }), {
    code: 'ERR_CLIP_CHECKSUM',
  })
  t.like(error, { expected: 'a'.repeat(64), actual: hash })
})

test('redirects are followed within the rules only', async t => {
  const places: Record<string, string | undefined> = {
    '/ftp': 'ftp://127.0.0.1/x',
    '/file': 'file:///etc/passwd',
    '/plain': 'http://example.invalid/x',
    '/nowhere': undefined,
    '/broken': 'http://[',
    '/loop': '/loop',
  }
  const server = await serve(t, (request, response) => {
    const location = places[request.url!]
    response.writeHead(302, location === undefined ? {} : { location }).end()
  })
  const failed = async (path: string) =>
    (await t.throwsAsync(into(`${server.url}${path}`).fetch(), { code: 'ERR_CLIP_DOWNLOAD' }))!.message
  t.regex(await failed('/ftp'), /only https/)
  t.regex(await failed('/file'), /only https/)
  t.regex(await failed('/plain'), /example\.invalid: only https/)
  t.regex(await failed('/nowhere'), /302 without an address/)
  t.regex(await failed('/broken'), /which is no address/)
  t.regex(await failed('/loop'), /more than 10 times/)
})

test('a server that hangs before its answer, then in its body, then answers', async t => {
  const server = await serve(t, (request, response, count) => {
    if (count === 1) return
    sendFile(request, response, content, { etag: '"v1"', hangAfter: count === 2 ? 100_000 : undefined })
  })
  const to = into(server.url, { sha256: hash })
  await to.fetch({ idleTimeout: 300 })
  whole(t, to)
  t.is(server.requests[2].headers.range, 'bytes=100000-')
})

test('a server that always hangs is given up, and said so', async t => {
  const server = await serve(t, () => {})
  const error = await t.throwsAsync(into(server.url).fetch({ idleTimeout: 200, retries: 1 }), {
    code: 'ERR_CLIP_DOWNLOAD',
  })
  t.regex(error!.message, /said nothing for too long/)
})

test('nobody listens', async t => {
  const server = await serve(t, () => {})
  await new Promise(done => server.server.close(done))
  const error = await t.throwsAsync(into(server.url).fetch({ retries: 1 }), { code: 'ERR_CLIP_DOWNLOAD' })
  t.regex(error!.message, /ECONNREFUSED/)
})

test('abort in the body rejects with the reason and keeps the part, which the next call continues', async t => {
  const server = await serve(t, (request, response, count) =>
    sendFile(request, response, content, { etag: '"v1"', hangAfter: count === 1 ? 100_000 : undefined }),
  )
  const to = into(server.url, { sha256: hash })
  const control = new AbortController()
  const reason = new Error('enough')
  const error = await t.throwsAsync(
    to.fetch(
      { signal: control.signal },
      {},
      {
        report: (_, received) => received >= 100_000 && control.abort(reason),
      },
    ),
  )
  t.is(error, reason)
  t.deepEqual(to.left().sort(), ['model.bin.part', 'model.bin.part.json'])
  await to.fetch()
  whole(t, to)
  t.is(server.requests[1].headers.range, 'bytes=100000-')
})

test('abort while waiting for the next attempt', async t => {
  const control = new AbortController()
  const reason = new Error('enough')
  const server = await serve(t, (_, response) => {
    response.writeHead(429, { 'retry-after': '200' }).end()
    setTimeout(() => control.abort(reason), 50)
  })
  t.is(await t.throwsAsync(into(server.url).fetch({ signal: control.signal })), reason)
})

test('what onProgress throws ends the download as it is, without retries', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const mine = new Error('mine')
  const report = () => {
    throw mine
  }
  t.is(await t.throwsAsync(into(server.url).fetch({}, {}, { report })), mine)
  t.is(server.requests.length, 1)
})

test('a compressed answer is refused', async t => {
  const server = await serve(t, (request, response) =>
    sendFile(request, response, content, { headers: { 'content-encoding': 'gzip' } }),
  )
  t.regex(
    (await t.throwsAsync(into(server.url).fetch(), { code: 'ERR_CLIP_DOWNLOAD' }))!.message,
    /sends gzip/,
  )
})

test('a file that the disk has no room for is refused before its first byte', async t => {
  const server = await serve(t, (request, response) =>
    sendFile(request, response, content, { length: 2 ** 52, hangAfter: 10 }),
  )
  const to = into(server.url)
  const error = await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_DOWNLOAD' })
  t.regex(error!.message, /needs 4\.5 PB.*CLIP_NATIVE_CACHE/)
  t.deepEqual(to.left(), [])
})

test('proxies of the environment are used, and NO_PROXY is kept', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const proxy = await serve(t, (_, response) => response.writeHead(400).end())
  const tunnels: string[] = []
  proxy.server.on('connect', (request, socket) => {
    tunnels.push(request.url!)
    const far = connect(server.port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      far.pipe(socket).pipe(far)
    })
    far.on('error', () => socket.destroy())
    socket.on('error', () => far.destroy())
    t.teardown(() => far.destroy())
  })
  const through = into('http://models.example.invalid/model', { sha256: hash }, { http_proxy: proxy.url })
  await through.fetch()
  whole(t, through)
  t.deepEqual(tunnels, ['models.example.invalid:80'])
  const direct = into(server.url, { sha256: hash }, { HTTP_PROXY: proxy.url, NO_PROXY: '127.0.0.1' })
  await direct.fetch()
  whole(t, direct)
  t.is(tunnels.length, 1)
})
