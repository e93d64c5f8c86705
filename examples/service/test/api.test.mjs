/** Every endpoint, against the library itself: the same numbers, whichever way a request was sent. */

import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { load, templates } from 'clip-native'
import { exampleImage, labels, send, sendForm, sendJson, sendRaw, startService } from './service.mjs'

let service
let clip
let dog

before(async () => {
  ;[service, clip, dog] = await Promise.all([startService(), load(), exampleImage('dog.png')])
})
after(async () => {
  assert.equal(await service.stop(), 0)
  await clip.dispose()
})

const query = values => `?${new URLSearchParams(values)}`

test('classify returns the results of the library bit for bit for raw, multipart and JSON bodies', async () => {
  const classifier = await clip.classifier(labels, { templates: 'an icon of {}' })
  const expected = await classifier.classify(dog, { topK: 3 })
  assert.equal(expected[0].label, 'dog')
  const options = { labels, templates: ['an icon of {}'], topK: 3 }
  const answers = await Promise.all([
    sendRaw(service, `/classify${query({ labels: labels.join(','), templateSet: 'icon', topK: 3 })}`, dog),
    sendRaw(
      service,
      `/classify${query([...labels.map(l => ['labels', l]), ['templates', 'an icon of {}'], ['topK', 3]])}`,
      dog,
      'application/octet-stream',
    ),
    sendForm(service, '/classify', [
      ['image', dog, 'dog.png'],
      ['labels', labels.join(', ')],
      ['templateSet', 'icon'],
      ['topK', '3'],
    ]),
    sendJson(service, '/classify', { ...options, image: dog.toString('base64') }),
  ])
  for (const { status, json } of answers) {
    assert.equal(status, 200)
    assert.deepEqual(json.predictions, expected)
  }
})

test('classify accepts another kind of score, a threshold and a saved classifier', async () => {
  const classifier = await clip.classifier(labels, { templates: templates.imagenet7 })
  const folder = join(service.data, 'classifiers')
  await mkdir(folder)
  await classifier.save(join(folder, 'pets.safetensors'))
  const path = `/classify${query({ classifier: 'pets', as: 'cosine', threshold: 0.1 })}`
  const { status, json } = await sendRaw(service, path, dog)
  assert.equal(status, 200)
  assert.deepEqual(json.predictions, await classifier.classify(dog, { as: 'cosine', threshold: 0.1 }))
  const { json: about } = await send(service, { method: 'GET', path: '/model' })
  assert.deepEqual(about.classifiers, ['pets'])
  // Overwritten, it is another one.
  const other = await clip.classifier(['image', 'word'])
  await other.save(join(folder, 'pets.safetensors'))
  const { json: now } = await sendRaw(service, `/classify${query({ classifier: 'pets' })}`, dog)
  assert.deepEqual(now.predictions, await other.classify(dog))
})

test('embed returns the embeddings of an image and of texts', async () => {
  const expected = await clip.encodeImage(dog)
  const texts = ['an icon of a dog', 'a rocket, red']
  const words = await clip.encodeText(texts)
  const [one, two, three] = await Promise.all([
    sendRaw(service, '/embed', dog),
    sendJson(service, '/embed', { texts }),
    sendForm(
      service,
      '/embed',
      texts.map(text => ['texts', text]),
    ),
  ])
  assert.deepEqual(one.json.embeddings, [[...expected.row(0)]])
  assert.deepEqual(two.json.embeddings, [[...words.row(0)], [...words.row(1)]])
  assert.deepEqual(three.json.embeddings, two.json.embeddings)
  assert.equal(one.json.fingerprint, clip.info.fingerprint)
  assert.equal(one.json.embedDim, clip.info.embedDim)
})

test('search finds images by words, by an image and by both, and the found images are served', async () => {
  const { images } = await service.indexed()
  assert.equal(images.failed, 0)
  assert.equal(images.count, 12)
  const words = await sendJson(service, '/search', { text: 'an icon of a rocket', topK: 3 })
  assert.equal(words.json.matches.length, 3)
  assert.equal(words.json.matches[0].id, 'rocket.png')
  const alike = await sendRaw(service, '/search?topK=1', dog)
  assert.equal(alike.json.matches[0].id, 'dog.png')
  assert.ok(Math.abs(alike.json.matches[0].score - 1) < 1e-5)
  const both = await sendForm(service, '/search', [
    ['image', dog, 'dog.png'],
    ['text', 'an icon of a rocket'],
    ['weight', '1'],
    ['topK', '3'],
  ])
  assert.deepEqual(both.json.matches, words.json.matches)
  for (const { url, id } of words.json.matches) {
    const { status, headers } = await send(service, { method: 'GET', path: url })
    assert.equal(status, 200)
    assert.equal(headers['content-type'], id.endsWith('.png') ? 'image/png' : 'image/jpeg')
    assert.equal(headers['content-security-policy'], "default-src 'none'; sandbox")
  }
})

test('metrics has the requests by route and status, and the resources of the process', async () => {
  await send(service, { method: 'GET', path: '/no-such-thing' })
  const { text, headers } = await send(service, { method: 'GET', path: '/metrics' })
  assert.match(headers['content-type'], /^text\/plain/)
  assert.match(
    text,
    /http_request_duration_seconds_count\{method="POST",route="\/classify",status="200"\} \d/,
  )
  assert.match(text, /http_request_duration_seconds_count\{method="GET",route="none",status="404"\} 1/)
  for (const name of ['process_resident_memory_bytes', 'nodejs_eventloop_lag_p99_seconds', 'clip_images'])
    assert.ok((await service.figure(name)) > 0, name)
  assert.equal(await service.figure('clip_working'), 0)
  assert.equal(await service.figure('clip_body_bytes'), 0)
  assert.ok((await service.figure('clip_cache_misses')) > 0)
})

test('openapi.json describes every endpoint with its three bodies, its parameters and its failures', async () => {
  const { json } = await send(service, { method: 'GET', path: '/openapi.json' })
  assert.equal(json.openapi, '3.1.0')
  for (const path of ['/classify', '/embed', '/search']) {
    const { post } = json.paths[path]
    const content = post.requestBody.content
    assert.deepEqual(Object.keys(content).sort(), [
      ...['application/json', 'application/octet-stream', 'image/*', 'multipart/form-data'],
    ])
    const { properties } = content['application/json'].schema
    assert.ok(properties.image)
    for (const { name, in: where } of post.parameters) {
      assert.equal(where, 'query')
      assert.ok(properties[name], name)
    }
    for (const status of [200, 400, 413, 415, 422, 503, 504]) assert.ok(post.responses[status], `${status}`)
  }
  assert.ok(json.paths['/healthz'].get && json.paths['/metrics'].get && json.paths['/model'].get)
})

test('the page may load only its own scripts, styles and images', async () => {
  const { status, headers, text } = await send(service, { method: 'GET', path: '/' })
  assert.equal(status, 200)
  assert.match(headers['content-security-policy'], /default-src 'none'; script-src 'self'/)
  assert.equal(headers['x-content-type-options'], 'nosniff')
  assert.doesNotMatch(text, /(src|href)="(https?:|\/\/)/)
})
