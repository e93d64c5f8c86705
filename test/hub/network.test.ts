import { connect } from 'node:net'
import test from 'ava'
import { fileError } from '../../lib/hub/file-error.js'
import { checkRedirect, networkError, retryAfter, TransientError } from '../../lib/hub/http.js'
import type { HubOptions } from '../../lib/hub/options.js'
import { patience } from '../helpers/patience.js'
import { content, hash, into, whole } from './fetch.js'
import { sendFile, serve } from './server.js'

test('a request is retried after 429 with Retry-After and after 503', async t => {
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

test('a 429 with a wait of an hour is an error at once', async t => {
  const server = await serve(t, (_, response) => response.writeHead(429, { 'retry-after': '3600' }).end())
  const error = await t.throwsAsync(into(server.url).fetch(), { code: 'ERR_CLIP_DOWNLOAD' })
  t.regex(error!.message, /429.*3600 s/)
  t.is(server.requests.length, 1)
})

test('Retry-After may be seconds or a date, and an invalid value is ignored', t => {
  t.is(retryAfter('7'), 7000)
  t.is(retryAfter('Thu, 01 Jan 1970 00:00:10 GMT', 4000), 6000)
  t.is(retryAfter('Thu, 01 Jan 1970 00:00:01 GMT', 4000), 0)
  t.is(retryAfter('soon'), undefined)
  t.is(retryAfter(undefined), undefined)
})

test('permanent errors are not retried: 404, and 401 with and without a token', async t => {
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

test('the token is not sent after a redirect to another host, even if it leads back', async t => {
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

test('the hub’s headers are used for facts that its listing lacks', async t => {
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

test('only allowed redirects are followed', async t => {
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
  t.regex(await failed('/broken'), /which is not an address/)
  t.regex(await failed('/loop'), /more than 10 times/)
})

test('a redirect from https to http is refused, even to this machine', t => {
  const go = (from: string, to: string) => checkRedirect(new URL(from), to, from).href
  t.is(go('https://a.example/x', 'https://b.example/y'), 'https://b.example/y')
  t.is(go('https://a.example/x', '/y'), 'https://a.example/y')
  t.is(go('http://a.example/x', 'https://b.example/y'), 'https://b.example/y')
  t.is(go('http://127.0.0.1:1/x', 'http://localhost:2/y'), 'http://localhost:2/y')
  t.is(go('http://a.example/x', 'http://a.example/y'), 'http://a.example/y')
  for (const [from, to] of [
    ['https://a.example/x', 'http://a.example/y'],
    ['https://a.example/x', 'http://127.0.0.1/y'],
    ['https://127.0.0.1/x', 'http://127.0.0.1/y'],
    ['http://a.example/x', 'http://b.example/y'],
    ['http://127.0.0.1/x', 'http://127.0.0.1.example/y'],
    ['https://a.example/x', 'data:text/plain,x'],
    ['https://a.example/x', '//b.example:x/y'],
  ])
    t.throws(() => go(from, to), { code: 'ERR_CLIP_DOWNLOAD' }, `${from} -> ${to}`)
})

test('permanent failures are reported at once: an unknown host, an untrusted certificate', t => {
  for (const [code, message] of [
    ['ENOTFOUND', /no such host.*proxy or mirror/],
    ['SELF_SIGNED_CERT_IN_CHAIN', /NODE_EXTRA_CA_CERTS/],
  ] as const) {
    const error = networkError(
      Object.assign(new Error('x'), { code }),
      'https://a.example/x?key=secret',
      undefined,
    )
    t.regex((error as Error).message, message)
    t.is((error as NodeJS.ErrnoException).code, 'ERR_CLIP_DOWNLOAD')
    t.false((error as Error).message.includes('secret'), 'signed addresses are not printed')
  }
  t.true(
    networkError(
      Object.assign(new Error('x'), { code: 'ECONNRESET' }),
      'https://a.example',
      undefined,
    ) instanceof TransientError,
  )
})

test('disk errors are reported with what to do', t => {
  for (const [code, message] of [
    ['ENOSPC', /disk is full.*what has been downloaded is kept.*CLIP_NATIVE_CACHE/],
    ['EROFS', /read-only.*CLIP_NATIVE_CACHE/],
    ['EACCES', /no permission.*CLIP_NATIVE_CACHE/],
    ['EIO', /write failed \(EIO\)/],
  ] as const) {
    const error = fileError(Object.assign(new Error('x'), { code, syscall: 'write' }), '/models/x') as Error
    t.regex(error.message, message)
    t.like(error, { code: 'ERR_CLIP_DOWNLOAD', file: '/models/x' })
  }
  const other = new Error('of somebody else')
  t.is(fileError(other, '/models/x'), other)
})

test('requests are retried if a server hangs before its answer or in the body', async t => {
  const server = await serve(t, (request, response, count) => {
    if (count === 1) return
    sendFile(request, response, content, { etag: '"v1"', hangAfter: count === 2 ? 100_000 : undefined })
  })
  const to = into(server.url, { sha256: hash })
  await to.fetch({ idleTimeout: patience * 300 })
  whole(t, to)
  t.is(server.requests[2].headers.range, 'bytes=100000-')
})

test('a server that always hangs is reported after the last attempt', async t => {
  const server = await serve(t, () => {})
  const error = await t.throwsAsync(into(server.url).fetch({ idleTimeout: 200, retries: 1 }), {
    code: 'ERR_CLIP_DOWNLOAD',
  })
  t.regex(error!.message, /sent nothing for too long/)
})

test('a refused connection is reported', async t => {
  const server = await serve(t, () => {})
  await new Promise(done => server.server.close(done))
  const error = await t.throwsAsync(into(server.url).fetch({ retries: 1 }), { code: 'ERR_CLIP_DOWNLOAD' })
  t.regex(error!.message, /ECONNREFUSED/)
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

test('downloads use the proxies of the environment and respect NO_PROXY', async t => {
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
