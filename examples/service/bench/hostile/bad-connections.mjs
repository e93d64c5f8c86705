/** What clients do to a connection: too much, too slow, too early an end, no HTTP. */

import { connect } from 'node:net'
import { formOf } from '../../test/service.mjs'
import { bad400, query, refusal } from './checks.mjs'

// An answer can be lost when the connection is closed under a client that goes on sending.
const refusedOrCut = check => answer => (answer.text === '' ? '' : check(answer))

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
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\n${length}\r\n\r\n`

export const badConnections = {
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
      return [parsed(await bare(service, act)), refusedOrCut(refusal([413, 'TOO_LARGE']))]
    },
  ],
  'slow body': [
    1,
    async ({ service }) => {
      const act = socket => {
        socket.write(head('/embed', 'content-length: 10000'))
        return setInterval(() => socket.write('x'), 200)
      }
      return [parsed(await bare(service, act)), refusedOrCut(refusal([408, 'TOO_SLOW']))]
    },
  ],
  'slow headers': [
    1,
    async ({ service }) => {
      const act = socket => {
        socket.write('POST /embed HTTP/1.1\r\nhost: localhost\r\n')
        return setInterval(() => socket.write('a: b\r\n'), 200)
      }
      return [parsed(await bare(service, act)), refusedOrCut(refusal([408, 'TOO_SLOW']))]
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
        'POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n',
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
          s => void s.write(`GET / HTTP/1.1\r\nhost: localhost\r\na: ${'x'.repeat(40_000)}\r\n\r\n`),
        ),
      ),
      refusal([431, 'HEADERS_TOO_LARGE']),
    ],
  ],
}
