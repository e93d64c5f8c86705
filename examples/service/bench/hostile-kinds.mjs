/** Kinds of requests, good and bad, and what answers each may have. */

import { connect } from 'node:net'
import { examplePicture, formOf, labels, send, sendForm, sendJson, sendRaw } from '../test/service.mjs'

const pictureNames = ['dog.png', 'anchor.png', 'pizza.png', 'bicycle.jpg', 'rocket.png', 'guitar.jpg']
const query = `labels=${labels.join(',')}&templateSet=icon`
const texts = ['an icon of a dog', 'a red rocket']

/** The right answers, from the library itself. */
export async function rightAnswers(clip) {
  const classifier = await clip.classifier(labels, { templates: 'an icon of {}' })
  const pictures = []
  for (const name of pictureNames) {
    const bytes = await examplePicture(name)
    const predictions = await classifier.classify(bytes)
    const embedding = [...(await clip.encodeImage(bytes)).row(0)]
    pictures.push({ name, bytes, predictions, embedding })
  }
  const rows = await clip.encodeText(texts)
  return { pictures, texts: texts.map((_, i) => [...rows.row(i)]) }
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)
/** A result, and the right one to the last bit. */
const exactly = (read, expected) => answer =>
  answer.status === 200 && same(read(answer.json), expected) ? '' : 'not the right result'
/** A failure with this status and code, explained. */
const refusal =
  (...allowed) =>
  answer => {
    const { status, json } = answer
    if (!allowed.some(([s, code]) => s === status && (!code || json?.code === code)))
      return `expected ${allowed.map(a => a.join(' ')).join(' or ')}`
    return json?.code && json.message && json.help ? '' : 'a failure without explanation'
  }
const image422 = refusal([422, 'ERR_CLIP_IMAGE'])
const bad400 = refusal([400, 'BAD_REQUEST'])

/** Writes to a bare socket; resolves with what came back until it was closed, or '' when it was cut. */
function bare(service, act) {
  return new Promise(resolve => {
    const socket = connect(service.port, '127.0.0.1')
    const pieces = []
    let timer
    socket.on('data', piece => pieces.push(piece))
    socket.on('error', () => {})
    socket.on('close', () => {
      clearInterval(timer)
      resolve(Buffer.concat(pieces).toString())
    })
    socket.on('connect', () => {
      timer = act(socket)
    })
    socket.setTimeout(60_000, () => socket.destroy())
  })
}

/** The answer in what a bare socket got. */
function parsed(text) {
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0)
  const body = text.slice(text.indexOf('\r\n\r\n') + 4)
  try {
    return { status, text, json: JSON.parse(body) }
  } catch {
    return { status, text }
  }
}

