/** What is refused, with which status and code. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { exampleImage, formOf, labels, send, sendForm, sendJson, sendRaw, startService } from './service.mjs'

const limits = {
  MAX_BODY_BYTES: 200_000,
  MAX_JSON_BYTES: 100_000,
  MAX_LABELS: 20,
  MAX_PROMPTS: 100,
  MAX_PIXELS: 300_000,
}
let service
let dog
let image

before(async () => {
  service = await startService({ ...limits, MAX_TEXTS: 3 })
  dog = await exampleImage('dog.png')
  image = dog.toString('base64')
})
after(() => service.stop())

/** Refused with this status and code, in the shape that all failures have; words of the message. */
function refused(answer, status, code, words = /./) {
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.json.code, code)
  assert.match(answer.json.message, words)
  assert.ok(answer.json.help.length > 10)
  assert.deepEqual(Object.keys(answer.json), ['code', 'message', 'help'])
}

const badOptions = [
  [{}, /`labels` or `classifier`/],
  [{ labels: [] }, /`labels` must NOT have fewer than 1 items/],
  [{ labels: 'dog' }, /`labels` must be array/],
  [{ labels: ['dog', 3] }, /`labels.1` must be string/],
  [{ labels: [''] }, /`labels.0` must NOT have fewer than 1 characters/],
  [{ labels: ['x'.repeat(301)] }, /`labels.0` must NOT have more than 300 characters/],
  [{ labels: Array(21).fill('dog') }, /`labels` must NOT have more than 20 items/],
  [{ labels, templateSet: 'imagenet80' }, /6 labels x 80 templates are more than 100 texts/],
  [{ labels, templates: ['an icon'] }, /`templates.0` must contain \{\}/],
  [
    { labels: ['x'.repeat(299)], templates: ['{}'.repeat(149)] },
    /a text of 44551 characters, more than 1000/,
  ],
  [{ labels, templateSet: 'mine' }, /`templateSet` must be one of none, icon/],
  [{ labels, templateSet: 'icon', templates: ['{}'] }, /exclude one another/],
  [{ labels, classifier: 'pets' }, /`labels` or `classifier`/],
  [{ classifier: 'pets', templateSet: 'icon' }, /exclude one another/],
  [{ classifier: '../pets' }, /`classifier` must match pattern/],
  [{ labels, topK: 0 }, /`topK` must be >= 1/],
  [{ labels, topK: 1.5 }, /`topK` must be integer/],
  [{ labels, as: 'percent' }, /`as` must be one of/],
  [{ labels, threshold: 'low' }, /`threshold` must be number/],
  [{ labels, topk: 3 }, /there is no option `topk`/],
]

test('classify refuses invalid options', async () => {
  for (const [options, words] of badOptions)
    refused(await sendJson(service, '/classify', { image, ...options }), 400, 'BAD_REQUEST', words)
  refused(await sendRaw(service, '/classify?labels=dog&topK=many', dog), 400, 'BAD_REQUEST', /integer/)
  refused(await sendJson(service, '/classify', { image, classifier: 'pets' }), 404, 'UNKNOWN_CLASSIFIER')
  const long = 'many words '.repeat(25)
  refused(await sendJson(service, '/classify', { image, labels: [long] }), 422, 'ERR_CLIP_TEXT_TOO_LONG')
})

test('classify refuses images that are missing, unreadable or too large', async () => {
  const path = '/classify?labels=dog,cat'
  const of = (body, type) => sendRaw(service, path, body, type)
  refused(await of(Buffer.from('no image at all')), 422, 'ERR_CLIP_IMAGE')
  refused(await of(dog.subarray(0, dog.length >> 1)), 422, 'ERR_CLIP_IMAGE')
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
  const wrapped = [
    svg,
    `${' '.repeat(300)}${svg}`,
    `\ufeff\n${svg}`,
    `<!-- ${'x'.repeat(2000)} -->\n${svg}`,
    `<?xml version="1.0"?>\n<!DOCTYPE svg>\n${svg}`,
    Buffer.from(`\ufeff${svg}`, 'utf16le'),
    gzipSync(svg),
    gzipSync(gzipSync(svg)),
  ]
  for (const body of wrapped) refused(await of(Buffer.from(body)), 422, 'ERR_CLIP_IMAGE')
  const large = Buffer.from(dog)
  large.writeUInt32BE(30_000, 16)
  large.writeUInt32BE(30_000, 20)
  refused(await of(large), 422, 'ERR_CLIP_IMAGE', /30000 x 30000 pixels, more than/)
  refused(await of(Buffer.alloc(0)), 400, 'BAD_REQUEST', /empty/)
  refused(await sendJson(service, '/classify', { labels }), 400, 'BAD_REQUEST', /no image/)
  for (const text of ['data:image/png;base64,AAAA', 'a b', 'models/icon-clip/examples/dog.png', '', 7])
    refused(await sendJson(service, '/classify', { labels, image: text }), 400, 'BAD_REQUEST', /base64/)
  // A path is base64, too: it is never opened.
  refused(await sendJson(service, '/classify', { labels, image: '/etc/passwd/' }), 422, 'ERR_CLIP_IMAGE')
})

