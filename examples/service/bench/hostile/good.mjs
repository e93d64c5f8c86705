/** Requests as they should be: the answer is the right one, to the last bit. */

import { labels, send, sendForm, sendJson, sendRaw } from '../../test/service.mjs'
import { exactly, query, texts } from './checks.mjs'

export const good = {
  'classify raw': [
    14,
    async ({ service, pick, agent }) => {
      const { bytes, predictions } = pick()
      return [
        await sendRaw(service, `/classify?${query}`, bytes, 'image/png', { agent }),
        exactly(json => json.predictions, predictions),
      ]
    },
  ],
  'classify multipart': [
    8,
    async ({ service, pick, agent }) => {
      const { bytes, predictions } = pick()
      const parts = [
        ['labels', labels.join(',')],
        ['templateSet', 'icon'],
        ['image', bytes, 'x.png'],
      ]
      return [
        await sendForm(service, '/classify', parts, { agent }),
        exactly(json => json.predictions, predictions),
      ]
    },
  ],
  'classify json': [
    8,
    async ({ service, pick, agent }) => {
      const { bytes, predictions } = pick()
      const body = { labels, templateSet: 'icon', image: bytes.toString('base64') }
      return [
        await sendJson(service, '/classify', body, { agent }),
        exactly(json => json.predictions, predictions),
      ]
    },
  ],
  'classify new labels': [
    4,
    async ({ service, pick, random, agent }) => {
      const own = [`thing ${random(1e6)}`, 'dog']
      const { bytes } = pick()
      return [
        await sendJson(service, '/classify', { labels: own, image: bytes.toString('base64') }, { agent }),
        ({ status, json }) =>
          status === 200 && Math.abs(json.predictions[0].score + json.predictions[1].score - 1) < 1e-5
            ? ''
            : 'no result',
      ]
    },
  ],
  'embed image': [
    6,
    async ({ service, pick, agent }) => {
      const { bytes, embedding } = pick()
      return [
        await sendRaw(service, '/embed', bytes, 'image/png', { agent }),
        exactly(json => json.embeddings, [embedding]),
      ]
    },
  ],
  'embed texts': [
    4,
    async ({ service, right, agent }) => [
      await sendJson(service, '/embed', { texts }, { agent }),
      exactly(json => json.embeddings, right.texts),
    ],
  ],
  'search words': [
    3,
    async ({ service, agent }) => [
      await sendJson(service, '/search', { text: 'an icon of a rocket', topK: 1 }, { agent }),
      exactly(json => json.matches[0].id, 'rocket.png'),
    ],
  ],
  'search image': [
    3,
    async ({ service, pick, agent }) => {
      const { bytes, name } = pick()
      return [
        await sendRaw(service, '/search?topK=1', bytes, 'image/jpeg', { agent }),
        exactly(json => json.matches[0].id, name),
      ]
    },
  ],
  'pages and files': [
    3,
    async ({ service, random, agent }) => {
      const path = ['/', '/model', '/healthz', '/main.js', '/images/dog.png', '/openapi.json'][random(6)]
      return [
        await send(service, { method: 'GET', path, agent }),
        ({ status }) => (status === 200 ? '' : 'not there'),
      ]
    },
  ],
}