const head = (path, length, type = 'image/png') =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\n${length}\r\n\r\n`

/**
 * { name: [weight, async ({ service, random, right, agent }) => [answer, check]] }; `check(answer)` is '' or what is wrong.
 * An answer that is null: the client left without waiting for one.
 */
export const kinds = {
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
  'embed picture': [
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
  'search picture': [
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
      const path = ['/', '/model', '/healthz', '/main.js', '/pictures/dog.png', '/openapi.json'][random(6)]
      return [
        await send(service, { method: 'GET', path, agent }),
        ({ status }) => (status === 200 ? '' : 'not there'),
      ]
    },
  ],

  noise: [
    3,
    async ({ service, random, agent }) => {
      const bytes = Buffer.from(Array.from({ length: 1 + random(5000) }, () => 128 + random(128)))
      return [await sendRaw(service, `/classify?${query}`, bytes, 'image/png', { agent }), image422]
    },
  ],
  'cut picture': [
    3,
    async ({ service, pick, random, agent }) => {
      const { bytes } = pick()
      const part = bytes.subarray(0, 1 + random(bytes.length >> 1))
      return [await sendRaw(service, `/classify?${query}`, part, 'image/png', { agent }), image422]
    },
  ],
  'damaged picture': [
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
      const bytes = Buffer.from(right.pictures[0].bytes)
      bytes.writeUInt32BE(10_000 + random(1e9), 16)
      bytes.writeUInt32BE(10_000 + random(1e9), 20)
      return [await sendRaw(service, `/classify?${query}`, bytes, 'image/png', { agent }), image422]
    },
  ],
  'markup as picture': [
    1,
    async ({ service, agent }) => [
      await sendRaw(
        service,
        '/embed',
        Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'),
        'image/svg+xml',
        { agent },
      ),
      image422,
    ],
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
  'huge body announced': [
    2,
    async ({ service }) => {
      const act = socket => void socket.write(head('/embed', 'content-length: 500000000'))
      return [parsed(await bare(service, act)), refusal([413, 'TOO_LARGE'])]
    },
  ],
  'huge body in chunks': [
    1,
    async ({ service }) => {
      const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65536, 255), Buffer.from('\r\n')])
      let sent = 0
      const act = socket => {
        socket.write(head('/embed', 'transfer-encoding: chunked'))
        const more = () => {
          while (sent++ < 1000) if (!socket.write(chunk)) return socket.once('drain', more)
        }
        more()
      }
      const text = await bare(service, act)
      // The answer can be lost when the connection is cut under a client that goes on sending.
      return [parsed(text), answer => (text === '' || answer.status === 413 ? '' : 'not refused')]
    },
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
  'slow body': [
    1,
    async ({ service }) => {
      const act = socket => {
        socket.write(head('/embed', 'content-length: 10000'))
        return setInterval(() => socket.write('x'), 200)
      }
      return [parsed(await bare(service, act)), refusal([408, 'TOO_SLOW'])]
    },
  ],
  'slow headers': [
    1,
    async ({ service }) => {
      const act = socket => {
        socket.write('POST /embed HTTP/1.1\r\nhost: x\r\n')
        return setInterval(() => socket.write('a: b\r\n'), 200)
      }
      return [parsed(await bare(service, act)), refusal([408, 'TOO_SLOW'])]
    },
  ],
  'cut in the body': [
    3,
    async ({ service, pick, random }) => {
      const { bytes } = pick()
      const { body, headers } = formOf([
        ['labels', 'dog'],
        ['image', bytes, 'x.png'],
      ])
      await bare(service, socket => {
        if (random(2)) {
          socket.write(head(`/classify?${query}`, `content-length: ${bytes.length}`))
          socket.write(bytes.subarray(0, bytes.length >> 1))
        } else {
          socket.write(head('/classify', `content-length: ${body.length}`, headers['content-type']))
          socket.write(body.subarray(0, random(body.length)))
        }
        setTimeout(() => (random(2) ? socket.destroy() : socket.resetAndDestroy()), random(30))
      })
      return [null]
    },
  ],
  'gone before the answer': [
    3,
    async ({ service, pick, random }) => {
      const { bytes } = pick()
      await bare(service, socket => {
        socket.write(
          head(
            `/classify?labels=a,thing${random(1e6)}&templateSet=imagenet80`,
            `content-length: ${bytes.length}`,
          ),
        )
        socket.write(bytes)
        setTimeout(() => (random(2) ? socket.destroy() : socket.resetAndDestroy()), random(30))
      })
      return [null]
    },
  ],
  'no http': [
    2,
    async ({ service, random }) => {
      const text = [
        'GARBAGE\r\n\r\n',
        '\u0016\u0003\u0001\u0002',
        'GET / HTTP/9.9\r\n\r\n',
        'POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n',
      ][random(4)]
      return [parsed(await bare(service, socket => void socket.write(text))), bad400]
    },
  ],
  'two lengths': [
    1,
    async ({ service }) => [
      parsed(
        await bare(
          service,
          s => void s.write(head('/embed', 'content-length: 5\r\ntransfer-encoding: chunked')),
        ),
      ),
      bad400,
    ],
  ],
  'long headers': [
    1,
    async ({ service }) => [
      parsed(
        await bare(
          service,
          s => void s.write(`GET / HTTP/1.1\r\nhost: x\r\na: ${'x'.repeat(40_000)}\r\n\r\n`),
        ),
      ),
      refusal([431, 'HEADERS_TOO_LARGE']),
    ],
  ],
  'unknown places': [
    3,
    async ({ service, pick, random, agent }) => {
      const paths = [
        '/nothing',
        '/pictures/../../package.json',
        '/pictures/%2e%2e/x.png',
        '/pictures/none.png',
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