test('bodies that are too large, of a wrong type or broken are refused', async () => {
  const path = '/classify?labels=dog,cat'
  refused(await sendRaw(service, path, Buffer.alloc(200_001)), 413, 'TOO_LARGE')
  refused(await sendJson(service, '/classify', { image: 'A'.repeat(120_000) }), 413, 'TOO_LARGE')
  for (const type of ['text/plain', 'application/xml', 'multipart/mixed; boundary=x'])
    refused(await sendRaw(service, path, dog, type), 415, 'UNSUPPORTED_MEDIA_TYPE')
  refused(await send(service, { path, body: dog }), 415, 'UNSUPPORTED_MEDIA_TYPE')
  const json = text => sendRaw(service, '/classify', Buffer.from(text), 'application/json')
  for (const text of ['{', '[1]', '3', 'null', '', '{"__proto__": {"labels": []}}'])
    refused(await json(text), 400, 'BAD_REQUEST')
})

test('multipart bodies that are broken, have too many parts or a misplaced part are refused', async () => {
  const form = (...parts) => sendForm(service, '/classify', [['labels', 'dog'], ...parts])
  refused(await form(), 400, 'BAD_REQUEST', /no image/)
  refused(await form(['photo', dog, 'dog.png']), 400, 'BAD_REQUEST', /must be called `image`/)
  refused(await form(['image', dog, 'a.png'], ['image', dog, 'b.png']), 413, 'TOO_LARGE')
  refused(await form(...Array(70).fill(['labels', 'x'])), 413, 'TOO_LARGE')
  refused(await form(['labels', 'x'.repeat(70_000)], ['image', dog, 'a.png']), 413, 'TOO_LARGE')
  const half = ['labels', 'x'.repeat(60_000)]
  refused(await form(half, half, ['image', dog, 'a.png']), 413, 'TOO_LARGE')
  refused(
    await form(['labels', 'a,'.repeat(30_000)], ['image', dog, 'a.png']),
    400,
    'BAD_REQUEST',
    /20 items/,
  )
  const json = formOf([['labels', '["dog"]', 'labels.json']])
  const asField = Buffer.from(
    json.body.toString().replace('; filename="labels.json"', '').replace('image/png', 'application/json'),
  )
  const jsonHeaders = { ...json.headers, 'content-length': asField.length }
  refused(
    await send(service, { path: '/classify', body: asField, headers: jsonHeaders }),
    400,
    'BAD_REQUEST',
    /text/,
  )
  const { body, headers } = formOf([['image', dog, 'dog.png']])
  const cut = body.subarray(0, body.length - 40)
  refused(
    await send(service, {
      path: '/classify',
      body: cut,
      headers: { ...headers, 'content-length': cut.length },
    }),
    400,
    'BAD_REQUEST',
  )
  const none = { 'content-type': 'multipart/form-data', 'content-length': body.length }
  const answer = await send(service, { path: '/classify', body, headers: none })
  assert.ok([400, 415].includes(answer.status), answer.text)
  assert.ok(answer.json.code && answer.json.help)
})

test('embed and search refuse requests without the input that they need', async () => {
  refused(await sendJson(service, '/embed', {}), 400, 'BAD_REQUEST', /give either/)
  refused(await sendJson(service, '/embed', { image, texts: ['a'] }), 400, 'BAD_REQUEST', /give either/)
  refused(await sendJson(service, '/embed', { texts: Array(4).fill('a') }), 400, 'BAD_REQUEST', /more than 3/)
  refused(await sendJson(service, '/search', {}), 400, 'BAD_REQUEST', /`text`, an image or both/)
  refused(await sendJson(service, '/search', { text: 'a', weight: 2 }), 400, 'BAD_REQUEST', /weight/)
  refused(await sendJson(service, '/search', { text: 'a', topK: 101 }), 400, 'BAD_REQUEST', /topK/)
})

test('requests for another host name are refused, except for the health check', async () => {
  const ask = (path, host) => send(service, { method: 'GET', path, headers: { host } })
  for (const host of ['evil.example', 'localhost.evil.example:80', '127.0.0.1.evil.example', '10.0.0.1']) {
    refused(await ask('/model', host), 421, 'WRONG_HOST')
    assert.equal((await ask('/healthz', host)).status, 200)
  }
  for (const host of ['localhost', `LocalHost:${service.port}`, '127.0.0.1', '[::1]:8080'])
    assert.equal((await ask('/model', host)).status, 200, host)
  const own = await startService({ HOSTS: 'clip.example, other.example' })
  const status = async host => (await send(own, { method: 'GET', path: '/model', headers: { host } })).status
  assert.equal(await status('clip.example:443'), 200)
  assert.equal(await status('other.example'), 200)
  assert.equal(await status('localhost'), 421)
  await own.stop()
})

test('unknown routes, other methods and private files are refused', async () => {
  const get = path => send(service, { method: 'GET', path })
  refused(await get('/nothing'), 404, 'NOT_FOUND')
  const answer = await get('/classify?labels=dog')
  refused(answer, 405, 'METHOD_NOT_ALLOWED')
  assert.equal(answer.headers.allow, 'POST')
  for (const path of [
    '/images/expected.json',
    '/images/../config.json',
    '/images/%2e%2e/config.json',
    '/images/..%2fconfig.json',
    '/../package.json',
    '/images/%00.png',
    '/%ff',
  ]) {
    const { status, json } = await get(path)
    assert.ok([400, 403, 404].includes(status), `${path}: ${status}`)
    assert.ok(json.code && json.help, path)
  }
})
