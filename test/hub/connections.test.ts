/** Ways to a server: which proxy, tunnels through it, and what it refuses. */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { openConnections, proxyFor } from '../../lib/hub/connections.js'
import { content, into } from './fetch.js'
import { sendFile, serve } from './server.js'

// Certificate and key of models.example.invalid, signed by itself, made for these tests by `openssl req -x509`.
const pem = join(packageRoot, 'test/hub/models.example.invalid.pem')

/** A proxy that connects whatever is asked for to `port`, unless `refuse` writes an answer of its own. */
async function proxyTo(t: ExecutionContext, port: number, refuse?: (socket: Socket) => void) {
  const asked: { to: string; authorization: string | undefined }[] = []
  const proxy = await serve(t, (_, response) => response.writeHead(400).end())
  const sockets = new Set<Socket>()
  proxy.server.on('connect', (request, socket: Socket) => {
    asked.push({ to: request.url!, authorization: request.headers['proxy-authorization'] })
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    if (refuse) return refuse(socket)
    const far = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      far.pipe(socket).pipe(far)
    })
    far.on('error', () => socket.destroy())
    socket.on('error', () => far.destroy())
    t.teardown(() => far.destroy())
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  return { url: proxy.url, port: proxy.port, asked, sockets }
}

const answer = (status: string) => (socket: Socket) =>
  socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\n\r\n`)

test('the proxy comes from the environment, and NO_PROXY exempts addresses', t => {
  const of = (url: string, env: NodeJS.ProcessEnv) => proxyFor(new URL(url), env)?.href
  const [a, b] = ['http://a:1/', 'http://b:2/']
  t.is(of('https://x.example/y', {}), undefined)
  t.is(of('https://x.example/y', { HTTPS_PROXY: b, HTTP_PROXY: a }), b)
  t.is(of('http://x.example/y', { HTTPS_PROXY: b, HTTP_PROXY: a }), a)
  t.is(of('https://x.example/y', { HTTP_PROXY: a }), a)
  t.is(of('http://x.example/y', { HTTPS_PROXY: b }), undefined)
  t.is(of('http://x.example/y', { http_proxy: b, HTTP_PROXY: a }), b)
  t.is(of('http://x.example/y', { http_proxy: '' }), undefined)
  t.is(of('http://x.example/y', { http_proxy: 'a:1' }), a)
  t.is(of('http://x.example/y', { http_proxy: 'http://me:pass@a:1' }), 'http://me:pass@a:1/')
  for (const [url, noProxy, exempt] of [
    ['https://x.example/', 'x.example', true],
    ['https://X.EXAMPLE/', 'y.example, X.example', true],
    ['https://a.x.example/', 'x.example', true],
    ['https://a.x.example/', '.x.example', true],
    ['https://a.x.example/', '*.x.example', true],
    ['https://ax.example/', 'x.example', false],
    ['https://x.example.org/', 'x.example', false],
    ['https://x.example/', '*', true],
    ['https://x.example/', 'x.example:443', true],
    ['https://x.example:8443/', 'x.example:443', false],
    ['http://127.0.0.1:80/', '127.0.0.1:80 y', true],
    ['https://x.example/', ' , ', false],
    ['https://x.example/', '.x.example', true],
    ['https://x.example/', 'y.example,*', true],
    ['http://[::1]:8080/', '::1', true],
    ['http://[::1]:8080/', '[::1]', true],
    ['http://[::1]:8080/', '[::1]:8080', true],
    ['http://[::1]:8080/', '[::1]:80', false],
    ['http://[::1]/', '::2, fe80::1%eth0', false],
    ['http://[2001:db8::1]/', '2001:0DB8:0::1', true],
  ] as const)
    t.is(of(url, { HTTP_PROXY: a, NO_PROXY: noProxy }), exempt ? undefined : a, `${url} ${noProxy}`)
  for (const wrong of ['socks5://a:1', 'http://'])
    t.throws(() => of('https://x.example/', { HTTPS_PROXY: wrong }), {
      code: 'ERR_CLIP_DOWNLOAD',
      message: /is not an http\(s\) address/,
    })
})

test('https uses an encrypted tunnel through the proxy, which can not impersonate the server', async t => {
  const { cert, key } = { cert: readFileSync(pem), key: readFileSync(pem) }
  const server = createServer({ cert, key }, (request, response) => void sendFile(request, response, content))
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const proxy = await proxyTo(t, (server.address() as AddressInfo).port)
  const env = { HTTPS_PROXY: `http://me:p%40ss@127.0.0.1:${proxy.port}` }
  const address = 'https://models.example.invalid/model'
  const error = await t.throwsAsync(into(address, {}, env).fetch(), { code: 'ERR_CLIP_DOWNLOAD' })
  t.regex(error!.message, /DEPTH_ZERO_SELF_SIGNED_CERT.*NODE_EXTRA_CA_CERTS/)
  // Whom a process trusts is settled when it starts.
  const url = pathToFileURL(join(packageRoot, 'dist/test/hub/fetch.js')).href
  const script = `
    const { into, hash } = await import(${JSON.stringify(url)})
    const to = into(${JSON.stringify(address)}, { sha256: hash }, ${JSON.stringify(env)})
    await to.fetch()
    console.log(JSON.stringify(to.left()))
    const other = into('https://other.example.invalid/model', {}, ${JSON.stringify(env)})
    console.log(await other.fetch().catch(error => error.message))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: pem },
  })
  const [left, other] = stdout.trim().split('\n')
  t.is(left, '["model.bin"]')
  t.regex(other!, /ERR_TLS_CERT_ALTNAME_INVALID.*another host/)
  const authorization = `Basic ${Buffer.from('me:p@ss').toString('base64')}`
  t.deepEqual(proxy.asked, [
    { to: 'models.example.invalid:443', authorization },
    { to: 'models.example.invalid:443', authorization },
    { to: 'other.example.invalid:443', authorization },
  ])
})

test('a proxy that refuses is reported at once, and one with a temporary failure is tried again', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const closed = await proxyTo(t, server.port, answer('407 Proxy Authentication Required'))
  const refused = into('http://models.example.invalid/x', {}, { HTTP_PROXY: closed.url })
  const error = await t.throwsAsync(refused.fetch(), { code: 'ERR_CLIP_DOWNLOAD' })
  t.regex(error!.message, /the proxy answered 407/)
  t.is(closed.asked.length, 1)
  const bad = await proxyTo(t, server.port, answer('502 Bad Gateway'))
  const stumbled = into('http://models.example.invalid/x', {}, { HTTP_PROXY: bad.url })
  t.regex((await t.throwsAsync(stumbled.fetch({ retries: 1 })))!.message, /gave up.*the proxy answered 502/)
  t.is(bad.asked.length, 2)
})

test('a connection to a silent proxy ends after the time limit or at an abort', async t => {
  const silent = await proxyTo(t, 0, socket => socket.resume().on('end', () => socket.end()))
  const env = { HTTP_PROXY: silent.url }
  const waiting = into('http://models.example.invalid/x', {}, env)
  const error = await t.throwsAsync(waiting.fetch({ idleTimeout: 200, retries: 0 }))
  t.regex(error!.message, /sent nothing for too long/)
  const reason = new Error('enough')
  const control = new AbortController()
  const stopped = waiting.fetch({ signal: control.signal })
  while (silent.asked.length < 2) await sleep(1)
  control.abort(reason)
  t.is(await t.throwsAsync(stopped), reason)
  // Our side of both connections is gone.
  for (const socket of silent.sockets) await once(socket, 'close')
  t.is(silent.sockets.size, 0)
})

test('a slow reader is not mistaken for a silent server', async t => {
  const big = Buffer.alloc(8 * 2 ** 20, 7)
  const server = await serve(t, (_, response) => response.end(big))
  const connections = openConnections({ env: {}, idleTimeout: 500, signal: undefined })
  const { message, body } = await connections.get(new URL(server.url), {})
  while (!message.isPaused()) await sleep(1)
  await sleep(1200)
  let bytes = 0
  for await (const piece of body) bytes += piece.length
  t.is(bytes, big.length)
  connections.close()
})
