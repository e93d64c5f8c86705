/** More than it can do at once, clients that go away, time that runs out, and the end. */

import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { request as httpRequest } from 'node:http'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { Admission } from '../src/admission.mjs'
import { collect } from '../src/bodies.mjs'
import { exampleImage, labels, send, sendJson, sendRaw, startService } from './service.mjs'

const path = `/classify?templateSet=icon&labels=${labels.join(',')}`
/** So many prompts that they take a while. */
const long = { labels: Array.from({ length: 50 }, (_, i) => `thing ${i}`), templateSet: 'imagenet80' }

const until = async (condition, what) => {
  for (let i = 0; i < 600; i++) {
    if (await condition()) return
    await wait(50)
  }
  assert.fail(what)
}

test('under overload, excess requests get 503 with Retry-After, the others correct answers, and afterwards everything works', async () => {
  const service = await startService({ MAX_QUEUE: 3, THREADS: 1 })
  const dog = await exampleImage('dog.png')
  const { json: expected } = await sendRaw(service, path, dog)
  const answers = await Promise.all(Array.from({ length: 80 }, () => sendRaw(service, path, dog)))
  const count = status => answers.filter(a => a.status === status).length
  assert.equal(count(200) + count(503), 80)
  assert.ok(count(200) >= 1 && count(503) >= 1, `${count(200)} answered, ${count(503)} refused`)
  for (const { status, headers, json } of answers)
    if (status === 200) assert.deepEqual(json.predictions, expected.predictions)
    else {
      assert.equal(json.code, 'ERR_CLIP_BUSY')
      assert.ok(Number(headers['retry-after']) >= 1)
    }
  for (let i = 0; i < 5; i++) {
    const { status, json } = await sendRaw(service, path, dog)
    assert.equal(status, 200)
    assert.deepEqual(json.predictions, expected.predictions)
  }
  // The folder's images gave way meanwhile.
  const { images } = await service.indexed()
  assert.deepEqual(images, { count: 12, indexing: false, failed: 0 })
  assert.equal(await service.stop(), 0)
})

/** Announces a body of `length` bytes, sends the first `sent` of them, and then nothing. */
function hanging(service, length, sent) {
  const headers = { 'content-type': 'image/png', 'content-length': length }
  const request = httpRequest({ port: service.port, method: 'POST', path: '/embed', headers })
  const answer = new Promise(resolve => {
    request.on('response', response => resolve(response.resume().statusCode))
    request.on('error', () => resolve(undefined))
  })
  if (sent > 0) request.write(Buffer.alloc(sent))
  else request.flushHeaders()
  return { request, answer }
}

test('bodies that would not fit into memory together are refused while they are received', async () => {
  const service = await startService({ MAX_BODY_BYTES: 100_000, MAX_BODIES_BYTES: 250_000 })
  const dog = await exampleImage('dog.png')
  // Two that have sent all but a little.
  const two = [0, 1].map(() => hanging(service, 100_000, 99_000))
  await until(async () => (await service.figure('clip_body_bytes')) === 200_000, 'both are counted')
  const { status, json } = await sendRaw(service, path, Buffer.alloc(60_000))
  assert.equal(status, 503)
  assert.equal(json.code, 'ERR_CLIP_BUSY')
  assert.equal((await sendRaw(service, path, dog)).status, 200)
  for (const { request } of two) request.destroy()
  await until(async () => (await service.figure('clip_body_bytes')) === 0, 'they are counted no more')
  assert.equal(await service.stop(), 0)
})

test('bodies that are announced but do not arrive need no memory, and their requests time out', async () => {
  const service = await startService({ START_MS: 700 })
  const dog = await exampleImage('dog.png')
  const many = Array.from({ length: 40 }, () => hanging(service, 10 * 2 ** 20, 0))
  for (let i = 0; i < 20; i++) assert.equal((await sendRaw(service, path, dog)).status, 200)
  assert.equal(await service.figure('clip_body_bytes'), 0)
  const answers = await Promise.all(many.map(({ answer }) => answer))
  assert.deepEqual(new Set(answers), new Set([408]))
  assert.equal(await service.stop(), 0)
})

test('a body in pieces of one byte needs only the memory of its bytes', async () => {
  const bytes = 400_000
  let allocated = 0
  const body = await collect(
    (async function* () {
      for (let i = 0; i < bytes; i++) yield Buffer.from([i & 255])
    })(),
    bytes,
    more => {
      allocated += more
    },
  )
  assert.equal(body.length, bytes)
  assert.ok(body.every((byte, i) => byte === (i & 255)))
  assert.ok(allocated <= 2 * bytes, `${allocated}`)
  assert.ok(body.buffer.byteLength <= 2 * bytes)
})

test('the work for a client that disconnects is aborted', async () => {
  const service = await startService({ THREADS: 1 })
  const image = (await exampleImage('dog.png')).toString('base64')
  const control = new AbortController()
  const asked = sendJson(service, '/classify', { image, ...long }, { signal: control.signal })
  asked.catch(() => {})
  await until(async () => (await service.figure('clip_working')) === 1, 'it works')
  control.abort()
  await assert.rejects(asked)
  await until(async () => (await service.figure('clip_working')) === 0, 'it stops')
  assert.equal(await service.figure('clip_failures_total{code="CLIENT_GONE"}'), 1)
  // Nothing was made: the prompts were given up, not finished for the cache.
  assert.equal(await service.figure('clip_cached_classifiers'), 0)
  assert.equal(await service.stop(), 0)
})

test('a request that takes too long gets 504, and its work is aborted', async () => {
  const service = await startService({ THREADS: 1, WORK_MS: 20 })
  const image = (await exampleImage('dog.png')).toString('base64')
  const { status, json } = await sendJson(service, '/classify', { image, ...long })
  assert.equal(status, 504)
  assert.equal(json.code, 'TIMED_OUT')
  await until(async () => (await service.figure('clip_working')) === 0, 'it stops')
  assert.equal(await service.figure('clip_cached_classifiers'), 0)
  assert.equal(await service.stop(), 0)
})

test('a request whose work does not end is answered, and healthz reports it', async () => {
  const admission = new Admission({ workMs: 30, maxQueue: 4 })
  const reply = { raw: Object.assign(new EventEmitter(), { destroyed: false }) }
  await assert.rejects(
    admission.run(reply, () => new Promise(() => {})),
    { code: 'TIMED_OUT' },
  )
  assert.equal(admission.working, 1)
  await until(() => admission.stuck === 1, 'it is stuck')
})

test('after SIGTERM, healthz answers 503, running requests are answered, and the exit code is 0', async () => {
  const service = await startService({ THREADS: 1, DRAIN_MS: 2000 })
  const image = (await exampleImage('dog.png')).toString('base64')
  const health = () => send(service, { method: 'GET', path: '/healthz' })
  assert.equal((await health()).status, 200)
  const running = sendJson(service, '/classify', { image, ...long })
  await until(async () => (await service.figure('clip_working')) === 1, 'it works')
  const code = service.stop()
  await until(async () => (await health()).status === 503, 'healthz says so')
  const refused = await sendJson(service, '/classify', { image, labels })
  assert.equal(refused.status, 503)
  assert.equal(refused.json.code, 'SHUTTING_DOWN')
  const { status, json } = await running
  assert.equal(status, 200)
  assert.equal(json.predictions.length, 5)
  assert.equal(await code, 0)
  await assert.rejects(health())
})

test('an invalid setting is reported at the start', async () => {
  await assert.rejects(startService({ MAX_QUEUE: 'many' }), /ended with 1/)
})
