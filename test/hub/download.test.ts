import { existsSync, writeFileSync } from 'node:fs'
import test from 'ava'
import { content, type Fetched, hash, into, whole } from './fetch.js'
import { bytes, gitSha1, randomBelow, sendFile, serve, sha256 } from './server.js'

test('a download takes one request, reports progress up to the last byte, and leaves no temporary file', async t => {
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
  test(`a connection that is cut at random bytes is resumed by Range, and the file is sent about once (${seed})`, async t => {
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

test('after a cut by a server without Range, the download starts again, and the file is complete', async t => {
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

test('if the connection always breaks, the error has the address and the last byte, and the downloaded part is kept', async t => {
  const server = await serve(t, (request, response) =>
    sendFile(request, response, content, { ranges: false, etag: '"v1"', cutAfter: 1000 }),
  )
  const to = into(server.url)
  const error = await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_DOWNLOAD' })
  t.true(error!.message.includes(server.url), error!.message)
  t.regex(error!.message, /gave up after \d+ attempts/)
  t.false(existsSync(to.target))
})

test('without an etag and a hash, every attempt downloads the whole file', async t => {
  const server = await serve(t, (request, response, count) =>
    sendFile(request, response, content, { cutAfter: count < 3 ? 50_000 : undefined }),
  )
  const to = into(server.url)
  await to.fetch()
  whole(t, to)
  t.true(server.requests.every(({ headers }) => headers.range === undefined))
})

test('a weak etag is not used for If-Range', async t => {
  const server = await serve(t, (request, response, count) =>
    sendFile(request, response, content, { etag: 'W/"v1"', cutAfter: count < 2 ? 50_000 : undefined }),
  )
  const to = into(server.url)
  await to.fetch()
  whole(t, to)
  t.true(server.requests.every(({ headers }) => headers.range === undefined))
})

test('if the file changes between two attempts, If-Range downloads the whole new file', async t => {
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

test('if a server mixes two files, the hash reveals it, and the file is downloaded once more', async t => {
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

test('a range that starts at another byte is not appended', async t => {
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

test('if the server answers 416 for a partial file, the download starts again', async t => {
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

test("another process's partial file is resumed, a complete one needs no request, and one that does not fit is discarded", async t => {
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

test('a length that differs from the listing is reported before the body is read', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const to = into(server.url, { bytes: 299_999 })
  const error = await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_DOWNLOAD' })
  t.like(error, { field: 'content-length', expected: '299999', actual: '300000' })
  t.is(server.requests.length, 1)
  t.deepEqual(to.left(), [])
})

test('if less arrives than announced, the download is retried, and the error names both sizes', async t => {
  const server = await serve(t, (request, response) =>
    sendFile(request, response, content, { ranges: false, length: 300_100 }),
  )
  const to = into(server.url, { sha256: hash })
  const error = await t.throwsAsync(to.fetch({ retries: 1 }), { code: 'ERR_CLIP_DOWNLOAD' })
  t.regex(error!.message, /gave up after 2 attempts/)
  t.false(existsSync(to.target))
})

test('a complete answer that is too short has the wrong hash', async t => {
  const server = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': 1000 })
    response.end(content.subarray(0, 1000))
  })
  const to = into(server.url, { sha256: hash })
  await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_CHECKSUM' })
  t.deepEqual(to.left(), [])
})

test('a chunked answer that is shorter than in the listing is an error', async t => {
  const server = await serve(t, (_, response) => response.writeHead(200).end(content.subarray(0, 1000)))
  const to = into(server.url, { bytes: content.length })
  t.like(await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_DOWNLOAD' }), {
    expected: '300000',
    actual: '1000',
  })
  t.false(existsSync(to.target))
})

test('a chunked answer of unknown length is downloaded completely', async t => {
  const server = await serve(t, (_, response) => response.writeHead(200).end(content))
  const to = into(server.url, { sha256: hash })
  await to.fetch()
  whole(t, to)
})

test('a file with the wrong hash is deleted and not retried, and the error has both hashes', async t => {
  const wrong = bytes(300_000, 3)
  const server = await serve(t, (request, response) => sendFile(request, response, wrong, { etag: '"v1"' }))
  const to = into(server.url, { sha256: hash })
  const error = await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_CHECKSUM' })
  t.like(error, { expected: hash, actual: sha256(wrong) })
  t.true(error!.message.includes(hash) && error!.message.includes(sha256(wrong)))
  t.is(server.requests.length, 1)
  t.deepEqual(to.left(), [])
})

test('small files are checked against their git hash', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const to = into(server.url, { bytes: content.length, gitSha1: '0'.repeat(40) })
  const error = await t.throwsAsync(to.fetch(), { code: 'ERR_CLIP_CHECKSUM' })
  t.like(error, { expected: '0'.repeat(40), actual: gitSha1(content) })
})

test('an abort while the body arrives rejects with the reason, and the next call continues the partial file', async t => {
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

test('an abort ends the wait for the next attempt', async t => {
  const control = new AbortController()
  const reason = new Error('enough')
  const server = await serve(t, (_, response) => {
    response.writeHead(429, { 'retry-after': '200' }).end()
    setTimeout(() => control.abort(reason), 50)
  })
  t.is(await t.throwsAsync(into(server.url).fetch({ signal: control.signal })), reason)
})

test('an error that onProgress throws ends the download unchanged, without retries', async t => {
  const server = await serve(t, (request, response) => sendFile(request, response, content))
  const mine = new Error('mine')
  const report = () => {
    throw mine
  }
  t.is(await t.throwsAsync(into(server.url).fetch({}, {}, { report })), mine)
  t.is(server.requests.length, 1)
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
