/** Whole requests that are wrong: every one is refused, and told why. */

import { gzipSync } from 'node:zlib'
import { formOf, labels, send, sendForm, sendJson, sendRaw } from '../../test/service.mjs'
import { bad400, image422, query, refusal } from './checks.mjs'

export const badRequests = {
  noise: [
    3,
    async ({ service, random, agent }) => {
      const bytes = Buffer.from(Array.from({ length: 1 + random(5000) }, () => 128 + random(128)))
      return [await sendRaw(service, `/classify?${query}`, bytes, 'image/png', { agent }), image422]
    },
  ],
  'cut image': [
    3,
    async ({ service, pick, random, agent }) => {
      const { bytes } = pick()
      const part = bytes.subarray(0, 1 + random(bytes.length >> 1))
      return [await sendRaw(service, `/classify?${query}`, part, 'image/png', { agent }), image422]
    },
  ],
  'damaged image': [
    3,
    async ({ service, pick, random, agent }) => {
      const bytes = Buffer.from(pick().bytes)
      for (let i = 0; i < 8; i++) bytes[random(bytes.length)] = random(256)
      return [
        await sendRaw(service, `/classify?${query}`, bytes, 'image/png', { agent }),
        answer => (answer.status === 200 ? '' : image422(answer)),
      ]
    },
  ],
  'pixel bomb': [
    2,
    async ({ service, right, random, agent }) => {
      const bytes = Buffer.from(right.images[0].bytes)
      bytes.writeUInt32BE(10_000 + random(1e9), 16)
      bytes.writeUInt32BE(10_000 + random(1e9), 20)
      return [await sendRaw(service, `/classify?${query}`, bytes, 'image/png', { agent }), image422]
    },
  ],
  'markup as image': [
    2,
    async ({ service, random, agent }) => {
      const svg =
        '<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="2000"><filter id="f"><feMorphology radius="500"/></filter><rect width="2000" height="2000" filter="url(#f)"/></svg>'
      const body = [svg, `${' '.repeat(300)}${svg}`, `<!-- -->\n${svg}`, gzipSync(svg)][random(4)]
      return [await sendRaw(service, '/embed', Buffer.from(body), 'image/svg+xml', { agent }), image422]
    },
  ],
  'text that is made to be slow': [
    2,
    async ({ service, random, agent }) => {
      const text = [
        `\u0295\u03a3${'\u0301'.repeat(290)}`,
        `${'&amp;'.repeat(20)}${'amp;'.repeat(40)}`,
        '\ud83d'.repeat(300),
        '\uff41'.repeat(300),
      ][random(4)]
      const answer = await sendJson(service, '/embed', { texts: Array(32).fill(text) }, { agent })
      return [answer, a => (a.status === 200 ? '' : refusal([422, 'ERR_CLIP_TEXT_TOO_LONG'])(a))]
    },
  ],
  'template that multiplies its label': [
    1,
    async ({ service, pick, agent }) => {
      const image = pick().bytes.toString('base64')
      const body = { image, labels: ['\u0295\u03a3'.repeat(149)], templates: ['{}'.repeat(149)] }
      return [await sendJson(service, '/classify', body, { agent }), bad400]
    },
  ],
  'wrong content type': [
    3,
    async ({ service, pick, random, agent }) => {
      const type = ['text/plain', 'application/xml', 'video/mp4', 'multipart/mixed; boundary=a', 'x'][
        random(5)
      ]
      return [
        await sendRaw(service, `/classify?${query}`, pick().bytes, type, { agent }),
        refusal([415, 'UNSUPPORTED_MEDIA_TYPE']),
      ]
    },
  ],
  'broken json': [
    3,
    async ({ service, random, agent }) => {
      const text = ['{', '[]', '"', 'null', '{"labels": ["dog"', '{"__proto__": {}}', '\u0000', '[[[['][
        random(8)
      ]
      return [await sendRaw(service, '/classify', Buffer.from(text), 'application/json', { agent }), bad400]
    },
  ],
  'wrong values': [
    3,
    async ({ service, pick, random, agent }) => {
      const image = pick().bytes.toString('base64')
      const body = [
        { image, labels: [] },
        { image, labels: { a: 1 } },
        { image, labels: Array(1001).fill('dog') },
        { image, labels, templates: ['no place'] },
        { image, labels, topK: -1 },
        { image, labels, unknown: 1 },
        { image: '*', labels },
        { labels },
      ][random(8)]
      return [await sendJson(service, '/classify', body, { agent }), bad400]
    },
  ],
  'text too long for the model': [
    1,
    async ({ service, agent }) => [
      await sendJson(service, '/embed', { texts: ['many words '.repeat(25)] }, { agent }),
      refusal([422, 'ERR_CLIP_TEXT_TOO_LONG']),
    ],
  ],
  'json too large': [
    1,
    async ({ service, agent }) => [
      await sendJson(service, '/classify', { image: 'A'.repeat(600_000), labels }, { agent }),
      refusal([413, 'TOO_LARGE']),
    ],
  ],
  'broken multipart': [
    2,
    async ({ service, pick, random, agent }) => {
      const { body, headers } = formOf([
        ['labels', 'dog'],
        ['image', pick().bytes, 'x.png'],
      ])
      const cut = body.subarray(0, 1 + random(body.length - 30))
      const answer = await send(service, {
        path: '/classify',
        body: cut,
        headers: { ...headers, 'content-length': cut.length },
        agent,
      })
      return [answer, bad400]
    },
  ],
  'multipart with too much': [
    1,
    async ({ service, pick, random, agent }) => {
      const image = ['image', pick().bytes, 'x.png']
      const parts = [
        [image, image],
        Array(70).fill(['labels', 'x']),
        [['labels', 'x'.repeat(70_000)], image],
      ][random(3)]
      return [await sendForm(service, '/classify', parts, { agent }), refusal([413, 'TOO_LARGE'])]
    },
  ],
  'unknown places': [
    3,
    async ({ service, pick, random, agent }) => {
      const paths = [
        '/nothing',
        '/images/../../package.json',
        '/images/%2e%2e/x.png',
        '/images/none.png',
        '/%ff',
      ]
      if (random(2)) {
        const answer = await send(service, { method: 'GET', path: paths[random(5)], agent })
        return [answer, refusal([404], [400], [403])]
      }
      const path = ['/classify?classifier=none', '/classify?classifier=../x', '/classify?classifier=%00'][
        random(3)
      ]
      return [
        await sendRaw(service, path, pick().bytes, 'image/png', { agent }),
        refusal([404, 'UNKNOWN_CLASSIFIER'], [400]),
      ]
    },
  ],
  'wrong method': [
    1,
    async ({ service, random, agent }) => {
      const [method, path] = [
        ['GET', '/classify'],
        ['PUT', '/embed'],
        ['DELETE', '/'],
        ['POST', '/healthz'],
      ][random(4)]
      return [await send(service, { method, path, agent }), refusal([405, 'METHOD_NOT_ALLOWED'], [404])]
    },
  ],
}
